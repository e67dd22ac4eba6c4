"""What is to be done about a Bankverbindung: pure functions from what was observed to what is written and notified.

A state's ``base`` holds ``fields`` (what each side held when the two were last settled, see `services.values.merge`),
``beteiligteId``, ``betnr`` (of the Beteiligter in Advoware, also after the link was released) and ``label``. Its
``rejected`` holds the differences that wait for a user, ``{field: {"espocrm", "advoware", "since"}}`` with a ``how``
if they are there since the sync created the Bankverbindung, besides ``istAktiv``, ``gone`` and ``moved``. Users are
notified in every run, under the same key, until they are settled.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from services.bankverbindungen_mapper import (
    FIELDS,
    BankverbindungenMapper,
    UnusableAccount,
)
from services.values.merge import (
    Held,
    Pair,
    Unknown,
    Value,
    base_from_json,
    base_to_json,
    is_same,
    merge,
    value_from_json,
    value_to_json,
    values_to_json,
    without,
)
from services.vmh_sync.beteiligte.status import shows_message
from services.vmh_sync.notification.texts import LABELS, problem_sentence
from services.vmh_sync.result import Details, FieldLine, Problem
from services.vmh_sync.store import SyncState

ENTITY_TYPE = "CBankverbindungen"
#: Shows why a Bankverbindung waits; an older extension does not have it.
HINT = "syncErrorMessage"
#: The reasons that are about the whole Bankverbindung, by what waits.
_REASONS_OF_WHOLE = {
    "istAktiv": "bank_inactive",
    "gone": "bank_missing",
    "moved": "bank_moved",
}

Record = dict[str, Any]
_mapper = BankverbindungenMapper()


@dataclass(frozen=True)
class Observation:
    """Both sides of one Beteiligter. ``states`` are by CBankverbindungen id and include deleted ones.

    ``odd`` are the Bankverbindungen of which Advoware does not say the id.
    """

    beteiligte_id: str
    betnr: str
    konten: list[Record]
    odd: list[Any]
    states: dict[str, SyncState]
    now: datetime

    def link_of(self, konto: Mapping[str, Any]) -> str:
        """The ``advoware_id`` of a Bankverbindung: its id is only known to be unique within the Beteiligter [A]."""
        return f"{self.betnr}/{konto['id']}"

    def state_of(self, entity_id: str) -> SyncState | None:
        """The state of a CBankverbindungen that is linked with this Beteiligter."""
        state = self.states.get(entity_id)
        if state is None or not state.belongs_to(self.betnr):
            return None
        return state

    def linked_except(self, entity_id: str) -> set[str | None]:
        """The ``advoware_id`` of all other CBankverbindungen."""
        links = set()
        for state in self.states.values():
            if state.belongs_to(self.betnr) and state.entity_id != entity_id:
                links.add(state.advoware_id)
        return links

    def konto_by_link(self, link: str | None) -> Record | None:
        """The Bankverbindung with this ``advoware_id``."""
        for konto in self.konten:
            if self.link_of(konto) == link:
                return konto
        return None

    def is_account_of(self, row: Record, konto: Record) -> bool:
        """Whether both mean the same account; one of which Advoware shows no IBAN now has the IBAN that it had last."""
        if _has_iban(konto):
            return _mapper.is_same_account(row, konto)
        last = {**konto, "iban": self._last_iban(self.link_of(konto))}
        return any(_mapper.is_same_account(row, item) for item in (konto, last))

    def _last_iban(self, link: str) -> Value:
        """The IBAN that a linked Bankverbindung had when it was compared last."""
        for state in self.states.values():
            if state.deleted_at is None and state.advoware_id == link:
                last = base_from_json(state.base.get("fields") or {})
                return last.get("iban", Pair(None, None)).advoware
        return None

    def may_hide(self, row: Record) -> bool:
        """Whether one of the Bankverbindungen without id may be the row's."""
        if not all(map(_has_iban, self.odd)):
            return True
        return self.hides(row)

    def hides(self, row: Record) -> bool:
        """Whether one of the Bankverbindungen without id is certainly the row's."""
        konten = [item for item in self.odd if isinstance(item, dict)]
        return any(_mapper.is_same_account(row, konto) for konto in konten)


