"""Where the real iii engine differs from the embedded one, by name, and what the steps do about it.

Each difference was measured by the case that asks ``target.differs(name)`` and asserts what the real engine does
instead; when a new version behaves otherwise, that case fails. docs/deployment.md shows this table to operators.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Difference:
    """``engine``: what the real one does. It was observed from version ``since`` on, and not any more in ``until``."""

    name: str
    engine: str
    steps: str
    since: tuple[int, ...] = (0, 8, 3)
    until: tuple[int, ...] = (1000,)

    def applies_to(self, version: tuple[int, ...]) -> bool:
        """Whether an engine of this version behaves so."""
        return self.since <= version < self.until


DIFFERENCES = (
    Difference(
        "keys_sorted",
        "Objects arrive with their keys sorted.",
        "No step depends on the order; a webhook's signature is checked where the order was kept, its token always.",
    ),
    Difference(
        "parameter_names_collide",
        "After two routes with different parameter names at one place no worker can register any route.",
        "No route of our own has path parameters (tests/unit/test_deploy.py).",
    ),
    Difference(
        "result_headers_dropped",
        "The headers of a result are not sent; its content type is always application/json.",
        "Retry-After of the proxy goes through the response channel; nothing else depends on a header of an answer.",
    ),
    Difference(
        "status_key_unknown",
        "Only `status_code` of a result counts, not `status`.",
        "Steps return ApiResponse, which motia sends as `status_code`.",
    ),
    Difference(
        "lost_stream_looks_complete",
        "A streamed answer whose worker is lost ends as if it were complete.",
        "Only the refusals of the proxy with Retry-After are streamed, and they are short.",
    ),
    Difference(
        "no_size_limit",
        "Messages above 1 MiB are handed to the worker, whose connection ends (1009) with everything in flight.",
        "The reverse proxy refuses larger bodies (deploy/Caddyfile); our own payloads are ids.",
    ),
    Difference(
        "error_text_in_500",
        "A 500 shows the text of the handler's exception.",
        "Steps answer expected errors themselves; the reverse proxy hides the body of other 500s.",
        since=(0, 9, 0),
    ),
    Difference(
        "conditions_ignored",
        "Conditions that motia 1.0.2rc1 sends are not looked at.",
        "Steps use no trigger conditions (tests/unit/test_deploy.py).",
        since=(0, 9, 0),
    ),
    Difference(
        "no_worker_is_404",
        "Without a worker every path is 404.",
        "EspoCRM repeats 404 as it repeats 503; the reverse proxy asks GET /health and answers 503.",
    ),
    Difference(
        "lost_worker_is_500",
        "A request whose worker is lost is answered 500.",
        "EspoCRM repeats 500 as it repeats 503.",
    ),
    Difference(
        "no_request_target",
        "Of a repeated query parameter the step gets the last value, and the raw query nowhere.",
        "The reverse proxy sets `X-Forwarded-Uri`, which the proxy to Advoware reads (services/api/proxy_request.py). "
        "Without it, repeated parameters belong into `endpoint`: `endpoint=api/v1/x?a=1%26a=2`.",
    ),
    Difference(
        "nan_is_never_answered",
        "A result with NaN is dropped; the call waits for ever.",
        "Queue and cron steps return nothing; the endpoints' numbers are counts, durations "
        "and what Advoware's JSON holds.",
    ),
    Difference(
        "call_dies_with_worker",
        "A call that is being handed to a worker while that is lost may never be answered.",
        "The SDK gives up after 30 s; steps call the engine's own functions only.",
    ),
    Difference(
        "teardown_by_id",
        "When a worker ends, functions and routes of that name are gone, also those of another worker.",
        "One worker per engine; several workers are several engines on one RabbitMQ and Redis. `bitbylaw worker` "
        "restarts a worker whose steps are gone.",
    ),
    Difference(
        "last_worker_takes_all",
        "Of two workers with the same steps the one that registered last gets everything.",
        "One worker per engine, see teardown_by_id.",
    ),
    Difference(
        "retry_settings_ignored",
        "Number and pause of retries are the queue adapter's, not the subscription's.",
        "deploy/iii-config.*.yaml sets them to what the sync steps ask for.",
    ),
    Difference(
        "lost_worker_uses_an_attempt",
        "Each loss of the worker, and each try while no worker is there, uses up one of the job's attempts.",
        "The cron finds records whose event became a dead letter.",
    ),
    Difference(
        "saves_at_intervals",
        "Queue and state reach the disk every `save_interval_ms`; what came after that is lost with the engine.",
        "EspoCRM and PostgreSQL hold the truth, the cron finds what is not synced; the interval is 500 ms.",
    ),
    Difference(
        "in_flight_lost_on_restart",
        "Jobs that were being handled when the engine ended are never given out again.",
        "The record's status still says that it waits; the cron takes it up.",
    ),
    Difference(
        "no_queue_tools",
        "Dead letters cannot be shown or redriven.",
        "v0.10.0 is the engine of production.",
        until=(0, 10, 0),
    ),
    Difference(
        "lone_surrogates_are_no_json",
        "To a body with half a surrogate pair it gives the function null, as to one that is no JSON.",
        "Such a webhook is answered 400; PHP cannot write one, and the cron finds its records.",
    ),
    Difference(
        "lone_surrogates_dropped",
        "A message with half a surrogate pair is dropped unanswered.",
        "Queue payloads are ids and timestamps, checked by pattern.",
    ),
    Difference(
        "state_events_out_of_order",
        "State triggers may see changes in another order.",
        "No step has a state trigger.",
    ),
)
