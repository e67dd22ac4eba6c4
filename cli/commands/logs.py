"""``bitbylaw logs``: the worker's facts, by record, employee, trace and level.

Each fact is a line of JSON (`services.core.log`). Under `make up` they lie in `.local/log/worker.log`, and what was
there before in `worker.log.1`. Elsewhere they are piped in: ``journalctl -o cat -u bitbylaw-worker | bitbylaw logs
--file -``, ``docker compose logs --no-log-prefix worker-1 | bitbylaw logs --file -``.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer
from rich.console import Console
from rich.text import Text

from config import PROJECT_ROOT

Fact = dict[str, Any]

LOOK_SECONDS = 0.3
MISSING = 2
#: Libraries log critical ones as well.
_ORDER = ("debug", "info", "warning", "error", "critical")
_STYLES = {"warning": "yellow", "error": "red", "critical": "red"}


class Level(StrEnum):
    """The least level that is shown."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class Wanted:
    """Which facts are shown; an empty criterion fits all."""

    entity: str
    trace: str
    level: Level

    def fits(self, fact: Fact) -> bool:
        """Whether a fact fits all criteria. ``entity`` is a record's id, a Kürzel or a number in any field."""
        if self.trace and fact.get("trace_id") != self.trace:
            return False
        severity = _ORDER.index(fact["level"])
        if severity < _ORDER.index(self.level):
            return False
        if not self.entity:
            return True
        fields = fact.get("fields") or {}
        return self.entity in map(str, fields.values())


def logs(
    entity: Annotated[
        str,
        typer.Option("--entity", help="id of a record, Kürzel, or any number"),
    ] = "",
    level: Annotated[Level, typer.Option("--level", help="this one and worse")] = (
        Level.DEBUG
    ),
    trace: Annotated[
        str,
        typer.Option("--trace", help="trace id, as the console shows it"),
    ] = "",
    follow: Annotated[
        bool,
        typer.Option("--follow", "-f", help="go on until Ctrl-C"),
    ] = False,
    last: Annotated[
        int,
        typer.Option("--last", min=1, help="so many of what is there already"),
    ] = 1000,
    file: Annotated[
        Path,
        typer.Option(
            "--file",
            envvar="BITBYLAW_WORKER_LOG",
            help="the worker's log; -: stdin",
        ),
    ] = PROJECT_ROOT / ".local" / "log" / "worker.log",
    as_json: Annotated[
        bool,
        typer.Option("--json", help="the lines as they are"),
    ] = False,
) -> None:
    """What the worker has logged, oldest first. Exit status: 0, or 2 if there is no log."""
    wanted = Wanted(entity, trace, level)
    if str(file) == "-":
        facts = _facts(sys.stdin, wanted)
        _show(facts, as_json)
        return
    if not file.exists():
        errors = Console(stderr=True)
        errors.print(f"There is no log at {file}", style="red")
        raise typer.Exit(MISSING)
    with file.open(encoding="utf-8", errors="replace") as stream:
        found = [*_kept(file, wanted), *_facts(stream, wanted)]
        _show(found[-last:], as_json)
        if follow:
            new = _facts(_new_lines(stream), wanted)
            _show(new, as_json)


def _kept(file: Path, wanted: Wanted) -> list[Fact]:
    """The facts in the file that was put aside when the log had grown too large."""
    older = Path(f"{file}.1")
    if not older.exists():
        return []
    with older.open(encoding="utf-8", errors="replace") as stream:
        return list(_facts(stream, wanted))


def _facts(lines: Iterable[str], wanted: Wanted) -> Iterator[Fact]:
    """The facts among the lines that are wanted; what else stands in the log is left out."""
    for line in lines:
        fact = _fact(line)
        if fact is not None and wanted.fits(fact):
            yield fact


def _fact(line: str) -> Fact | None:
    if not line.startswith("{"):
        return None
    try:
        fact: Fact = json.loads(line)
    except ValueError:  # the beginning was cut off, or the line is being written
        return None
    if fact.get("level") in _ORDER and "event" in fact:
        return fact
    return None


def _new_lines(stream: TextIO) -> Iterator[str]:
    """The lines that are written from now on; a log that was emptied is read from its beginning."""
    unfinished = ""
    while True:
        piece = stream.readline()
        if not piece:
            if os.fstat(stream.fileno()).st_size < os.lseek(
                stream.fileno(),
                0,
                os.SEEK_CUR,
            ):
                stream.seek(0)
            time.sleep(LOOK_SECONDS)
            continue
        unfinished += piece
        if unfinished.endswith("\n"):
            yield unfinished
            unfinished = ""


def _show(facts: Iterable[Fact], as_json: bool) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for fact in facts:
        if as_json:
            typer.echo(json.dumps(fact))
            continue
        console.print(Text(_line(fact), style=_STYLES.get(fact["level"], "")))


def _line(fact: Fact) -> str:
    moment = datetime.fromisoformat(fact["time"]).astimezone()
    words = [
        f"{moment:%d.%m. %H:%M:%S}",
        f"{fact['level']:<7}",
        fact["event"],
    ]
    fields = fact.get("fields") or {}
    for name, value in fields.items():
        if value is not None:
            words.append(f"{name}={value}")
    return " ".join(words)
