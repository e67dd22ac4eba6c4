"""``bitbylaw undo``: bring back what a sync has overwritten."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.commands import service

if TYPE_CHECKING:
    from services.undo.command import Undone

NOTHING = 1


def undo(
    audit_id: Annotated[int, typer.Argument(help="of the audit's row")],
    apply: Annotated[
        bool,
        typer.Option("--apply", help="really restore; without it: show"),
    ] = False,
    show_text: Annotated[
        bool,
        typer.Option("--show-text", help="also show the values"),
    ] = False,
    calendar: Annotated[
        bool,
        typer.Option("--calendar", help="a row of the calendar's audit"),
    ] = False,
) -> None:
    """Restore what a sync has overwritten, on the side that was written, as far as it was not changed since.

    The two sides differ then, and the sync leaves it so until a user changes the field. Exit status 1: nothing to do.
    """
    if calendar:
        _undo_calendar(audit_id, apply=apply)
        return
    from services.undo.command import Undo

    undone = service.run(
        lambda resources: Undo(resources).beteiligter(audit_id, apply=apply),
    )
    at = f"{undone.at.astimezone():%d.%m.%Y %H:%M}"
    service.console.print(f"CBeteiligte {undone.entity_id}, Nr. {undone.betnr}, {at}")
    _print_lines(undone, show_text=show_text)
    if not any(line.is_restorable for line in undone.lines):
        service.console.print("there is nothing to restore")
        raise typer.Exit(NOTHING)


def _print_lines(undone: Undone, *, show_text: bool) -> None:
    for line in undone.lines:
        verdict = line.verdict
        if undone.applied and line.is_restorable:
            verdict = "restored"
        values = ""
        if show_text:
            values = f" {line.new!r} -> {line.old!r}"
        service.show(f"  {line.side} {line.field}{values}: {verdict}")


def _undo_calendar(audit_id: int, *, apply: bool) -> None:
    from services.undo.command import Undo

    report: Any = service.run(
        lambda resources: Undo(resources).calendar(audit_id, apply=apply),
    )
    document = report.as_document()
    for kind in ("changes", "findings", "errors"):
        for row in document[kind]:
            shown = row.get("result") or row.get("reason") or row.get("message")
            service.show(f"  {shown}")
    if document["errors"]:
        raise typer.Exit(service.FAILED)