def shown_values(rows: Collection[Record], konten: Collection[Record]) -> list[Any]:
    """All that both sides show, as it is read and as it is compared; for `SyncStore.opened`."""
    shown: list[Any] = [list(rows), list(konten)]
    for row in rows:
        shown += _compared(_mapper.comparable_from_espocrm(row))
    for konto in konten:
        shown += _compared(_mapper.comparable_from_advoware(konto))
    return shown


def _compared(values: Mapping[str, Value]) -> list[Any]:
    return [values_to_json(values), _mapper.label(values)]


def _has_iban(item: Any) -> bool:
    """Whether an entry of Advoware's list is a Bankverbindung with an IBAN."""
    if not isinstance(item, dict):
        return False
    return isinstance(_mapper.comparable_from_advoware(item).get("iban"), str)


@dataclass(frozen=True)
class Settle:
    """What to write into a CBankverbindungen, what to remember, and whom to notify."""

    row: Record
    state: SyncState
    attributes: Record
    result: str
    problems: tuple[Problem, ...] = ()
    changes: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class Found:
    """The Bankverbindung of a CBankverbindungen. ``is_known``: it was linked, so that None means it is gone."""

    konto: Record | None
    is_known: bool
    is_taken: bool = False  #: the IBAN belongs to another CBankverbindungen already


def find_konto(observed: Observation, row: Record) -> Found:
    """The Bankverbindung a row belongs to: by the stored link, by ``advowareKontoId``, else by the same IBAN.

    A person may have replaced a linked one by a new one with the changed IBAN: then that is it.
    """
    link = _link_here(observed, row)
    konto = observed.konto_by_link(link)
    if konto is not None and observed.is_account_of(row, konto):
        return Found(konto, is_known=True)
    is_known = link is not None
    taken = observed.linked_except(row["id"])
    is_taken = False
    for candidate in observed.konten:
        if not observed.is_account_of(row, candidate):
            continue
        if observed.link_of(candidate) not in taken:
            return Found(candidate, is_known)
        is_taken = True
    return Found(konto, is_known, is_taken=is_taken)


def _link_here(observed: Observation, row: Record) -> str | None:
    """The link of a row within this Beteiligter."""
    linked = observed.state_of(row["id"])
    if linked is not None:
        return linked.advoware_id
    if not row.get("advowareKontoId") or home_of(observed, row) is not None:
        return None
    if not _may_follow_konto_id(observed, row["id"]):
        return None
    return f"{observed.betnr}/{row['advowareKontoId']}"


def _may_follow_konto_id(observed: Observation, entity_id: str) -> bool:
    """Whether a row's ``advowareKontoId`` counts: not if the row is known to be linked with another Beteiligter."""
    state = observed.states.get(entity_id)
    if state is None or state.is_released:
        return True
    return replace(state, deleted_at=None).belongs_to(observed.betnr)


def home_of(observed: Observation, row: Record) -> str | None:
    """The link of a row whose Bankverbindung belongs to *another* Beteiligter in Advoware, else None.

    So it is after two CBeteiligte were merged, or after a user chose another CBeteiligte in the form.
    """
    state = observed.states.get(row["id"])
    if state is None:
        return None
    betnr, konto_id = _linked_numbers(row, state)
    if not betnr or not konto_id or betnr == observed.betnr:
        return None
    return f"{betnr}/{konto_id}"


def _linked_numbers(row: Record, state: SyncState) -> tuple[str, str]:
    """The numbers of the Beteiligter and the Bankverbindung that a row was linked with, empty if not known."""
    if state.advoware_id is not None:
        betnr, _, konto_id = state.advoware_id.partition("/")
        return betnr, konto_id
    betnr = str(state.base.get("betnr") or "")
    konto_id = str(row.get("advowareKontoId") or "")
    return betnr, konto_id


