"""The worker's process: Motia with all steps, started as ``motia run``, with four things that it does not offer.

1. **No response channel for a step that returns its answer.** motia 1.0.2rc1 sends every answer twice: as the result,
   and over a WebSocket that it opens for just this answer. That cost half of the worker's time, and on the real engine
   the two copies raced for the headers. A step that streams returns None and keeps its channel.
2. **The log as lines of JSON on stdout.** The engine keeps the newest 1,000 records in memory, its own among them; and
   libraries write a traceback for each vain try to reach something that is away.
3. **No spans for looks at the worker's health.** Several are made a minute; they would push out everything else.
   None for an enqueue either: a webhook of 50 ids makes 50, for a third of the worker's time, and each job has its own.
4. **Functions that say which step they are.** motia gives name, flow, description and file of a step to its triggers
   only; the console draws its Flow page from the functions.

It also measures the steps, and shows the numbers of the process at ``METRICS_PORT`` (`operation.metrics_server`).

Usage: ``python -m cli.motia_worker run --dir steps``, with ``III_URL`` and ``III_BRIDGE_URL`` in the environment.
"""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

from iii import III
from iii.telemetry import init_otel
from motia import runtime, tracing
from motia.cli import main as motia_main
from motia.iii import get_instance
from motia.runtime import Motia
from motia.step import StepDefinition
from motia.types import ApiTrigger, MotiaHttpArgs, MotiaHttpResponse, StepConfig
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult

from config import load_settings
from services.core.log import write_json_lines
from services.core.metrics import measured
from services.core.operation.metrics_server import serve_in_thread
from services.core.operation.pause import TOPICS
from services.core.operation.step_failure import with_quotable_errors

#: The steps behind GET /health and behind the look for jobs whose pause is over.
UNTRACED = frozenset({"step:Health", "step:Resume Cron"})
#: A call that takes longer is left alone: the SDK does not survive that it is cancelled.
CALL_SECONDS = 1.5


Handler = Callable[..., Awaitable[Any]]


async def answer_by_result(
    request: MotiaHttpArgs[Any],
    _context: Any,
    proceed: Callable[[], Awaitable[Any]],
) -> Any:
    """Middleware in front of every HTTP step: what it returned is the answer, and the response channel stays shut."""
    result = await proceed()
    if result is not None:
        await (
            request.response.writer.close_async()
        )  # nothing was opened, unless the step itself has written to it
        MotiaHttpResponse.__init__(
            request.response,
            None,
        )  # without a writer it writes nothing
    return result


class EngineQueue:
    """The engine's numbers of its queue, asked for by the metrics' thread over the worker's connection."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    def on_the_loop(self, handler: Handler) -> Handler:
        """The handler of a step; when it runs, we learn on which loop the worker's connection is."""

        @functools.wraps(handler)
        async def run(*arguments: Any) -> Any:
            self._loop = asyncio.get_running_loop()
            return await handler(*arguments)

        return run

    async def stats(self) -> dict[str, tuple[int, int]]:
        """``{topic: (jobs that are not done, dead letters)}``.

        Raises:
            ConnectionError: no step has run yet, or the engine does not answer.
        """
        if self._loop is None:
            raise ConnectionError("no step has run yet")
        call = asyncio.run_coroutine_threadsafe(_ask_for_stats(), self._loop)
        await asyncio.wait([asyncio.wrap_future(call)], timeout=CALL_SECONDS)
        if not call.done():
            raise ConnectionError("the engine does not answer")
        return call.result()


async def _ask_for_stats() -> dict[str, tuple[int, int]]:
    """What the embedded engine reports of all topics at once, or the real one of each topic."""
    engine = runtime.get_instance()
    try:
        answer = await engine.call("engine::queue::stats", {})
    except Exception:  # noqa: BLE001 - the SDK has no error of its own for a function that an engine does not have
        return {
            topic: _counts(
                await engine.call("engine::queue::topic_stats", {"topic": topic}),
            )
            for topic in TOPICS
        }
    return {
        item["topic"]: (
            item["waiting"] + item["active"] + item["delayed"],
            item["dead"],
        )
        for item in answer["topics"]
    }


def _counts(answer: Any) -> tuple[int, int]:
    stats = answer.get("stats", answer)
    return int(stats["depth"]), int(stats["dlq_depth"])


