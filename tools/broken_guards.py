"""Break one guard for each promise, and see whether the simulation notices: ``python tools/broken_guards.py``.

Each row of `GUARDS` is a promise and the change that breaks its guard. It is done in a copy, ``.local/broken``. Printed
is a row of the table in ``docs/reliability.md``: promise, guard, seed that found it, seconds, and what was found.
``--only TEXT`` takes the promises with this text; ``--search MINUTES`` plays from the
first story on instead of from the seed that is known to notice, also if none is known.
Exit status 0: every one was noticed in time.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess  # nosec B404 - the tools of this project
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COPIES = ROOT / ".local" / "broken"
COPIED = (
    "services",
    "steps",
    "config.py",
    "db",
    "sandbox",
    "cli",
    "local_engine",
    "tests",
    "tools",
)
#: What is played from a known seed on until a guard is given up as not noticed (minutes).
LIMIT_MINUTES = 1.0


@dataclass(frozen=True)
class Guard:
    """A promise, the text in a file whose change breaks what guards it, and the seed of a story that notices."""

    promise: str
    name: str
    path: str
    old: str
    new: str
    seed: int | None = None  #: None: no story is known yet
    #: A second guard behind it that has to be broken as well: file, text, and what it becomes.
    behind: tuple[str, str, str] | None = None

    @property
    def changes(self) -> list[tuple[str, str, str]]:
        """What is changed to break it."""
        first = (self.path, self.old, self.new)
        return [first, self.behind] if self.behind else [first]


GUARDS = (
    Guard(
        "Nothing is created twice in Advoware",
        "create_once looks for what an interrupted attempt has left",
        "services/vmh_sync/create_once.py",
        "    if intent.is_repeated:",
        "    if intent.is_repeated and not intent.attempted_at:",
        9,
    ),
    Guard(
        "No event is there twice in Google",
        "google_event_id is the same in every attempt",
        "services/calendar_sync/mapping/event_ids.py",
        'name = f"advoware:{fr_nr}:{calendar_id}"',
        'name = f"advoware:{fr_nr}:{object()!r}"',
        108,
    ),
    Guard(
        "What is private stays hidden",
        "PlanSettings.shown anonymises private Termine",
        "services/calendar_sync/view.py",
        "is_hidden = self.hides_all or (event.privat and not persons_private)",
        "is_hidden = self.hides_all",
        1025,
    ),
    Guard(
        "A status is true",
        "BeteiligteFinisher._attributes writes what is then remembered as equal",
        "services/beteiligte/finish.py",
        "self._mapper.to_espocrm(plan.to_espocrm, kind=kind, espo=shown_now)",
        "self._mapper.to_espocrm({}, kind=kind, espo=shown_now)",
        0,
    ),
    Guard(
        "Each write has a line in the audit",
        "record_outcome appends the line",
        "services/vmh_sync/job.py",
        "        await store.append_audit(entry, now, ends=ends, owner=owner)",
        "        pass",
        7,
    ),
    Guard(
        "The audit takes no run that has ended for interrupted",
        "append_audit ends what a run has begun",
        "services/vmh_sync/job.py",
        "append_audit(entry, now, ends=ends, owner=owner)",
        "append_audit(entry, now, owner=owner)",
        0,
    ),
    Guard(
        "An edit is overwritten by nothing but a newer one, and people hear of it",
        "_keep_what_will_be_lost before the PUT",
        "services/beteiligte_sync_utils.py",
        "        await self._append_lost(observed, word, lost, store)\n        if plan.conflicts:",
        "        if not plan.conflicts:",
        12,
    ),
    Guard(
        "An edit that meets a running sync is kept",
        "BeteiligteFinisher._require_unedited",
        "services/beteiligte/finish.py",
        "        if was_edited_since(self._mapper, espo, {}, now):",
        "        if was_edited_since(self._mapper, espo, {}, espo):",
        12,
    ),
    Guard(
        "The sync comes to rest",
        "BeteiligteFinisher._needs_write",
        "services/beteiligte/finish.py",
        "        return ending.wants_write or not is_settled",
        "        return ending.wants_write or bool(is_settled)",
        0,
    ),
    Guard(
        "A store that is away is no defect and costs nothing",
        "store_errors knows what is left of an ended connection",
        "services/core/store_errors.py",
        "    asyncpg.InternalClientError,\n",
        "",
        10,
    ),
    Guard(
        "Nothing is deleted because a list lacks it",
        "CalendarSync._confirm reads a missing Termin directly",
        "services/calendar_sync/run.py",
        "            termin = await read_termin(self._advoware, fr_nr)",
        "            termin = None",
        111,
    ),
    Guard(
        "Many deletions at once wait for an operator",
        "plan/deletions._held",
        "services/calendar_sync/plan/deletions.py",
        "    if number > max(settings.max_deletions, MAX_DELETED_SHARE * live_pairs):",
        "    if number > live_pairs + settings.max_deletions:",
        1000,
    ),
    Guard(
        "Nothing of one person gets to another",
        "require_same_person: a number that Advoware has given again",
        "services/vmh_sync/beteiligte/identity.py",
        "    if different and _was_created_again(advo, state):",
        "    if different and _was_created_again(advo, state) and not base:",
        1005,
    ),
    Guard(
        "Nothing of one person gets to another",
        "BankverbindungenSync._require_same_person, for the event of an account",
        "services/bankverbindungen_sync.py",
        "        await self._require_same_person(espo, advo, store)",
        "        pass",
        1095,
    ),
    Guard(
        "A Termin that was handed on stays",
        "says_the_same compares the owner",
        "services/calendar_sync/apply/contents.py",
        "    if one.anwalt != other.anwalt:",
        "    if False:",
        1040,
    ),
    Guard(
        "A record that failed is tried again",
        "categories has the failed ones",
        "services/beteiligte_check.py",
        'Category("failed", [equals("syncStatus", "failed"), due], "syncNextRetry"),',
        "",
        7,
    ),
    Guard(
        "A lost event loses no edit",
        "categories has the edited ones",
        "services/beteiligte_check.py",
        'Category("modified", [equals("syncStatus", "dirty")], "modifiedAt"),',
        "",
        1015,
    ),
    Guard(
        "Write protection is never passed",
        "CalendarView.may_post, and AdvowareAPI._url behind it",
        "services/calendar_sync/view.py",
        "            self.settings.advoware_write_allowed and not self.settings.write_protection",
        "            self.settings.advoware_write_allowed",
        seed=29,
        behind=(
            "services/advoware.py",
            "        if is_write and self._settings.write_protection and is_calendar_path(url):",
            "        if is_write and not url and is_calendar_path(url):",
        ),
    ),
    Guard(
        "A dead letter has a reason",
        "each ForeignSystemError says what has happened",
        "services/core/errors.py",
        "        super().__init__(_message(system, status, reason))",
        '        super().__init__("")',
        3,
    ),
    Guard(
        "Two workers never work on one record at a time",
        "beteiligte_lock_key is the same in every run, and require_request_over behind it",
        "services/core/locks.py",
        'return f"sync_lock:cbeteiligte:{entity_id}"',
        'return f"sync_lock:cbeteiligte:{entity_id}:{object()!r}"',
        seed=1010,
        behind=(
            "services/advoware_service.py",
            "    if latest > resources.now():",
            "    if latest > resources.now() and not started_at:",
        ),
    ),
    Guard(
        "What has failed is left alone until it is due",
        "categories asks for syncNextRetry",
        "services/beteiligte_check.py",
        'Category("failed", [equals("syncStatus", "failed"), due], "syncNextRetry"),',
        'Category("failed", [equals("syncStatus", "failed")], "syncNextRetry"),',
        186,
    ),
    Guard(
        "Nothing waits for ever",
        "the limit of time of each request, and that of AdvowareAPI behind it",
        "services/core/http.py",
        "            asyncio.timeout(timeout_seconds),",
        "            asyncio.timeout(None),",
        seed=378,
        behind=(
            "services/advoware.py",
            "asyncio.timeout_at(deadline + TIMEOUT_GRACE_SECONDS)",
            "asyncio.timeout_at(None)",
        ),
    ),
    Guard(
        "No calendar is there twice",
        "ensure_calendar looks for it by its name",
        "services/calendar_sync/calendars.py",
        "    if found is not None:\n        return found\n    created",
        "    created",
        2,
    ),
    Guard(
        "No task is there twice",
        "NotificationManager._repeat_request looks for what an earlier attempt has left",
        "services/notification_utils.py",
        "        task_id = await self._find(_mark(row))\n        if task_id is not None:\n",
        "        task_id = None\n        if task_id is not None:\n",
        1030,
    ),
    Guard(
        "An edit that meets a collected write is kept",
        "AdressenSync._is_still_unedited",
        "services/adressen_sync.py",
        "            partial(self._show_failure, run.report, action),\n            still,\n",
        "            partial(self._show_failure, run.report, action),\n            None,\n",
        1020,
    ),
)


def noticed(guard: Guard, search: float | None) -> tuple[int | None, float, str]:
    """The seed that found the broken guard, after how many seconds of playing, and what was found."""
    copy = COPIES / str(os.getpid())
    _break(guard, copy)
    first = guard.seed if search is None and guard.seed is not None else 0
    hours = (LIMIT_MINUTES if search is None else search) / 60
    command = [sys.executable, "-W", "ignore", "tools/simulation.py", "--until-found"]
    command += ["--first", str(first), "--hours", str(hours)]
    started = time.monotonic()
    ended = subprocess.run(  # noqa: S603 - a tool of this project
        command,
        cwd=copy,
        capture_output=True,
        text=True,
        check=False,
    )
    taken = time.monotonic() - started
    found = re.search(r"VIOLATION, seed (\d+), after ([\d.]+) s: (.*)", ended.stdout)
    if found is None:
        return None, taken, "nothing"
    return int(found[1]), float(found[2]), found[3][:120]


def _break(guard: Guard, copy: Path) -> None:
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir(parents=True)
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name)
        else:
            shutil.copy(source, copy / name)
    for name, old, new in guard.changes:
        path = copy / name
        text = path.read_text(encoding="utf-8")
        if text.count(old) != 1:
            raise SystemExit(
                f"{name} has changed: {old!r} stands there {text.count(old)} times",
            )
        path.write_text(text.replace(old, new), encoding="utf-8")


def main() -> int:
    """Run from the command line; see the module's description."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", default="")
    parser.add_argument("--search", type=float, help="so many minutes for each guard")
    given = parser.parse_args()
    unnoticed = 0
    print("| promise | broken guard | seed | seconds | found |\n|---|---|---|---|---|")
    for guard in GUARDS:
        if given.only.lower() not in guard.promise.lower():
            continue
        if guard.seed is None and given.search is None:
            continue
        seed, seconds, what = noticed(guard, given.search)
        unnoticed += seed is None
        place = f"{guard.name} (`{guard.path}`)"
        print(
            f"| {guard.promise} | {place} | {seed} | {seconds:.0f} | {what} |",
            flush=True,
        )
    shutil.rmtree(COPIES / str(os.getpid()), ignore_errors=True)
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main())
