"""What the sync of Adressen tells people and writes into the audit. Pure.

The words for reasons (`address_...` in `services.vmh_sync.problem_texts.adressen`, here without the prefix):
``read_only`` (only a person can change the field in Advoware), ``refused`` (Advoware did not take it without saying
so), ``value_refused`` and ``value_refused_espocrm`` (answered with a refusal), ``unknown_espocrm`` and
``unknown_advoware`` (what that side says is not known to the other), ``too_long_advoware`` and ``too_long_espocrm``,
``altered_advoware`` and ``altered_espocrm`` (stored differently there), ``missing`` (one side does not show the field),
``block`` (the printed block was written by hand).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from services.adressen_mapper import AdressenMapper
from services.core.foreign_text import comparable_text
from services.values.address_block import BLOCK
from services.values.countries import GERMANY, country_text
from services.values.merge import text_of, value_from_json
from services.vmh_sync.adressen.fields import FieldPlan, is_field
from services.vmh_sync.adressen.match import ENTITY_TYPE, MAIN, Observation, Record
from services.vmh_sync.notification.texts import LABELS, problem_sentence
from services.vmh_sync.result import ActionType, Problem

_mapper = AdressenMapper()

#: Reasons with a kind of task of their own.
_ACTIONS: Mapping[str, ActionType] = {
    "read_only": "address_field_update_required",
    "refused": "readonly_field_conflict",
}


def problem(
    observed: Observation, action_type: ActionType, row: Record, **further: Any
) -> Problem:
    """A problem of a CAdressen."""
    adresse = _mapper.label(_mapper.comparable_from_espocrm(row)) or str(
        row.get("bezeichnung") or ""
    )
    return Problem(
        action_type,
        ENTITY_TYPE,
        row["id"],
        f"{action_type}:{row['id']}",
        about(observed, adresse, **further),
    )


def about(observed: Observation, adresse: str, **further: Any) -> dict[str, Any]:
    """The details that every problem of an address has: whose, which."""
    names = (
        comparable_text(observed.beteiligter.get(field))
        for field in ("vorname", "name")
    )
    return {
        "betnr": observed.betnr,
        "name": " ".join(name for name in names if name),
        "adresse": adresse,
        **further,
    }


def activity_problems(
    observed: Observation,
    row: Record,
    adresse: Record | None,
    rejected: Mapping[str, Any],
) -> tuple[Problem, ...]:
    """The problems of an address that is in use on one side only."""
    problems = []
    if "gone" in rejected:
        problems.append(
            problem(
                observed, "missing_in_advoware", row, since=rejected["gone"]["since"]
            )
        )
    if (pair := rejected.get("isActive")) is not None:
        if pair["espocrm"]:
            problems.append(
                problem(
                    observed, "address_reactivate_required", row, since=pair["since"]
                )
            )
        elif adresse is not None:
            problems.append(
                problem(observed, "address_delete_required", row, since=pair["since"])
            )
    return tuple(problems)


def field_problems(
    observed: Observation, row: Record, rejected: Mapping[str, Any]
) -> tuple[Problem, ...]:
    """The problems of the fields that wait, one for each reason."""
    by_reason: dict[str, dict[str, Any]] = {}
    for name, item in sorted(rejected.items()):
        if is_field(name) or name == MAIN:
            by_reason.setdefault(item.get("reason", "read_only"), {})[name] = item
    return tuple(
        _field_problem(observed, row, reason, items)
        for reason, items in by_reason.items()
    )


def _field_problem(
    observed: Observation, row: Record, reason: str, items: Mapping[str, Any]
) -> Problem:
    if reason == "erased":  # what was erased is not written down elsewhere
        labels = ", ".join(LABELS.get(name, name) for name in items)
        details = {
            "reason": "address_erased",
            "betnr": observed.betnr,
            "Gelöscht": labels,
        }
        key = f"address_erased:{row['id']}"
        return Problem("general_manual_action", ENTITY_TYPE, row["id"], key, details)
    # "old" is what the side shows that the edit did not reach, "new" the edit.
    into, out_of = (
        ("espocrm", "advoware") if reason in _INTO_ESPOCRM else ("advoware", "espocrm")
    )
    fields = [{"field": name, "old": shown(name, item[into]), "new": shown(name, item[out_of])}
              for name, item in items.items()]  # fmt: skip
    further: dict[str, Any] = {
        "fields": fields,
        "since": min(item["since"] for item in items.values()),
    }
    if words := [item["words"] for item in items.values() if item.get("words")]:
        further["error"] = "; ".join(dict.fromkeys(words))
    if reason in _ACTIONS:
        own = {} if reason == "read_only" else {"reason": f"address_{reason}"}
        return problem(observed, _ACTIONS[reason], row, **own, **further)
    told = problem(
        observed, "general_manual_action", row, reason=f"address_{reason}", **further
    )
    return Problem(
        told.action_type,
        told.entity_type,
        told.entity_id,
        f"address_{reason}:{row['id']}",
        told.details,
    )


_INTO_ESPOCRM = frozenset(
    {"unknown_advoware", "too_long_espocrm", "altered_espocrm", "value_refused_espocrm"}
)


def conflict_problems(
    observed: Observation, row: Record, fields: FieldPlan, now: str
) -> tuple[Problem, ...]:
    """EspoCRM won over an edit in Advoware: a user should know what was replaced there."""
    lost = [
        {
            "field": item.field,
            "old": shown(item.field, item.advoware),
            "new": shown(item.field, item.espocrm),
        }
        for item in fields.plan.conflicts
        if item.field in fields.to_advoware
    ]
    if not lost:
        return ()
    told = problem(
        observed,
        "general_manual_action",
        row,
        reason="conflict",
        fields=lost,
        since=now,
    )
    return (
        Problem(
            told.action_type,
            told.entity_type,
            told.entity_id,
            f"conflict:{row['id']}",
            told.details,
        ),
    )


def sentences(problems: Iterable[Problem]) -> list[str]:
    """What the CBeteiligte shows of the problems that wait; what is settled or needs nothing is not among them."""
    return [
        problem_sentence(item)
        for item in problems
        if item.action_type != "missing_in_advoware" and not _is_over(item)
    ]


def _is_over(item: Problem) -> bool:
    return (
        item.details.get("reason") in {"conflict", "address_erased"}
        or item.action_type == "address_reactivate_required"
    )


def failure_sentence(
    reason: str, *, betnr: str = "", adresse: str = "", value: str = ""
) -> str:
    """A failure in one German sentence with its code."""
    details = {"reason": reason, "betnr": betnr, "adresse": adresse, "value": value}
    return problem_sentence(
        Problem("general_manual_action", ENTITY_TYPE, "", "", details)
    )


def shown(name: str, stored: Any) -> Any:
    """A value, also as it is stored, as people know it."""
    value = text_of(value_from_json(stored))
    return country_text(value or GERMANY) if name == "land" else value


# -- audit ----------------------------------------------------------------------------------------------------------


def name_of(row: Record) -> str:
    """How the audit names a CAdressen."""
    return f"{ENTITY_TYPE}/{row['id']}"


def change_lines(
    row: Record, fields: FieldPlan, left_out: Iterable[str] = ()
) -> list[Mapping[str, Any]]:
    """One line for each value that is written."""
    lost, unsent = {conflict.field for conflict in fields.plan.conflicts}, set(left_out)
    changes: list[Mapping[str, Any]] = []
    for side, written, old in (
        ("advoware", fields.to_advoware, fields.advoware),
        ("espocrm", fields.to_espocrm, fields.espocrm),
    ):
        for name, new in sorted(written.items()):
            if name in unsent:
                continue
            change = {
                "record": name_of(row),
                "field": name,
                "side": side,
                "old": text_of(old.get(name)),
                "new": new,
            }
            changes.append({**change, "conflict": True} if name in lost else change)
    return changes


def block_line(row: Record, old: str, new: str) -> Mapping[str, Any]:
    """The line that keeps a printed block before it is overwritten."""
    return {
        "record": name_of(row),
        "field": BLOCK,
        "side": "advoware",
        "old": old,
        "new": new,
    }


def rejection_lines(
    row: Record, before: Mapping[str, Any], after: Mapping[str, Any]
) -> list[Mapping[str, Any]]:
    """One line for each difference that waits from now on."""
    return [
        {
            "record": name_of(row),
            "field": name,
            "side": "advoware",
            "rejected": True,
            **item,
        }
        for name, item in sorted(after.items())
        if (is_field(name) or name == MAIN) and before.get(name) != item
    ]
