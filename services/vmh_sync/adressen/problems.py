"""What the sync of Adressen reports to people and writes into the audit. Pure.

The words for reasons (`address_...` in `services.vmh_sync.problem_texts.adressen`, here without the prefix):
``read_only`` (only a person can change the field in Advoware), ``refused`` (Advoware did not take it without saying
so), ``value_refused`` and ``value_refused_espocrm`` (answered with a refusal), ``unknown_espocrm`` and
``unknown_advoware`` (what that side says is not known to the other), ``too_long_advoware`` and ``too_long_espocrm``,
``altered_advoware`` and ``altered_espocrm`` (stored differently there), ``missing`` (one side does not show the field),
``shown_otherwise`` (Advoware shows something else and was not edited),
``block`` (the printed block was written by hand).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from services.adressen_mapper import AdressenMapper
from services.core.foreign_text import comparable_text
from services.values.address_block import BLOCK
from services.values.countries import GERMANY, country_text
from services.values.merge import text_of, value_from_json
from services.vmh_sync.adressen.fields import FieldPlan, is_field
from services.vmh_sync.adressen.match import ENTITY_TYPE, MAIN, Observation, Record
from services.vmh_sync.notification.texts import LABELS, problem_sentence
from services.vmh_sync.result import (
    ActionType,
    Details,
    FieldLine,
    Problem,
    digest_of_lines,
)

_mapper = AdressenMapper()

#: Reasons with a kind of task of their own.
_ACTIONS: Mapping[str, ActionType] = {
    "read_only": "address_field_update_required",
    "refused": "readonly_field_conflict",
}


def problem(
    observed: Observation,
    action_type: ActionType,
    row: Record,
    **further: Any,
) -> Problem:
    """A problem of a CAdressen; ``further`` are attributes of its `Details`."""
    label = _mapper.label(_mapper.comparable_from_espocrm(row))
    if not label:
        label = str(row.get("bezeichnung") or "")
    details = about(observed, label, **further)
    key = f"{action_type}:{row['id']}"
    return Problem(
        action_type,
        ENTITY_TYPE,
        row["id"],
        key,
        details,
    )


def _manual_problem(
    observed: Observation,
    row: Record,
    word: str,
    reason: str,
    **further: Any,
) -> Problem:
    """A problem of a CAdressen that has its reason in its key."""
    found = problem(
        observed,
        "general_manual_action",
        row,
        reason=reason,
        **further,
    )
    return replace(found, key=f"{word}:{row['id']}")


def about(observed: Observation, adresse: str, **further: Any) -> Details:
    """The details of a problem of an address: whose it is, and which."""
    names = []
    for field in ("vorname", "name"):
        name = comparable_text(observed.beteiligter.get(field))
        if name:
            names.append(name)
    return Details(
        betnr=observed.betnr,
        name=" ".join(names),
        adresse=adresse,
        **further,
    )


def activity_problems(
    observed: Observation,
    row: Record,
    adresse: Record | None,
    rejected: Mapping[str, Any],
) -> tuple[Problem, ...]:
    """The problems of an address that is in use on one side only."""
    problems = []
    gone = rejected.get("gone")
    if gone is not None:
        problems.append(
            problem(observed, "missing_in_advoware", row, since=gone["since"]),
        )
    pair = rejected.get("isActive")
    if pair is None:
        return tuple(problems)
    action: ActionType = "address_delete_required"
    if pair["espocrm"]:
        action = "address_reactivate_required"
    if pair["espocrm"] or adresse is not None:
        problems.append(problem(observed, action, row, since=pair["since"]))
    return tuple(problems)


def field_problems(
    observed: Observation,
    row: Record,
    rejected: Mapping[str, Any],
) -> tuple[Problem, ...]:
    """The problems of the fields that wait, one for each reason."""
    by_reason: dict[str, dict[str, Any]] = defaultdict(dict)
    for name, item in sorted(rejected.items()):
        if _is_listed(name):
            by_reason[_reason_of(item)][name] = item
    problems = []
    for reason, items in by_reason.items():
        problems.append(_field_problem(observed, row, reason, items))
    return tuple(problems)


def _is_listed(name: str) -> bool:
    """Whether an entry of ``rejected`` is a line of a task about fields."""
    return is_field(name) or name == MAIN


def _reason_of(item: Mapping[str, Any]) -> str:
    return str(item.get("reason", "read_only"))


def _field_problem(
    observed: Observation,
    row: Record,
    reason: str,
    items: Mapping[str, Any],
) -> Problem:
    if reason == "erased":
        return _erased_problem(observed, row, items)
    further = _about_fields(reason, items)
    word = f"address_{reason}"
    action = _ACTIONS.get(reason)
    if action is None:
        return _manual_problem(
            observed,
            row,
            word,
            word,
            **further,
        )
    if reason == "read_only":
        return problem(observed, action, row, **further)
    return problem(
        observed,
        action,
        row,
        reason=word,
        **further,
    )


def _about_fields(reason: str, items: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of the `Details` that say which fields wait, since when, and what the receiver answered."""
    further: dict[str, Any] = {
        "fields": tuple(_field_line(reason, *item) for item in items.items()),
        "since": min(item["since"] for item in items.values()),
    }
    words = [item["words"] for item in items.values() if item.get("words")]
    if words:
        further["further"] = {"error": "; ".join(dict.fromkeys(words))}
    return further