#: What the console shows of a trigger; the rest of its configuration is of use to the engine only.
SHOWN_OF_TRIGGERS = {"type", "method", "path", "topic", "expression"}


def step_metadata(config: StepConfig, file_path: str) -> dict[str, Any]:
    """What the console's Flow page reads: name, description, flows, topics that are filled, triggers and file."""
    fields = config.model_dump(by_alias=True, exclude_none=True, exclude={"triggers"})
    triggers = [
        trigger.model_dump(mode="json", exclude_none=True, include=SHOWN_OF_TRIGGERS)
        for trigger in config.triggers
    ]
    return {**fields, "triggers": triggers, "filePath": file_path}


@contextmanager
def describing(sdk: III, metadata: dict[str, Any]) -> Iterator[None]:
    """Give functions that are registered inside the block this metadata and the description in it."""
    register = partial(
        sdk.register_function,
        description=metadata.get("description"),
        metadata=metadata,
    )
    vars(sdk)["register_function"] = register
    try:
        yield
    finally:
        del vars(sdk)["register_function"]


class DescribedSteps:
    """What motia's command line uses of Motia: its functions are described, its HTTP steps answer by their result."""

    def __init__(self, queue: EngineQueue) -> None:
        self._motia = Motia()
        self._queue = queue

    def add_step(
        self,
        config: Any,
        step_path: str,
        handler: Any = None,
        file_path: str | None = None,
    ) -> None:
        """Register a step as motia does, described, and with `answer_by_result` outermost around its HTTP triggers."""
        if isinstance(config, StepDefinition):
            handler = handler or config.handler
            config = config.config
        config = StepConfig.model_validate(config)
        if handler is not None:
            handler = measured(config.name, self._queue.on_the_loop(handler))
            handler = with_quotable_errors(config.name, handler)
        triggers = [_with_middleware(trigger) for trigger in config.triggers]
        metadata = step_metadata(config, file_path or step_path)
        with describing(get_instance(), metadata):
            self._motia.add_step(
                config.model_copy(update={"triggers": triggers}),
                step_path,
                handler,
                file_path,
            )


def _with_middleware(trigger: Any) -> Any:
    if not isinstance(trigger, ApiTrigger):
        return trigger
    return trigger.model_copy(
        update={"middleware": [answer_by_result, *(trigger.middleware or [])]},
    )


def no_span(_operation: str, **_attributes: Any) -> AbstractContextManager[None]:
    """Instead of a span for each event that is enqueued: the span of its job, below the step's, says as much."""
    return nullcontext()


class WithoutHealthLooks(Sampler):
    """Samples as another sampler does, but for the spans of `UNTRACED` steps and what belongs to them."""

    def __init__(self, other: Sampler) -> None:
        self._other = other

    def should_sample(
        self,
        parent_context: Any,
        trace_id: int,
        name: str,
        *details: Any,
        **more: Any,
    ) -> SamplingResult:
        """Whether a span is recorded. The spans inside a dropped one are dropped by the other sampler's rule."""
        if name in UNTRACED:
            return SamplingResult(Decision.DROP)
        return self._other.should_sample(
            parent_context,
            trace_id,
            name,
            *details,
            **more,
        )

    def get_description(self) -> str:
        """The name that OpenTelemetry shows."""
        return f"WithoutHealthLooks({self._other.get_description()})"


def main(arguments: Sequence[str]) -> None:
    """Run the steps until the process is ended; ``arguments`` are motia's."""
    write_json_lines(sys.stdout)  # motia leaves a log alone that is set up already
    init_otel()  # motia does this when it connects, and then keeps what is there
    provider = trace.get_tracer_provider()
    if isinstance(provider, TracerProvider):  # not with OTEL_ENABLED=false
        provider.sampler = WithoutHealthLooks(provider.sampler)
    # motia makes a new tracer for every span, which costs more than the span.
    vars(tracing)["get_tracer"] = functools.cache(tracing.get_tracer)
    vars(runtime)["operation_span"] = no_span
    queue = EngineQueue()
    vars(runtime)["Motia"] = lambda: DescribedSteps(queue)
    serve_in_thread(load_settings(), queue.stats)
    sys.argv[1:] = arguments
    motia_main()


if __name__ == "__main__":
    main(sys.argv[1:])
