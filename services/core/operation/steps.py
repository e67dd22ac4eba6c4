"""The steps' own config, read from the files below `steps/`: which triggers start them, and what they enqueue."""

from __future__ import annotations

import importlib.util
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from config import PROJECT_ROOT

STEPS = PROJECT_ROOT / "steps"


@dataclass(frozen=True)
class Step:
    """A step. ``http`` are ``"POST /path"``, ``crons`` six-field expressions, seconds first."""

    name: str
    description: str
    flow: str
    http: tuple[str, ...]
    topics: tuple[str, ...]
    crons: tuple[str, ...]
    enqueues: tuple[str, ...]


def load_steps(directory: Path = STEPS) -> list[Step]:
    """All steps, by flow and name. Importing a step starts nothing."""
    root = str(directory.parent)
    if root not in sys.path:
        sys.path.append(root)
    steps = [_load(path) for path in sorted(directory.rglob("*_step.py"))]
    return sorted(steps, key=lambda step: (step.flow, step.name))


def _load(path: Path) -> Step:
    spec = importlib.util.spec_from_file_location(f"board_step_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # motia's own model warns of a name
        spec.loader.exec_module(module)
    return _step(module.config)


def _step(given: Any) -> Step:
    from motia.types import ApiTrigger, CronTrigger, QueueTrigger, StepConfig

    config = StepConfig.model_validate(given)
    http: list[str] = []
    topics: list[str] = []
    crons: list[str] = []
    for trigger in config.triggers:
        if isinstance(trigger, ApiTrigger):
            http.append(f"{trigger.method} {trigger.path}")
        if isinstance(trigger, QueueTrigger):
            topics.append(trigger.topic)
        if isinstance(trigger, CronTrigger):
            crons.append(trigger.expression)
    return Step(
        name=config.name,
        description=config.description or "",
        flow=next(iter(config.flows or []), ""),
        http=tuple(http),
        topics=tuple(topics),
        crons=tuple(crons),
        enqueues=tuple(_topic(item) for item in config.enqueues or []),
    )


def _topic(item: Any) -> str:
    if isinstance(item, str):
        return item
    return str(item.topic)
