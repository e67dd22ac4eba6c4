"""What must hold in every story of the firm.

Those of the two older searches (nothing lost, nothing there twice, nothing shown that must be hidden, both sides
agree, a further run writes nothing), and: the queue is empty or its dead letters say why; a status is true; what was
written stands in the audit.
"""

from __future__ import annotations

import asyncio
import re
import threading
import traceback
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import calendar_checks
import test_beteiligte_simulation as strict
import test_hostile_simulation as hostile
from beteiligte_scenario import Surprise
from calendar_scenario import KUERZEL, checks_to_make
from firm_engine import Job
from firm_operations import Cron, Mail, Operation, Work
from firm_story import Story
from firm_strangers import assert_nothing_of_another, share_nothing
from firm_world import Firm

#: A story that takes longer (seconds on the wall) waits for something that never comes.
LONGEST_SECONDS = 90
#: So many seconds by the clock of the loop: pauses between tries, and requests that are given up.
LONGEST_PAUSES = 2 * 3600
#: What the id of a single occurrence adds to that of its series.
_OCCURRENCE = re.compile(r"_\d{8}(T\d{6}Z?)?$")
_WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class Violation(AssertionError):
    """Something that must hold does not. The message has the trace."""


async def play(firm: Firm, story: Story) -> list[str]:
    """Play a story and check everything; returns what happened, a line for each operation and each step that ran.

    Raises:
        Violation: something does not hold, the program has ended in an unforeseen way, or something waits for ever.
    """
    await firm.begin(story)
    playing = asyncio.get_running_loop().create_task(_play(firm, story))
    with _limit() as is_over:
        await asyncio.wait([playing, is_over], return_when=asyncio.FIRST_COMPLETED)
    if not playing.done():
        waiting = _waiting_tasks()
        playing.cancel()
        await asyncio.wait([playing])
        raise Violation(_report(firm, TimeoutError(f"it does not end: {waiting}")))
    error = playing.exception()
    if error is not None:
        raise Violation(_report(firm, error)) from error
    return playing.result()


@contextmanager
def _limit() -> Iterator[asyncio.Future[None]]:
    """A future that is done after `LONGEST_SECONDS` on the wall, or `LONGEST_PAUSES` by the clock of the loop."""
    loop = asyncio.get_running_loop()
    is_over = loop.create_future()

    def end() -> None:
        if not is_over.done():
            is_over.set_result(None)

    pauses = loop.call_later(LONGEST_PAUSES, end)

    timer = threading.Timer(LONGEST_SECONDS, loop.call_soon_threadsafe, [end])
    timer.daemon = True
    timer.start()
    try:
        yield is_over
    finally:
        pauses.cancel()
        timer.cancel()
        is_over.cancel()


async def _play(firm: Firm, story: Story) -> list[str]:
    for operation in story.operations:
        await _perform(firm, operation)
    _check_before_the_end(firm)
    trace = list(firm.trace)
    await firm.settle()
    await _check_at_the_end(firm, story)
    return trace


def _waiting_tasks() -> str:
    """Where the tasks of this loop wait, the innermost three places of each."""
    places = []
    for task in asyncio.all_tasks():
        frames = _frames(task.get_coro())[-3:]
        places.append(" > ".join(frames))
    return "; ".join(sorted(set(places)))


def _frames(coroutine: Any) -> list[str]:
    frames = []
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None) or getattr(
            coroutine, "gi_frame", None
        )
        if frame is not None:
            name = frame.f_code.co_filename.rpartition("/")[2]
            frames.append(f"{name}:{frame.f_lineno}")
        coroutine = getattr(coroutine, "cr_await", None) or getattr(
            coroutine, "gi_yieldfrom", None
        )
    return frames


def _report(firm: Firm, error: BaseException) -> str:
    lines = [line[:240] for line in firm.trace[-40:]]
    if not isinstance(error, AssertionError):
        lines += traceback.format_tb(error.__traceback__)[-6:]
    return "\n".join([f"{type(error).__name__}: {error}"[:4000], *lines])