def is_active(row: Record) -> bool:
    """Whether a CBankverbindungen is in use; one that does not say so is."""
    return row.get("istAktiv") is not False


def settle(
    observed: Observation,
    row: Record,
    konto: Record,
    *,
    created: bool = False,
) -> Settle:
    """What to do about a linked pair; ``created``: Advoware's part was just created from the row."""
    espocrm = _mapper.comparable_from_espocrm(row)
    advoware = _mapper.comparable_from_advoware(konto)
    link = observed.link_of(konto)
    state = _known_state(observed, row, link)
    if state is None:
        state = SyncState(ENTITY_TYPE, row["id"], advoware_id=link)
        harmless = _harmless(espocrm, advoware, created=created)
        last: Mapping[str, Pair] = without(harmless, _edited(observed, row, espocrm))
    else:
        last = base_from_json(state.base.get("fields") or {})
    settled, held = _compare(last, espocrm, advoware)
    waiting = _waiting_of(
        observed,
        state,
        row,
        held,
        created=created,
    )
    base = {
        **_place(observed, observed.betnr),
        "fields": base_to_json(settled),
        "label": _mapper.label(advoware),
    }
    problems = _problems_of(observed, row, advoware, waiting)
    status = "clean"
    shown: tuple[Problem, ...] = ()
    if _without_erased(row, waiting):
        status = "unclean"
        shown = problems
    attributes = shown_status(row, status, shown)
    result = attributes.get("syncStatus") or "no_change"
    changes = _changes(row, waiting, state)
    if row.get("advowareKontoId") != konto["id"]:
        attributes["advowareKontoId"] = konto["id"]
        result = "adopted"
    if created:
        result = "created"
        changes = (line_of_create(row, advoware), *changes)
    return Settle(
        row,
        replace(
            state,
            base=base,
            rejected=waiting,
            advoware_row_id=konto.get("rowId"),
        ),
        attributes,
        result,
        problems,
        changes,
    )


def _known_state(observed: Observation, row: Record, link: str) -> SyncState | None:
    """What is remembered of a row and the Bankverbindung with this link."""
    state = observed.state_of(row["id"]) or _regained(observed, row)
    if state is None or state.advoware_id != link:
        return None
    return state


def _regained(observed: Observation, row: Record) -> SyncState | None:
    """The state of a row that was deleted, or its CBeteiligte, and is there again, with the link that it had."""
    state = observed.states.get(row["id"])
    if state is None:
        return None
    if not state.is_released:
        return replace(state, deleted_at=None)
    if state.released_from != observed.betnr:
        return None
    link = f"{observed.betnr}/{row.get('advowareKontoId')}"
    return replace(state, advoware_id=link, deleted_at=None)


def _edited(
    observed: Observation,
    row: Record,
    espocrm: Mapping[str, Value],
) -> set[str]:
    """The fields in which a row that was linked otherwise says what a user has entered and Advoware had not got then.

    It still waits, although the row's Bankverbindung is another one now.
    """
    state = observed.states.get(row["id"])
    if state is None:
        return set()
    edited = set(state.rejected)
    for name, pair in base_from_json(state.base.get("fields") or {}).items():
        if name in espocrm and not is_same(pair.espocrm, espocrm[name]):
            edited.add(name)
    return edited


def line_of_create(row: Record, values: Mapping[str, Value]) -> Mapping[str, Any]:
    """The audit's line of an account with these values that is created in Advoware."""
    return {
        "record": f"{ENTITY_TYPE}/{row['id']}",
        "field": "bankverbindung",
        "side": "advoware",
        "old": None,
        "new": _mapper.label(values),
    }


def _waiting_of(
    observed: Observation,
    state: SyncState,
    row: Record,
    held: Iterable[Held],
    *,
    created: bool,
) -> dict[str, dict[str, Any]]:
    """What differs and waits for a person; of an account that is not in use, only that."""
    if not is_active(row):
        switched_off = _waiting(
            observed,
            state,
            "istAktiv",
            espocrm=False,
            advoware=True,
        )
        return {"istAktiv": switched_off}
    how = None
    if created:
        how = "created"
    waiting = {}
    for item in held:
        waiting[item.field] = _waiting(
            observed,
            state,
            item.field,
            item.espocrm,
            item.advoware,
            how,
        )
    return waiting


