"""Our HTTP endpoints as a table, from the document that describes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from services.api.openapi import document


@dataclass(frozen=True)
class Answer:
    """An answer that an endpoint may give: its status and what that means."""

    status: str
    meaning: str


@dataclass(frozen=True)
class EndpointRow:
    """One endpoint. ``access`` are the ways to prove who one is; empty: none is asked for."""

    method: str
    path: str
    summary: str
    access: list[str]
    is_access_optional: bool
    answers: list[Answer]


@dataclass(frozen=True)
class DescriptionView:
    """All endpoints, in the order of the document."""

    endpoints: list[EndpointRow]


def described() -> dict[str, Any]:
    """The document itself, as the system answers it at /openapi.json."""
    return document()


def description_view() -> DescriptionView:
    """The endpoints of the steps."""
    rows = []
    for path, operations in document()["paths"].items():
        for method, operation in operations.items():
            rows.append(_row(method, path, operation))
    return DescriptionView(rows)


def _row(method: str, path: str, operation: dict[str, Any]) -> EndpointRow:
    answers = []
    for status, answer in operation["responses"].items():
        meaning = answer["description"].replace("``", "")
        answers.append(Answer(status, meaning))
    ways = operation["security"]
    return EndpointRow(
        method=method.upper(),
        path=path,
        summary=operation["summary"],
        access=[" + ".join(way) for way in ways if way],
        is_access_optional={} in ways,
        answers=answers,
    )
