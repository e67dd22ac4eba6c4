"""Topics, waiting jobs and dead letters, from the engine's functions; payloads only redacted."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from services.core.errors import UnexpectedAnswer
from services.core.operation.engine import EngineClient
from services.operate.parts import PAGE_ROWS, Part, first_page, offset_of, part
from services.operate.redact import redacted, redacted_payload
from services.operate.sources import Sources

#: Only the embedded engine has this function; the real one logs an error each time that it is asked for it.
AGES = "engine::queue::stats"
FUNCTIONS_SECONDS = 60.0


@dataclass(frozen=True)
class Topic:
    """A topic with its numbers; None: the engine does not say."""

    name: str
    depth: int | None
    consumers: int | None
    dead: int | None
    #: since when the oldest job waits; None: none does, or the engine does not say
    oldest_at: datetime | None = None


@dataclass(frozen=True)
class DeadLetter:
    """A job that has used up its attempts; ``error`` and ``payload`` are redacted."""

    message_id: str
    payload: Any
    error: str
    failed_at: datetime | None
    attempts: int | None


@dataclass(frozen=True)
class QueuesView:
    """All topics, those with dead letters first."""

    topics: Part[list[Topic]]
    knows_age: bool = False


@dataclass(frozen=True)
class TopicView:
    """One topic, with a page of its dead letters."""

    topic: str
    stats: Part[Topic]
    dead_letters: Part[list[DeadLetter]]
    page: int
    has_next: bool


async def queues_view(sources: Sources) -> QueuesView:
    """The topics of the engine."""
    topics, oldest = await asyncio.gather(
        part(list_topics(sources.engine), "engine"),
        part(_known_ages(sources), "engine"),
    )
    if topics.value is None or oldest.value is None:
        return QueuesView(topics)
    known = []
    for topic in topics.value:
        oldest_at = oldest.value.get(topic.name)
        known.append(replace(topic, oldest_at=oldest_at))
    return QueuesView(Part(known), knows_age=True)


async def _known_ages(sources: Sources) -> dict[str, datetime] | None:
    """As `oldest_jobs`; None: the engine cannot say."""

    async def can_say() -> bool:
        answer = await sources.engine.call(
            "engine::functions::list",
            include_internal=True,
        )
        functions = _rows(answer, "functions")
        return any(function.get("function_id") == AGES for function in functions)

    if not await sources.cached("queue.ages", FUNCTIONS_SECONDS, can_say):
        return None
    return await oldest_jobs(sources.engine)


async def oldest_jobs(engine: EngineClient) -> dict[str, datetime]:
    """Since when the oldest job of each topic waits.

    Raises:
        Unavailable: the engine does not answer, or does not know (the real one).
    """
    answer = await engine.call(AGES)
    oldest = {}
    for row in _rows(answer, "topics"):
        oldest_at = moment(row.get("oldest_at"))
        if oldest_at is not None:
            topic = str(row.get("topic"))
            oldest[topic] = oldest_at
    return oldest


async def topic_view(sources: Sources, topic: str, page: int) -> TopicView:
    """One topic, and the dead letters of this page (from 1)."""
    engine = sources.engine
    offset = offset_of(page)
    stats = await part(topic_stats(engine, topic), "engine")
    letters = await part(dead_letters(engine, topic, offset, PAGE_ROWS + 1), "engine")
    shown, has_next = first_page(letters)
    return TopicView(
        topic=topic,
        stats=stats,
        dead_letters=shown,
        page=page,
        has_next=has_next,
    )


async def list_topics(engine: EngineClient) -> list[Topic]:
    """All topics with their numbers.

    Raises:
        Unavailable: the engine does not answer.
    """
    answer = await engine.call("engine::queue::list_topics")
    names = set()
    for row in _rows(answer, "topics", "queues"):
        name = row.get("name") or row.get("topic")
        names.add(str(name))
    topics = await asyncio.gather(*(topic_stats(engine, name) for name in names))
    return sorted(topics, key=_dead_first)


def _dead_first(topic: Topic) -> tuple[int, str]:
    dead = topic.dead or 0
    return -dead, topic.name


async def topic_stats(engine: EngineClient, topic: str) -> Topic:
    """The numbers of one topic.

    Raises:
        Unavailable: the engine does not answer.
    """
    answer = await engine.call("engine::queue::topic_stats", topic=topic, queue=topic)
    stats = answer if isinstance(answer, Mapping) else {}
    return Topic(
        name=topic,
        depth=_number(stats.get("depth")),
        consumers=_number(stats.get("consumer_count")),
        dead=_number(stats.get("dlq_depth")),
    )


async def dead_letters(
    engine: EngineClient,
    topic: str,
    offset: int,
    limit: int,
) -> list[DeadLetter]:
    """A page of a topic's dead letters.

    Raises:
        Unavailable: the engine does not answer.
    """
    answer = await engine.call(
        "engine::queue::dlq_messages",
        topic=topic,
        offset=offset,
        limit=limit,
    )
    return [_dead_letter(row) for row in _rows(answer, "messages")]


def _rows(answer: Any, *members: str) -> Sequence[Mapping[str, Any]]:
    """The list of an answer: the answer itself, or one of its members."""
    rows = answer
    if isinstance(answer, Mapping):
        rows = _first_member(answer, members)
    if not isinstance(rows, list):
        raise UnexpectedAnswer("engine", "expected a list")
    return [row for row in rows if isinstance(row, Mapping)]


def _first_member(answer: Mapping[str, Any], members: Iterable[str]) -> Any:
    for name in members:
        if name in answer:
            return answer[name]
    return None


def _dead_letter(row: Mapping[str, Any]) -> DeadLetter:
    return DeadLetter(
        message_id=str(row.get("id")),
        payload=redacted_payload(row.get("payload")),
        error=redacted(row.get("error") or ""),
        failed_at=moment(row.get("failed_at")),
        attempts=_number(row.get("retries")),
    )


def _number(value: Any) -> int | None:
    if isinstance(value, int | float):
        return int(value)
    return None


#: Nanoseconds of the year 5138.
_LATEST = 1e20


def moment(value: Any) -> datetime | None:
    """A time as engines write it: ISO 8601, or seconds, milliseconds or nanoseconds since 1970."""
    if isinstance(value, str):
        return _moment_of_text(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not 0 < value < _LATEST:  # nor what is no number, or has no end
        return None
    seconds = float(value)
    while seconds > 1e11:
        seconds /= 1000
    return datetime.fromtimestamp(seconds, UTC)


def _moment_of_text(text: str) -> datetime | None:
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        return None
    if parsed.tzinfo:
        return parsed
    return parsed.replace(tzinfo=UTC)
