"""What the old system has made of what this one would have written (``bitbylaw preview shadow``)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from services.core.database import database_errors
from services.core.installation_key import installation_key
from services.core.resources import Resources
from services.shadow.journal import (
    Flow,
    ShadowKey,
    ShadowWrite,
    noted,
    shadow_writes,
)
from services.shadow.preview import (
    Preview,
    all_employees,
    in_parallel,
    preview_beteiligter,
    preview_employee,
)

DifferenceKind = Literal["open", "other", "new"]
#: Whose records are compared: the flow, and the id of a CBeteiligte or a Kürzel.
Subject = tuple[Flow, str]
#: The records of EspoCRM by which people are notified.
NOTICES = frozenset({"Task", "Note"})


@dataclass(frozen=True)
class Difference:
    """What the other system did differently.

    Attributes:
        kind: ``open``: it has not done what we would have done, and we still would. ``other``: we would write another
            value by now. ``new``: we would write what was never noted.
    """

    key: ShadowKey
    kind: DifferenceKind


@dataclass(frozen=True)
class Comparison:
    """The report.

    Attributes:
        same: how many noted fields hold by now what we would have written, or need it no longer.
        gone: of whom fields were noted, and who is deleted in EspoCRM, or no active employee any more.
        unknown: who cannot be foreseen now, or is held, with the reason. What was noted of them and is not planned now
            counts for nothing.
        tasks: how many tasks for people this system would make. They and their notes are not compared: the other one
            has no such.
    """

    same: int
    differences: tuple[Difference, ...]
    gone: tuple[Subject, ...] = ()
    unknown: tuple[tuple[Subject, str], ...] = ()
    tasks: int = 0


async def compare_since(resources: Resources, since: datetime) -> Comparison:
    """Compare what was noted since then (aware) with what would be written now. Nothing is written.

    Raises:
        ForeignSystemError: the employees cannot be listed.
        Unavailable, DatabaseUnusable: see `database_errors`.
    """
    before = await noted(resources, since)
    subjects = dict.fromkeys(_subject_of(item.key) for item in before)
    now = await _previews(resources, subjects)
    async with database_errors():
        pool = await resources.database()
        key = await installation_key(pool, resources.clock())
    return compare(before, now, key)


async def _previews(
    resources: Resources,
    subjects: Collection[Subject],
) -> dict[Subject, Preview | None]:
    """What would be written now, in the order of the subjects; None for who is gone."""
    flows = {flow for flow, _ in subjects}
    active: Collection[str] = ()
    if "calendar" in flows:
        active = await all_employees(resources)

    async def look(subject: Subject) -> tuple[Subject, Preview | None]:
        flow, name = subject
        if flow == "vmh":
            preview = await preview_beteiligter(resources, name)
            if preview.is_gone:
                return subject, None
            return subject, preview
        if name not in active:
            return subject, None
        return subject, await preview_employee(resources, name)

    now: dict[Subject, Preview | None] = dict.fromkeys(subjects)
    async for subject, preview in in_parallel(subjects, look):
        now[subject] = preview
    return now


def compare(
    before: Sequence[ShadowWrite],
    now: dict[Subject, Preview | None],
    key: bytes,
) -> Comparison:
    """What was noted, against the previews of all of whom something was; None for who is gone. Pure.

    ``key``: with which the noted values were hashed.
    """
    present, gone = _present_and_gone(now)
    planned = _planned(present, key)
    noted_hashes: dict[ShadowKey, set[str]] = defaultdict(set)
    for item in _compared(before):
        noted_hashes[item.key].add(item.new_hash)
    still_planned = {item.key for item in planned}
    done = noted_hashes.keys() - still_planned
    tasks = 0
    for preview in present.values():
        tasks += len(preview.tasks)
    return Comparison(
        same=sum(_is_known(key, now) for key in done),
        differences=tuple(_differences(planned, noted_hashes)),
        gone=tuple(gone),
        unknown=tuple(_doubts(present)),
        tasks=tasks,
    )


def _present_and_gone(
    now: Mapping[Subject, Preview | None],
) -> tuple[dict[Subject, Preview], list[Subject]]:
    present: dict[Subject, Preview] = {}
    gone: list[Subject] = []
    for subject, preview in now.items():
        if preview is None:
            gone.append(subject)
        else:
            present[subject] = preview
    return present, gone


def _planned(present: Mapping[Subject, Preview], key: bytes) -> list[ShadowWrite]:
    planned: list[ShadowWrite] = []
    for (flow, _), preview in present.items():
        writes = shadow_writes(flow, preview, key)
        planned += _compared(writes)
    return planned


def _doubts(present: Mapping[Subject, Preview]) -> Iterator[tuple[Subject, str]]:
    for subject, preview in present.items():
        if preview.doubt is not None:
            yield subject, preview.doubt


def _compared(writes: Iterable[ShadowWrite]) -> Iterator[ShadowWrite]:
    """Without the notices to people."""
    for item in writes:
        if item.key.kind not in NOTICES:
            yield item


def _is_known(key: ShadowKey, now: dict[Subject, Preview | None]) -> bool:
    """Whether it means something that a field is not planned any more."""
    preview = now[_subject_of(key)]
    if preview is None:
        return False
    return preview.doubt is None


def _differences(
    planned: Iterable[ShadowWrite],
    noted_hashes: Mapping[ShadowKey, set[str]],
) -> Iterator[Difference]:
    for item in planned:
        noted_before = noted_hashes.get(item.key)
        kind = _kind(noted_before, item.new_hash)
        yield Difference(item.key, kind)


def _kind(noted_hashes: set[str] | None, new_hash: str) -> DifferenceKind:
    if noted_hashes is None:
        return "new"
    if new_hash in noted_hashes:
        return "open"
    return "other"


def _subject_of(key: ShadowKey) -> Subject:
    return key.flow, key.subject
