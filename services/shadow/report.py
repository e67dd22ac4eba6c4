"""Previews as a summary, a CSV table and an HTML page; the values of texts only if they are asked for."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import Any

from services.shadow.planned import PlannedField, PlannedWrite
from services.shadow.preview import Preview

COLUMNS = ("subject", "system", "kind", "record", "operation", "field", "old", "new")
HIDDEN = "***"
#: Spreadsheets take a text that begins so for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

_PAGE = """<!doctype html>
<html lang="de"><head><meta charset="utf-8"><title>BitByLaw: Vorschau</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem; color: #1a1a1a; background: #fff }}
table {{ border-collapse: collapse; margin: 1rem 0 }}
td, th {{ border: 1px solid #bbb; padding: .25rem .6rem; text-align: left; vertical-align: top }}
th {{ background: #eee }} .failed {{ color: #a00000 }}
</style></head><body><h1>Vorschau: es wurde nichts geschrieben</h1>
<table><tr><th>Was</th><th>Anzahl</th></tr>{counts}</table>
{messages}
<table><tr>{head}</tr>{rows}</table></body></html>
"""


def counts_of(previews: Iterable[Preview]) -> Counter[str]:
    """How many records would be written, by ``<system> <kind> <operation>``."""
    total: Counter[str] = Counter()
    for preview in previews:
        total.update(preview.counts)
    return total


def summary(previews: Sequence[Preview]) -> dict[str, Any]:
    """Counts, and the subjects that cannot be foreseen: ``{"subjects", "writes", "held", "tasks", "failed"}``."""
    failed = [item for item in previews if item.error is not None]
    return {
        "subjects": len(previews),
        "writes": dict(sorted(counts_of(previews).items())),
        "held": sum(len(item.held) for item in previews),
        "tasks": sum(len(item.tasks) for item in previews),
        "failed": {item.subject: item.error for item in failed},
    }


def as_json(preview: Preview, *, show_text: bool) -> dict[str, Any]:
    """One preview as a document."""
    rows = [
        dict(zip(COLUMNS[1:], row[1:], strict=True))
        for row in _rows(preview, show_text=show_text)
    ]
    return {
        "subject": preview.subject,
        "result": preview.result,
        "error": preview.error,
        "held": list(preview.held) if show_text else len(preview.held),
        "tasks": list(preview.tasks) if show_text else len(preview.tasks),
        "writes": rows,
    }


def as_csv(previews: Iterable[Preview], *, show_text: bool) -> str:
    """One line for each field that would be written."""
    out = io.StringIO()
    table = csv.writer(out, delimiter=";")
    table.writerow(COLUMNS)
    for preview in previews:
        for row in _rows(preview, show_text=show_text):
            table.writerow([_no_formula(cell) for cell in row])
    return out.getvalue()


def as_html(previews: Sequence[Preview], *, show_text: bool) -> str:
    """A page with the counts and all fields."""
    counts = counts_of(previews)
    rows: list[Sequence[str]] = []
    messages: list[str] = []
    for preview in previews:
        rows += _rows(preview, show_text=show_text)
        messages += _messages(preview, show_text=show_text)
    return _PAGE.format(
        counts="".join(
            _line([name, str(number)]) for name, number in sorted(counts.items())
        ),
        messages="".join(messages),
        head="".join(f"<th>{name}</th>" for name in COLUMNS),
        rows="".join(_line(row) for row in rows),
    )


def _messages(preview: Preview, *, show_text: bool) -> Iterator[str]:
    if preview.error is not None:
        yield f'<p class="failed">{escape(preview.subject)}: {escape(preview.error)}</p>'
    if show_text:
        for text in (*preview.held, *preview.tasks):
            yield f"<p>{escape(preview.subject)}: {escape(text)}</p>"


def _line(cells: Iterable[str]) -> str:
    return "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"


def _rows(preview: Preview, *, show_text: bool) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = []
    for write in preview.writes:
        rows += _rows_of(preview.subject, write, show_text=show_text)
    return rows


def _rows_of(
    subject: str, write: PlannedWrite, *, show_text: bool
) -> Iterator[Sequence[str]]:
    start = (subject, write.system, write.kind, write.record_id, write.operation)
    if write.operation in {"delete", "note"} or not write.contents:
        yield (*start, "", "", "")
        return
    for field in write.contents:
        yield (*start, field.name, *_values(field, show_text=show_text))


def _values(field: PlannedField, *, show_text: bool) -> tuple[str, str]:
    old, new = _shown(field.old), _shown(field.new)
    if show_text:
        return old, new
    return HIDDEN if old else "", HIDDEN if new else ""


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


def _no_formula(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