async def _perform(firm: Firm, operation: Operation) -> None:
    before, written = len(firm.log), len(firm.requests)
    counted, waiting = _count_audit(firm), list(firm.queue.waiting)
    unrecorded = _unrecorded(firm)
    disturbed = bool(firm.faults(spoiling=True)) or not firm.is_well
    await firm.perform(operation)
    assert not firm.defects, "\n".join(firm.defects)
    calendar_checks.assert_no_text_came_back(firm.diary, checks_to_make())
    requests = firm.requests[written:]
    _check_protection(firm, requests)
    if isinstance(operation, Cron):
        new = [job for job in firm.queue.waiting if job not in waiting]
        _check_pauses(firm, new)
        if operation.what == "beteiligte" and _is_calm(operation) and not disturbed:
            _check_edited(firm)
    _check_log(firm.log[before:], is_calm=not disturbed and _is_calm(operation))
    is_plain = isinstance(operation, Work) and _is_calm(operation)
    if is_plain and not disturbed:
        _check_written(firm, requests, counted)
        _check_recorded(firm, unrecorded)


def _is_calm(operation: Operation) -> bool:
    if isinstance(operation, Mail | Cron):
        return operation.death is None
    if not isinstance(operation, Work):
        return True
    return operation.death is None and not operation.meanwhile and operation.lanes == 1


# -- on the way -----------------------------------------------------------------------------------------------------


def _check_protection(firm: Firm, requests: list[dict[str, Any]]) -> None:
    if not firm.diary.configuration.write_protection:
        return
    written = [e["path"] for e in requests if e["method"] in _WRITES]
    assert not [p for p in written if "Termine" in p], "written in spite of protection"


def _check_pauses(firm: Firm, jobs: list[Job]) -> None:
    """The check leaves alone what has failed and is to be tried later, unless it or a part of it has been edited.

    An edit that met a run has left a note, which that run's end did not find if its worker died or a store was away.
    Not while EspoCRM's lists lack records: what they lack its own sync looks for, and only that knows when it may.
    """
    if _lists_lack_records(firm):
        return
    now = f"{firm.clock.now:%Y-%m-%d %H:%M:%S}"
    edited = {
        row["beteiligteId"]
        for entity in ("CAdressen", "CBankverbindungen")
        for row in firm.office.rows(entity)
        if row["syncStatus"] != "clean"
    }
    notes = firm.rows("SELECT entity_id FROM look_again")
    edited.update(row["entity_id"] for row in notes)
    for job in jobs:
        for row in firm.office.rows("CBeteiligte", id=job.data.get("entity_id")):
            next_try = row["syncNextRetry"] or ""
            is_paused = row["syncStatus"] == "failed" and next_try > now
            is_wanted = not is_paused or row["id"] in edited
            assert is_wanted, f"{row['id']} is checked before {next_try}"


def _lists_lack_records(firm: Firm) -> bool:
    return any(
        alteration.field == "list[]" and alteration.how == "missing"
        for active in firm.faults(spoiling=False)
        for alteration in active.rule.answer
    )


def _check_edited(firm: Firm) -> None:
    """After a check, each edited record waits in the queue, whether an event has reported the edit or not.

    Not where a worker has died or a store was emptied: a lock or a key of the queue may be left until it ends.
    """
    answers_change = bool(firm.faults(spoiling=False))
    if firm.was_hit or answers_change:
        return
    waiting = {job.data.get("entity_id") for job in firm.queue.waiting}
    for row in firm.office.rows("CBeteiligte", syncStatus="dirty"):
        assert row["id"] in waiting, f"{row['id']} is edited, and the check leaves it"


def _check_log(lines: list[tuple[str, dict[str, Any]]], *, is_calm: bool) -> None:
    """No defect of the program was logged, and no calendar's run has ended although nothing was wrong."""
    for event, fields in lines:
        assert not fields.get("trace"), (event, fields)
        assert "unexpected" not in str(fields.get("error")), (event, fields)
        is_ended = event == "calendar.failed" and "Unavailable" in str(fields["error"])
        assert not (is_calm and is_ended), (event, fields)


def _accepted(entry: dict[str, Any]) -> bool:
    return entry["method"] in _WRITES and entry["status"] in {200, 201, 204}


def _count_audit(firm: Firm) -> int:
    rows = firm.rows(
        "SELECT (SELECT count(*) FROM sync_audit)"
        " + (SELECT count(*) FROM calendar_sync_audit) AS lines"
    )
    return int(rows[0]["lines"])


