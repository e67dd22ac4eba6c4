"""Functions about topics and dead letters: those of the real engine 0.10.0, and the older ones of this engine.

``engine::queue::{list_topics, topic_stats, dlq_topics, dlq_messages}`` and ``iii::queue::*`` take and answer what the
real ones do. Two things are more here: topics without a subscriber are listed while they have jobs, and delayed jobs
count as depth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import Field

from local_engine.errors import EngineError
from local_engine.functions.inputs import Input, Nothing, typed
from local_engine.queues.delivery import Queues
from local_engine.queues.store import QueueStore
from local_engine.worker_port.invocations import Builtin, Trace

MAX_DEAD_LETTERS = 1_000
DEFAULT_PAGE = 50
BROKER = "builtin"
_NO_JOBS = {"waiting": 0, "active": 0, "delayed": 0, "dead": 0}


class _Topic(Input):
    topic: str | None = None


class _Page(_Topic):
    offset: int | None = Field(default=None, ge=0)
    limit: int | None = Field(default=None, ge=0)


class _Queue(Input):
    queue: str


class _Message(_Queue):
    message_id: str


class _DeadLetters(_Topic):
    limit: int = Field(default=100, ge=1, le=MAX_DEAD_LETTERS)


class _Redrive(_Topic):
    job_id: int | None = None


@dataclass
class QueueFunctions:
    """What the functions do, on the queue and its store."""

    queues: Queues
    store: QueueStore

    def table(self) -> dict[str, Builtin]:
        """Return the functions by id."""
        entries: list[tuple[str, type[Any], Any]] = [
            ("engine::queue::list_topics", Nothing, self._list_topics),
            ("engine::queue::topic_stats", _Topic, self._topic_stats),
            ("engine::queue::dlq_topics", Nothing, self._dlq_topics),
            ("engine::queue::dlq_messages", _Page, self._dlq_messages),
            ("iii::queue::redrive", _Queue, self._redrive_queue),
            ("iii::queue::redrive_message", _Message, self._redrive_message),
            ("iii::queue::discard_message", _Message, self._discard_message),
            ("engine::queue::stats", Nothing, self._stats),
            ("engine::queue::dead_letters", _DeadLetters, self._dead_letters),
            ("engine::queue::redrive", _Redrive, self._redrive),
        ]
        return {
            function_id: typed(function_id, model, handler)
            for function_id, model, handler in entries
        }

    async def _list_topics(self, _call: Nothing, _trace: Trace) -> list[dict[str, Any]]:
        return [
            {
                "name": entry["topic"],
                "broker_type": BROKER,
                "subscriber_count": entry["subscribers"],
            }
            for entry in await self._topics()
        ]

    async def _topic_stats(self, call: _Topic, _trace: Trace) -> dict[str, Any]:
        topic = _required(call.topic, "topic_required", "topic is required")
        jobs = _NO_JOBS | (await self.store.stats()).get(topic, {})
        return {
            "depth": jobs["waiting"] + jobs["active"] + jobs["delayed"],
            "consumer_count": self.queues.subscribers().get(topic, 0),
            "dlq_depth": jobs["dead"],
            "config": None,
        }

    async def _dlq_topics(self, _call: Nothing, _trace: Trace) -> list[dict[str, Any]]:
        return [
            {
                "topic": entry["topic"],
                "broker_type": BROKER,
                "message_count": entry["dead"],
            }
            for entry in await self._topics()
        ]

    async def _dlq_messages(self, call: _Page, _trace: Trace) -> list[dict[str, Any]]:
        topic = _required(call.topic, "topic_required", "topic is required")
        limit = DEFAULT_PAGE if call.limit is None else call.limit
        return await self.store.dead_letter_page(
            topic,
            call.offset or 0,
            min(limit, MAX_DEAD_LETTERS),
        )

    async def _redrive_queue(self, call: _Queue, _trace: Trace) -> dict[str, Any]:
        topic = _required(call.queue, "queue_not_set", "Queue name is required")
        count = await self.store.redrive(topic, None)
        self.queues.wake(topic)
        return {"queue": topic, "redriven": count}

    async def _redrive_message(self, call: _Message, _trace: Trace) -> dict[str, Any]:
        job_id = _checked_message(call)
        count = 0
        if job_id is not None:
            count = await self.store.redrive(call.queue, job_id)
        self.queues.wake(call.queue)
        return _single(call, count)

    async def _discard_message(self, call: _Message, _trace: Trace) -> dict[str, Any]:
        job_id = _checked_message(call)
        count = 0
        if job_id is not None:
            count = await self.store.discard(call.queue, job_id)
        return _single(call, count)

    async def _topics(self) -> list[dict[str, Any]]:
        """Return every topic that has a subscriber or jobs, with its jobs by state, sorted by name."""
        jobs = await self.store.stats()
        subscribers = self.queues.subscribers()
        return [
            {
                "topic": topic,
                **_NO_JOBS,
                **jobs.get(topic, {}),
                "subscribers": subscribers.get(topic, 0),
            }
            for topic in sorted({*jobs, *subscribers})
        ]

    async def _stats(self, _call: Nothing, _trace: Trace) -> dict[str, Any]:
        oldest = await self.store.oldest()
        topics = await self._topics()
        return {
            "topics": [
                {**entry, "oldest_at": oldest.get(entry["topic"])} for entry in topics
            ],
        }

    async def _dead_letters(self, call: _DeadLetters, _trace: Trace) -> dict[str, Any]:
        return {"dead_letters": await self.store.dead_letters(call.topic, call.limit)}

    async def _redrive(self, call: _Redrive, _trace: Trace) -> dict[str, Any]:
        count = await self.store.redrive(call.topic, call.job_id)
        self.queues.wake()
        return {"redriven": count}


def _required(value: str | None, code: str, message: str) -> str:
    if not value:
        raise EngineError(code, message)
    return value


def _checked_message(call: _Message) -> int | None:
    """Return the job that a message id names, or None for one that no job can have. Raises EngineError for none."""
    _required(call.queue, "queue_not_set", "Queue name is required")
    text = _required(call.message_id, "message_id_not_set", "Message ID is required")
    is_number = text.isascii() and text.isdecimal() and len(text) <= 18
    if is_number:
        return int(text)
    return None


def _single(call: _Message, count: int) -> dict[str, Any]:
    """The real engine calls it ``redriven`` also when a message was discarded."""
    return {"queue": call.queue, "message_id": call.message_id, "redriven": count}