def _without_erased(row: Record, waiting: Mapping[str, Any]) -> dict[str, Any]:
    """What waits besides fields that were erased in EspoCRM."""
    return without(waiting, _mapper.erased(row))


def _problems_of(
    observed: Observation,
    row: Record,
    advoware: Mapping[str, Value],
    waiting: Mapping[str, Any],
) -> tuple[Problem, ...]:
    """What a person has to know of a linked pair."""
    problems = _problems(observed, row, advoware, _without_erased(row, waiting))
    erased = waiting.keys() & _mapper.erased(row)
    if problems or not erased:
        return problems
    return (_erased_problem(observed, row, erased),)


def _erased_problem(
    observed: Observation,
    row: Record,
    erased: Collection[str],
) -> Problem:
    """Without the values: what was erased is not written down elsewhere."""
    labels = [LABELS.get(name, name) for name in sorted(erased)]
    details = Details(
        "bank_erased",
        observed.betnr,
        further={"Gelöscht": ", ".join(labels)},
    )
    return Problem(
        "general_manual_action",
        ENTITY_TYPE,
        row["id"],
        key_of(row["id"]),
        details,
    )


def state_of_created(observed: Observation, row: Record, konto: Record) -> SyncState:
    """The link of an account whose CBankverbindungen was deleted before its create was known to have succeeded."""
    label = _mapper.label(_mapper.comparable_from_advoware(konto))
    base = {**_place(observed, observed.betnr), "label": label}
    link = observed.link_of(konto)
    return SyncState(ENTITY_TYPE, row["id"], advoware_id=link, base=base)


def settle_gone(observed: Observation, row: Record) -> Settle:
    """What to do about a linked CBankverbindungen whose Bankverbindung is not in Advoware any more."""
    link = f"{observed.betnr}/{row.get('advowareKontoId')}"
    state = observed.state_of(row["id"]) or SyncState(
        ENTITY_TYPE,
        row["id"],
        advoware_id=link,
    )
    waiting = {}
    if is_active(row):
        waiting["gone"] = _waiting(
            observed,
            state,
            "gone",
            espocrm=True,
            advoware=None,
        )
    base = {**state.base, **_place(observed, observed.betnr)}
    return _without_konto(observed, row, replace(state, base=base), waiting)


def settle_moved(observed: Observation, row: Record, home: str) -> Settle:
    """What to do about a CBankverbindungen whose Bankverbindung is found at another Beteiligter; see `home_of`."""
    state = observed.states.get(row["id"]) or SyncState(ENTITY_TYPE, row["id"])
    betnr, _, _ = home.partition("/")
    waiting = {}
    if is_active(row):
        waiting["moved"] = _waiting(
            observed,
            state,
            "moved",
            observed.betnr,
            betnr,
        )
    else:
        waiting["istAktiv"] = _waiting(
            observed,
            state,
            "istAktiv",
            False,
            betnr,
        )
    state = replace(
        state,
        advoware_id=home,
        deleted_at=None,
        base={**state.base, **_place(observed, betnr)},
    )
    return _without_konto(observed, row, state, waiting)


def _without_konto(
    observed: Observation,
    row: Record,
    state: SyncState,
    waiting: Record,
) -> Settle:
    status = "clean"
    result = "no_change"
    if waiting:
        status = "unclean"
        result = "unclean"
    problems = _problems(observed, row, _mapper.comparable_from_espocrm(row), waiting)
    return Settle(
        row,
        replace(state, rejected=waiting),
        shown_status(row, status, problems),
        result,
        problems,
    )


def is_newly_gone(observed: Observation, row: Record) -> bool:
    """Whether a Bankverbindung was not known to be missing, so that its absence needs a second read."""
    state = observed.state_of(row["id"])
    return is_active(row) and (state is None or "gone" not in state.rejected)