def _check_written(firm: Firm, requests: list[dict[str, Any]], counted: int) -> None:
    """Jobs that nothing disturbed and that have changed data outside have left a line in the audit."""
    written = [
        f"{e['method']} {e['path']}"
        for e in requests
        if _accepted(e) and _changes_data(e["path"])
    ]
    if written:
        assert _count_audit(firm) > counted, f"no audit of {written}"


def _unrecorded(firm: Firm) -> set[tuple[str, str]]:
    """What is begun and not in the audit, with the record or the employee."""
    rows = firm.rows(
        "SELECT entity_id AS name, unrecorded::text AS begun FROM sync_state WHERE unrecorded IS NOT NULL"
        " UNION SELECT employee_kuerzel, begun_id::text FROM calendar_sync_begun"
    )
    return {(row["name"], row["begun"]) for row in rows}


def _check_recorded(firm: Firm, before: set[tuple[str, str]]) -> None:
    """Jobs that nothing disturbed leave nothing begun, unless they have failed."""
    failed = {
        row["id"]
        for row in firm.office.rows("CBeteiligte")
        if row["syncStatus"] in {"failed", "permanently_failed", "syncing"}
    }
    left = [name for name, _ in _unrecorded(firm) - before if name not in failed]
    assert not left, f"begun and not recorded: {left}"


def _changes_data(path: str) -> bool:
    return bool(re.search(r"/advonet/(Beteiligte|Termine)|/events", path))


def _check_before_the_end(firm: Firm) -> None:
    """A record that shows a failure says why, and has failed: the audit has it, unless PostgreSQL took no line.

    Or it will: a job whose write of the status was answered strangely comes again.
    """
    coming_again = {job.data.get("entity_id") for job in firm.queue.waiting}
    failed = {
        row["entity_id"]
        for row in firm.rows(
            "SELECT DISTINCT entity_id FROM sync_audit"
            " WHERE result IN ('failed', 'permanently_failed') OR error IS NOT NULL"
        )
    }
    for row in firm.office.rows("CBeteiligte"):
        if row["syncStatus"] in {"failed", "permanently_failed"}:
            is_known = row["id"] in failed | coming_again or firm.was_hit
            assert is_known, f"{row['id']} shows a failure that no audit has"
            assert row["syncErrorMessage"], f"{row['id']} does not say why it failed"


# -- at the end -----------------------------------------------------------------------------------------------------


async def _check_at_the_end(firm: Firm, story: Story) -> None:
    checks: list[Callable[[], Awaitable[None]]] = [
        lambda: _check_queue(firm),
        lambda: _check_audit(firm),
        lambda: _check_office(firm, story),
        lambda: _check_calendars(firm),
    ]
    for check in checks:
        await firm.as_worker(check)
    assert not firm.defects, "\n".join(firm.defects)


async def _check_queue(firm: Firm) -> None:
    """Nothing waits for ever, and what was given up says why."""
    assert not firm.defects, "\n".join(firm.defects)
    assert not firm.queue.waiting, firm.queue.waiting
    for letter in firm.queue.dead:
        assert letter.reason.partition(": ")[2], (
            f"a dead letter without reason: {letter}"
        )


async def _check_audit(firm: Firm) -> None:
    """Every Beteiligter, Termin and event that we have written to stands in the audit."""
    known = {
        row["advoware_id"]
        for row in firm.rows("SELECT DISTINCT advoware_id FROM sync_audit")
    }
    rows = firm.rows(
        "SELECT DISTINCT advoware_frnr, google_event_id FROM calendar_sync_audit"
    )
    numbers = {str(row["advoware_frnr"]) for row in rows}
    events = {row["google_event_id"] for row in rows}
    for entry in firm.requests:
        if not _accepted(entry):
            continue
        path = entry["path"]
        if found := re.search(r"/advonet/Beteiligte/(\d+)", path):
            assert found[1] in known, f"no audit of {entry['method']} {path}"
        if found := re.search(r"/advonet/Termine\?frnr=(\d+)", path):
            assert found[1] in numbers, f"no audit of {entry['method']} {path}"
        if found := re.search(r"/events/([^/?]+)", path):
            names = {found[1], _OCCURRENCE.sub("", found[1])}
            assert names & events, f"no audit of {entry['method']} {path}"


