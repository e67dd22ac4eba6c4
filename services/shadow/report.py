"""Previews as a summary, a CSV table and an HTML page; the values of texts only if they are asked for."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import Any

from services.shadow.planned import PlannedWrite
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
    held = 0
    tasks = 0
    failed = {}
    for preview in previews:
        held += len(preview.held)
        tasks += len(preview.tasks)
        if preview.error is not None:
            failed[preview.subject] = preview.error
    writes = counts_of(previews)
    return {
        "subjects": len(previews),
        "writes": dict(sorted(writes.items())),
        "held": held,
        "tasks": tasks,
        "failed": failed,
    }


def as_json(preview: Preview, *, show_text: bool) -> dict[str, Any]:
    """One preview as a document."""
    columns = COLUMNS[1:]
    writes = []
    for _, *cells in _rows(preview, show_text=show_text):
        writes.append(dict(zip(columns, cells, strict=True)))
    return {
        "subject": preview.subject,
        "result": preview.result,
        "error": preview.error,
        "held": list(preview.held) if show_text else len(preview.held),
        "tasks": list(preview.tasks) if show_text else len(preview.tasks),
        "writes": writes,
    }


def as_csv(previews: Iterable[Preview], *, show_text: bool) -> str:
    """One line for each field that would be written."""
    out = io.StringIO()
    table = csv.writer(out, delimiter=";")
    table.writerow(COLUMNS)
    for preview in previews:
        for row in _rows(preview, show_text=show_text):
            table.writerow(map(_no_formula, row))
    return out.getvalue()


def as_html(previews: Sequence[Preview], *, show_text: bool) -> str:
    """A page with the counts and all fields."""
    counts: list[str] = []
    for name, number in sorted(counts_of(previews).items()):
        counts.append(_line([name, str(number)]))
    rows: list[str] = []
    messages: list[str] = []
    for preview in previews:
        rows += map(_line, _rows(preview, show_text=show_text))
        messages += _messages(preview, show_text=show_text)
    return _PAGE.format(
        counts="".join(counts),
        messages="".join(messages),
        head=_cells("th", COLUMNS),
        rows="".join(rows),
    )


def _messages(preview: Preview, *, show_text: bool) -> Iterator[str]:
    subject = escape(preview.subject)
    if preview.error is not None:
        error = escape(preview.error)
        yield f'<p class="failed">{subject}: {error}</p>'
    if not show_text:
        return
    for sentence in (*preview.held, *preview.tasks):
        text = escape(sentence)
        yield f"<p>{subject}: {text}</p>"


def _line(cells: Iterable[str]) -> str:
    return f"<tr>{_cells('td', cells)}</tr>"


def _cells(element: str, cells: Iterable[str]) -> str:
    return "".join(f"<{element}>{escape(cell)}</{element}>" for cell in cells)


def _rows(preview: Preview, *, show_text: bool) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = []
    for write in preview.writes:
        rows += _rows_of(preview.subject, write, show_text=show_text)
    return rows


def _rows_of(
    subject: str,
    write: PlannedWrite,
    *,
    show_text: bool,
) -> Iterator[Sequence[str]]:
    start = (subject, write.system, write.kind, write.record_id, write.operation)
    is_one_line = write.operation in {"delete", "note"}
    if is_one_line or not write.contents:
        yield (*start, "", "", "")
        return
    for field in write.contents:
        old = _shown(field.old, show_text=show_text)
        new = _shown(field.new, show_text=show_text)
        yield (*start, field.name, old, new)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


def _shown(value: Any, *, show_text: bool) -> str:
    text = _text(value)
    if text and not show_text:
        return HIDDEN
    return text


def _no_formula(cell: str) -> str:
    if cell.startswith(_FORMULA):
        return f"'{cell}"
    return cell