def _erased_problem(
    observed: Observation,
    row: Record,
    names: Iterable[str],
) -> Problem:
    """Without the values: what was erased is not written down elsewhere."""
    labels = ", ".join(LABELS.get(name, name) for name in names)
    details = Details("address_erased", observed.betnr, further={"Gelöscht": labels})
    key = f"address_erased:{row['id']}"
    return Problem(
        "general_manual_action",
        ENTITY_TYPE,
        row["id"],
        key,
        details,
    )


def _field_line(reason: str, name: str, item: Mapping[str, Any]) -> FieldLine:
    """What the side shows that the edit did not reach, and the edit."""
    into = "advoware"
    out_of = "espocrm"
    if reason in _INTO_ESPOCRM:
        into = "espocrm"
        out_of = "advoware"
    old = shown(name, item[into])
    new = shown(name, item[out_of])
    return FieldLine(name, old, new)


_INTO_ESPOCRM = frozenset(
    {
        "unknown_advoware",
        "too_long_espocrm",
        "altered_espocrm",
        "value_refused_espocrm",
    },
)


def conflict_problems(
    observed: Observation,
    row: Record,
    fields: FieldPlan,
    now: str,
) -> tuple[Problem, ...]:
    """EspoCRM won over an edit in Advoware: a user should know what was replaced there.

    One task for each set of values, so that the next ones do not take the place of those that no one has looked at.
    """
    lost = []
    for item in fields.plan.conflicts:
        if item.field in fields.to_advoware:
            old = shown(item.field, item.advoware)
            new = shown(item.field, item.espocrm)
            lost.append(FieldLine(item.field, old, new))
    if not lost:
        return ()
    return (_problem_of_lines(observed, row, "conflict", lost, since=now),)


def replaced_problems(
    observed: Observation,
    row: Record,
    fields: FieldPlan,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
) -> tuple[Problem, ...]:
    """What waited for a user and gives way to another value, where its task goes on about other fields.

    ``before`` and ``after`` are what waited and what waits from now on. A task of which nothing waits any more ends and
    keeps its text.
    """
    reasons = {_reason_of(item) for name, item in after.items() if _is_listed(name)}
    lines = []
    for name, item in sorted(before.items()):
        if is_field(name) and _goes_on(_reason_of(item), reasons):
            lines += _replaced_line(name, item, fields)
    if not lines:
        return ()
    return (_problem_of_lines(observed, row, "value_replaced", lines),)


