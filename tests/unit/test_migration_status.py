"""MIGRATION_STATUS.md says what is true: every step listed as done exists and has the listed triggers."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
from motia.types import ApiTrigger, CronTrigger, QueueTrigger

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "MIGRATION_STATUS.md").read_text()
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in TEXT.splitlines() if line.startswith("| `")]
STEPS = [row for row in ROWS if row[0].startswith("`steps/")]
DONE_STEPS = {row[0].strip("`"): row for row in STEPS if row[2] == "done"}
SERVICES = [row for row in ROWS if row[0].startswith("`services/")]


def load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(re.sub(r"\W", "_", path.stem), path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def described(trigger: Any) -> str:
    if isinstance(trigger, ApiTrigger):
        return f"http {trigger.method} {trigger.path}"
    if isinstance(trigger, QueueTrigger):
        return f"queue {trigger.topic}"
    assert isinstance(trigger, CronTrigger)
    return f"cron {trigger.expression}"


@pytest.mark.parametrize("path", DONE_STEPS)
def test_a_step_listed_as_done_has_the_listed_triggers(path: str) -> None:
    module = load(ROOT / path)

    assert ", ".join(described(trigger) for trigger in module.config["triggers"]) == DONE_STEPS[path][1]
    assert callable(module.handler)


def test_every_step_of_the_project_is_listed() -> None:
    found = {str(path.relative_to(ROOT)) for path in (ROOT / "steps").rglob("*_step.py")}

    assert found == set(DONE_STEPS)


def test_every_proving_test_and_every_finished_module_exists() -> None:
    for row in ROWS:
        for name in re.findall(r"tests/\S+\.py", row[-1]):
            assert (ROOT / name).is_file(), name
    for row in SERVICES:
        assert (ROOT / row[0].strip("`")).is_file() == row[1].startswith("done")
    assert len(SERVICES) == 11


def test_each_topic_has_exactly_one_step() -> None:
    topics = [
        trigger.topic
        for path in DONE_STEPS
        for trigger in load(ROOT / path).config["triggers"]
        if isinstance(trigger, QueueTrigger)
    ]

    assert len(topics) == len(set(topics))
