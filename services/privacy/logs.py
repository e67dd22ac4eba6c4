"""The log files that `make up` keeps. They hold ids and no values (`services.core.log`)."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path

from services.core.errors import InvalidInput

#: More lines than this of one person are not shown.
MAX_LINES = 1000


def lines_with(directory: Path, texts: Collection[str]) -> list[str]:
    """The lines that hold one of the texts, with the names of their files, at most `MAX_LINES`.

    Raises:
        InvalidInput: there are logs that this user may not read, so that nothing can be known of what they hold.
    """
    try:
        return list(islice(_lines_with(directory, texts), MAX_LINES))
    except OSError as error:
        raise InvalidInput(
            f"{error.filename}: the log cannot be read ({type(error).__name__})",
        ) from error


def _lines_with(directory: Path, texts: Collection[str]) -> Iterator[str]:
    for path in _logs(directory):
        for line in _lines(path):
            if any(text in line for text in texts):
                yield f"{path.name}: {line}"


def remove_old(directory: Path, days: int, now: datetime) -> int:
    """Remove what was logged more than ``days`` ago; how many files were removed or started again.

    A log in use is started again once its first line is half as old, and what was in it is kept as ``<name>.1`` for the
    other half.
    """
    half = timedelta(days=days) / 2
    before = now - half
    return _remove_kept(directory, before) + _start_again_used(directory, before)


def _remove_kept(directory: Path, before: datetime) -> int:
    """Remove what was kept of earlier logs, if it was written before then."""
    removed = 0
    for path in _logs(directory):
        if path.suffix != ".1":
            continue
        written = datetime.fromtimestamp(path.stat().st_mtime, before.tzinfo)
        if written < before:
            path.unlink()
            removed += 1
    return removed


def _start_again_used(directory: Path, before: datetime) -> int:
    """Start those logs again whose first line was written before then."""
    started = 0
    for path in _logs(directory):
        if path.suffix != ".log":
            continue
        began = _first_moment(path)
        if began is not None and began < before:
            _start_again(path)
            started += 1
    return started


def _start_again(path: Path) -> None:
    """Its writers have opened it for appending, so they go on at its new end."""
    kept = path.with_name(f"{path.name}.1")
    with path.open("rb") as log, kept.open("wb") as copy:
        os.fchmod(copy.fileno(), 0o600)
        shutil.copyfileobj(log, copy)
    os.truncate(path, 0)


def _first_moment(path: Path) -> datetime | None:
    """When the first line that says so was written."""
    for line in _lines(path):
        try:
            record = json.loads(line)
            return datetime.fromisoformat(record["time"])
        except (ValueError, KeyError, TypeError):
            continue
    return None


def _logs(directory: Path) -> list[Path]:
    if not directory.is_dir():
        return []
    named = [path for path in directory.iterdir() if ".log" in path.name]
    return sorted(path for path in named if path.is_file())


def _lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8", errors="replace") as log:
        for line in log:
            yield line.rstrip("\n")
