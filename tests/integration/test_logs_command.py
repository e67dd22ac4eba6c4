"""`bitbylaw logs`: finds facts in the worker's log and follows it, also when it is rotated."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli import supervisor
from cli.main import app
from cli.supervisor import rotate
from config import PROJECT_ROOT


def line(event: str, level: str = "info", trace: str = "t1", **fields: Any) -> str:
    fact = {"time": "2026-11-26T10:00:00.000+00:00", "level": level, "event": event}
    return json.dumps({**fact, "fields": fields, "trace_id": trace}) + "\n"


def read(log: Path, *options: str) -> list[str]:
    answer = CliRunner().invoke(app, ["logs", "--file", str(log), "--json", *options])
    assert answer.exit_code == 0, answer.output
    return [json.loads(found)["event"] for found in answer.output.splitlines()]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "worker.log"
    path.write_text(
        "motia: a line that is no fact\n"
        + line("webhook.received", ids=1)
        + line("beteiligte.synced", entity_id="a1", result="created")
        + line("calendar.synced", kuerzel="SB", trace="t2")
        + line("calendar.failed", "error", kuerzel="SB", trace="t3")
        + '{"time": "2026-'
    )
    return path


@pytest.mark.parametrize(
    ("options", "events"),
    [
        (["--entity", "a1"], ["beteiligte.synced"]),
        (["--entity", "SB"], ["calendar.synced", "calendar.failed"]),
        (["--entity", "SB", "--level", "warning"], ["calendar.failed"]),
        (["--trace", "t2"], ["calendar.synced"]),
        (["--last", "1"], ["calendar.failed"]),
    ],
)
def test_facts_are_found(log: Path, options: list[str], events: list[str]) -> None:
    assert read(log, *options) == events


def test_people_read_one_line_for_each(log: Path) -> None:
    answer = CliRunner().invoke(app, ["logs", "--file", str(log), "--entity", "a1"])
    assert answer.output.endswith("beteiligte.synced entity_id=a1 result=created\n")


def test_what_was_put_aside_is_found_as_well_and_only_the_owner_may_read_it(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "LOG_BYTES", 10)
    rotate(log)
    log.write_text(line("later", entity_id="a1"))
    assert read(log, "--entity", "a1") == ["beteiligte.synced", "later"]
    assert Path(f"{log}.1").stat().st_mode & 0o077 == 0


def test_a_log_is_followed_beyond_its_rotation(log: Path) -> None:
    command = [sys.executable, "-m", "cli.main", "logs", "--follow", "--json"]
    with subprocess.Popen(  # noqa: S603 - our own command
        [*command, "--file", str(log)],
        cwd=PROJECT_ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdout is not None
        shown = [json.loads(process.stdout.readline())["event"] for _ in range(4)]
        os.truncate(log, 0)
        with log.open("a") as stream:
            stream.write(line("after.rotation"))
        shown.append(json.loads(process.stdout.readline())["event"])
        process.terminate()
    assert shown[-1] == "after.rotation"


def test_a_log_that_is_not_there_is_exit_status_2(tmp_path: Path) -> None:
    missing = str(tmp_path / "worker.log")
    assert CliRunner().invoke(app, ["logs", "--file", missing]).exit_code == 2
