# The console of the engine, as released with v0.10.0; there is no image of it.
FROM debian:bookworm-slim
ARG TARGET=x86_64-unknown-linux-gnu
ADD https://github.com/iii-hq/iii/releases/download/iii/v0.10.0/iii-console-${TARGET}.tar.gz /tmp/console.tar.gz
RUN tar --extract --gzip --file /tmp/console.tar.gz --directory /usr/local/bin && rm /tmp/console.tar.gz \
    && useradd --system --uid 10002 --shell /usr/sbin/nologin console
USER 10002
CMD ["iii-console", "--host", "0.0.0.0", "--no-otel"]