def _goes_on(reason: str, reasons: Collection[str]) -> bool:
    """Whether the task of a reason goes on; that of erased fields shows no values."""
    return reason in reasons and reason != "erased"


def _problem_of_lines(
    observed: Observation,
    row: Record,
    word: str,
    lines: list[FieldLine],
    since: str | None = None,
) -> Problem:
    """A problem with one task for each set of lines, so that the next ones do not take their place unread."""
    found = _manual_problem(
        observed,
        row,
        word,
        word,
        fields=tuple(lines),
        since=since,
    )
    return replace(found, key=f"{found.key}:{digest_of_lines(lines)}")


def _replaced_line(
    name: str,
    item: Mapping[str, Any],
    fields: FieldPlan,
) -> list[FieldLine]:
    """The value that did not arrive, if the other side's takes its place."""
    side = "espocrm"
    written = fields.to_espocrm
    if item.get("reason") in _INTO_ESPOCRM:
        side = "advoware"
        written = fields.to_advoware
    if name not in written or name in {found.field for found in fields.plan.conflicts}:
        return []
    return [FieldLine(name, shown(name, item[side]), shown(name, written[name]))]


def sentences(problems: Iterable[Problem]) -> list[str]:
    """What the CBeteiligte shows of the problems that wait; what is settled or needs nothing is not among them."""
    return [problem_sentence(item) for item in problems if _waits(item)]


def _waits(item: Problem) -> bool:
    if item.action_type in {"missing_in_advoware", "address_reactivate_required"}:
        return False
    return item.details.reason not in {"conflict", "address_erased", "value_replaced"}


def failure_sentence(reason: str, *, adresse: str = "", value: str = "") -> str:
    """A failure in one German sentence with its code."""
    details = Details(reason, adresse=adresse, value=value)
    return problem_sentence(
        Problem(
            "general_manual_action",
            ENTITY_TYPE,
            "",
            "",
            details,
        ),
    )


def shown(name: str, stored: Any) -> Any:
    """A value, also as it is stored, as people know it."""
    value = text_of(value_from_json(stored))
    if name == "land":
        return country_text(value or GERMANY)
    return value


# -- audit ----------------------------------------------------------------------------------------------------------


def name_of(row: Record) -> str:
    """How the audit names a CAdressen."""
    return f"{ENTITY_TYPE}/{row['id']}"


def change_lines(
    row: Record,
    fields: FieldPlan,
    left_out: Iterable[str] = (),
) -> list[Mapping[str, Any]]:
    """One line for each value that is written."""
    sides = (
        ("advoware", fields.to_advoware, fields.advoware),
        ("espocrm", fields.to_espocrm, fields.espocrm),
    )
    lost = {conflict.field for conflict in fields.plan.conflicts}
    changes: list[Mapping[str, Any]] = []
    for side, written, old in sides:
        for name in sorted(written.keys() - set(left_out)):
            before = text_of(old.get(name))
            change = _line(
                row,
                name,
                side,
                before,
                written[name],
            )
            if name in lost:
                change["conflict"] = True
            changes.append(change)
    return changes


def _line(
    row: Record,
    name: str,
    side: str,
    old: Any,
    new: Any,
) -> dict[str, Any]:
    return {
        "record": name_of(row),
        "field": name,
        "side": side,
        "old": old,
        "new": new,
    }


def block_line(row: Record, old: str, new: str) -> Mapping[str, Any]:
    """The line that keeps a printed block before it is overwritten."""
    return _line(
        row,
        BLOCK,
        "advoware",
        old,
        new,
    )


def rejection_lines(
    row: Record,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
) -> list[Mapping[str, Any]]:
    """One line for each difference that waits from now on."""
    lines: list[Mapping[str, Any]] = []
    for name, item in sorted(after.items()):
        if not _is_listed(name):
            continue
        if before.get(name) != item:
            head = {"record": name_of(row), "field": name, "side": "advoware"}
            lines.append({**head, "rejected": True, **item})
    return lines