def key_of(entity_id: str) -> str:
    """The key of a CBankverbindungen's problem; it never has more than one."""
    return f"bank:{entity_id}"


def keys_of(entity_ids: Collection[str]) -> list[str]:
    """All keys under which problems of these CBankverbindungen may be known, also from earlier versions."""
    keys = []
    for entity_id in entity_ids:
        keys += [key_of(entity_id), f"bank_invalid:{entity_id}"]
    return keys


def deleted_problem(beteiligte_id: str, state: SyncState) -> Problem:
    """The problem of a CBankverbindungen that was deleted in EspoCRM while Advoware still has it."""
    betnr, _, _ = (state.advoware_id or "").partition("/")
    since = None
    if state.deleted_at is not None:
        since = state.deleted_at.isoformat(timespec="seconds")
    konto = state.base.get("label") or ""
    details = Details("bank_inactive", betnr, konto=konto, since=since)
    return Problem(
        "general_manual_action",
        "CBeteiligte",
        beteiligte_id,
        key_of(state.entity_id),
        details,
    )


def row_problem(row: Record, reason: str, betnr: Any = None) -> Problem:
    """The problem of a CBankverbindungen that cannot be brought to Advoware, for a reason of the catalogue."""
    number = None
    if betnr:
        number = str(betnr)
    details = Details(reason, number, konto=_label(row))
    return Problem(
        "general_manual_action",
        ENTITY_TYPE,
        row["id"],
        key_of(row["id"]),
        details,
    )


def unusable_problem(row: Record, error: UnusableAccount, betnr: Any) -> Problem:
    """The problem of a CBankverbindungen that only a user can correct."""
    return row_problem(row, error.reason, betnr)


def failed_name(row: Record) -> str:
    """A CBankverbindungen in a message about its failure; what it is stands in „“, which logs leave out."""
    return f"Bankverbindung: „{_label(row)}“"


def shown_status(
    row: Record,
    status: str | None,
    problems: Collection[Problem] = (),
    hint: str | None = None,
) -> Record:
    """What of status and hint has to be written; the hint only where EspoCRM has the field. None: any status stays."""
    attributes: Record = {}
    if status is not None and row.get("syncStatus") != status:
        attributes["syncStatus"] = status
    if not hint:
        hint = next(map(problem_sentence, problems), None)
    if HINT in row and not shows_message(row[HINT], hint):
        attributes[HINT] = hint
    return attributes


# -- helpers --------------------------------------------------------------------------------------------------------


def _label(row: Record) -> str:
    values = _mapper.comparable_from_espocrm(row)
    return _mapper.label(values) or str(row.get("name") or "ohne Angaben")


def _place(observed: Observation, betnr: str) -> Record:
    return {"beteiligteId": observed.beteiligte_id, "betnr": betnr}


def _compare(
    last: Mapping[str, Pair],
    espocrm: Mapping[str, Value],
    advoware: Mapping[str, Value],
) -> tuple[dict[str, Pair], list[Held]]:
    """What is settled, and the differences that wait. Nothing is ever brought over: neither side takes it.

    A difference that waits keeps the pair that was settled before, so that it is found again in the next run. What has
    become unknown in Advoware does not wait: no edit is known.
    """
    merged = merge(
        last,
        espocrm,
        advoware,
        unfit=lambda side, name, value: "not_changed_by_us",
    )
    settled = dict(merged.settled)
    for item in merged.held:
        settled.pop(item.field, None)
        if item.field in last:
            settled[item.field] = last[item.field]
    return settled, list(filter(_is_edit, merged.held))


def _is_edit(item: Held) -> bool:
    if item.side == "espocrm":
        return True
    return not isinstance(item.advoware, Unknown) and item.reason != "missing"