async def _check_office(firm: Firm, story: Story) -> None:
    office, steps = firm.office, story.office_steps
    reported = strict.Reported(office, await office.fetch("SELECT * FROM sync_audit"))
    surprised = [s for s in steps if isinstance(s, Surprise) and _alters(s)]
    if share_nothing(steps):
        assert_nothing_of_another(office, firm.strangers)
    if firm.strangers:
        await hostile.assert_a_further_sync_writes_nothing(office)
        assert_nothing_of_another(office, firm.strangers)
        return
    if not surprised:
        _check_no_beteiligter_is_there_twice(firm)
    if surprised or _is_hostile(steps):
        hostile.assert_nothing_is_lost(office, reported, steps)
        await hostile.assert_clean_means_equal(office, reported)
        hostile.assert_nothing_waits_for_ever(office)
        await hostile.assert_a_further_sync_writes_nothing(office)
        return
    await strict.assert_nothing_is_there_twice(office)
    await strict.assert_both_sides_agree(office, reported)
    strict.assert_statuses(office, reported)
    strict.assert_nothing_is_lost(office, reported)
    strict.assert_no_task_is_doubled(reported)
    await strict.assert_the_sync_rests(office)


def _check_no_beteiligter_is_there_twice(firm: Firm) -> None:
    """People here enter no one in Advoware, so each Beteiligter is one that we have made for a record.

    Of one that a record has left behind, because it has another number, a person is notified.
    """
    left = firm.rows(
        "SELECT details ->> 'betnr' AS betnr FROM notification"
        " WHERE problem_key LIKE 'left_behind:%'"
    )
    states = firm.rows(
        "SELECT coalesce(advoware_id, split_part(entity_type, '@', 2)) AS number"
        " FROM sync_state WHERE entity_type LIKE 'CBeteiligte%'"
    )
    known = {state["number"] for state in states} | {row["betnr"] for row in left}
    known |= firm.office.ledger.wrong_numbers
    for advo in firm.office.beteiligte():
        assert str(advo["betNr"]) in known, f"no record has Beteiligter {advo['betNr']}"


def _alters(step: Surprise) -> bool:
    """Whether a system shows or stores something else than it got, or answers a write without what it has stored.

    Without its answer nothing distinguishes a person's edit right after our write from another form of our value.
    """
    rule = step.rule
    is_write = step.system == "advoware" and rule.get("method") in {"PUT", "POST"}
    hides = "text" in rule and is_write
    return bool(rule.get("answer") or rule.get("stored")) or hides


def _is_hostile(steps: list[Any]) -> bool:
    """Whether a user does what only the hostile search knows: its checks are wider."""
    plain = (
        "Enter",
        "EditMaster",
        "SwitchKind",
        "EditContact",
        "Retype",
        "Rearrange",
        "EditAddress",
        "EditBank",
    )
    odd = [s for s in steps if not isinstance(s, Surprise)]
    return any(type(s).__name__ not in (*plain, "Drop") or _is_valid(s) for s in odd)


def _is_valid(step: Any) -> bool:
    return getattr(step, "what", None) == "valid"


async def _check_calendars(firm: Firm) -> None:
    diary, checks = firm.diary, checks_to_make()
    await diary.settle()
    await calendar_checks.assert_both_sides_agree(diary)
    await calendar_checks.assert_nothing_is_lost(diary)
    await calendar_checks.assert_nothing_is_there_twice(diary)
    calendar_checks.assert_what_was_handed_on_stays_so(diary)
    if "privacy" in checks:
        calendar_checks.assert_private_stays_private(diary)
        await _check_hidden(firm)
    diary.forget_journals()
    for kuerzel in KUERZEL:
        await diary.run(kuerzel)
    assert diary.writes() == [], f"the calendars do not rest: {diary.writes()}"


async def _check_hidden(firm: Firm) -> None:
    """No text of Advoware's that must be hidden.

    What a person has typed into a copy is the person's; a copy that was over when we first met it keeps that.
    """
    own = firm.diary.ledger.typed_in_copies
    leaks = [
        event
        for event in await calendar_checks.shown_events(firm.diary)
        if event.must_hide and set(event.texts) - own
    ]
    assert not leaks, f"text that must be hidden: {leaks}"