def _harmless(
    espocrm: Mapping[str, Value],
    advoware: Mapping[str, Value],
    *,
    created: bool,
) -> dict[str, Pair]:
    """Differences at the time of linking that mean nothing: one side says nothing, or names the bank differently.

    What was just sent and is not there is another matter.
    """
    harmless = {}
    for name in FIELDS:
        if name not in espocrm or name not in advoware:
            continue
        pair = Pair(espocrm[name], advoware[name])
        if is_same(*pair):
            continue
        if _means_nothing(name, pair, created=created):
            harmless[name] = pair
    return harmless


def _means_nothing(name: str, pair: Pair, *, created: bool) -> bool:
    is_other_name = name == "bank" or pair.advoware is None
    return pair.espocrm is None or (is_other_name and not created)


def _waiting(
    observed: Observation,
    state: SyncState,
    name: str,
    espocrm: Value,
    advoware: Value,
    how: str | None = None,
) -> dict[str, Any]:
    pair = {"espocrm": value_to_json(espocrm), "advoware": value_to_json(advoware)}
    known = state.rejected.get(name)
    if known and all(known.get(side) == pair[side] for side in pair):
        return dict(known)
    entry = {**pair, "since": observed.now.isoformat(timespec="seconds")}
    if how:
        entry["how"] = how
    return entry


def _problems(
    observed: Observation,
    row: Record,
    values: Mapping[str, Value],
    waiting: Mapping[str, Any],
) -> tuple[Problem, ...]:
    if not waiting:
        return ()
    details = _details(observed, row, values, waiting)
    key = key_of(row["id"])
    problem = Problem(
        "general_manual_action",
        ENTITY_TYPE,
        row["id"],
        key,
        details,
    )
    return (problem,)


def _details(
    observed: Observation,
    row: Record,
    values: Mapping[str, Value],
    waiting: Mapping[str, Any],
) -> Details:
    reason = _reason(waiting)
    since = min(entry["since"] for entry in waiting.values())
    details = Details(reason, observed.betnr, konto=_mapper.label(values), since=since)
    active = waiting.get("istAktiv", {}).get("advoware")
    if reason == "bank_moved":
        return replace(details, fields=(_number_line(waiting["moved"]),))
    if isinstance(active, str):
        # It is found at another Beteiligter.
        return replace(details, betnr=active)
    if reason not in ("bank_inactive", "bank_missing"):
        fields = [_field_line(row, *item) for item in sorted(waiting.items())]
        return replace(details, fields=tuple(fields))
    return details


def _reason(waiting: Mapping[str, Any]) -> str:
    for name, reason in _REASONS_OF_WHOLE.items():
        if name in waiting:
            return reason
    entries = waiting.values()
    if not all(entry.get("how") == "created" for entry in entries):
        return "bank_changed"
    if all(entry["advoware"] is None for entry in entries):
        return "bank_left_out"
    return "bank_altered"


def _number_line(entry: Mapping[str, Any]) -> FieldLine:
    return FieldLine("betnr", old=entry["advoware"], new=entry["espocrm"])


def _field_line(row: Record, name: str, entry: Mapping[str, Any]) -> FieldLine:
    old = _shown(name, entry["advoware"])
    line = FieldLine(name, old, new=_shown(name, entry["espocrm"]))
    if entry.get("how") != "created":
        return line
    reason = "altered"
    if entry["advoware"] is None:
        reason = "refused"
    return replace(line, reason=_mapper.left_out(row).get(name, reason))


def _shown(name: str, stored: Any) -> Any:
    """A stored value as it may be shown."""
    return _mapper.shown(name, value_from_json(stored))


def _changes(
    row: Record,
    waiting: Mapping[str, Any],
    before: SyncState,
) -> tuple[Mapping[str, Any], ...]:
    lines = []
    for name, entry in sorted(waiting.items()):
        if before.rejected.get(name) == entry:
            continue
        line = {
            "record": f"{ENTITY_TYPE}/{row['id']}",
            "field": name,
            "side": "advoware",
            "rejected": True,
            "old": _shown(name, entry["advoware"]),
            "new": _shown(name, entry["espocrm"]),
        }
        lines.append(line)
    return tuple(lines)
