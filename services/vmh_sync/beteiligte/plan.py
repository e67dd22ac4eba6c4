"""What the sync of one Beteiligter has observed and decided, as values. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

from services.core.foreign_text import comparable_text
from services.espocrm_mapper import (
    ADVOWARE_LENGTHS,
    COMPANY_FIELDS,
    FIELDS_OF,
    PERSON_FIELDS,
    BeteiligteMapper,
    shown_by_advoware,
    shown_by_espocrm,
)
from services.values.advoware_protocol import parse_change_time
from services.values.espocrm_query import parse_date_time as parse_espocrm_time
from services.values.kind import kind_of_advoware, kind_of_espocrm
from services.values.merge import (
    Held,
    Merge,
    Pair,
    Side,
    Unknown,
    Value,
    base_from_json,
    is_same,
    merge,
    pair_from_json,
    pair_to_json,
    text_of,
)
from services.vmh_sync.notification.texts import (
    LABELS,
    problem_sentence,
    shown_value,
    words_for_people,
)
from services.vmh_sync.result import PartResult, Problem
from services.vmh_sync.store import SyncState

ENTITY_TYPE = "CBeteiligte"
Record = dict[str, Any]

CONTACT_ARRAYS = ("emailAddressData", "phoneNumberData")
#: So much of a value stands in the sentence that the record shows.
SHOWN_LENGTH = 60

#: What became of a field in which the two sides differ: the word in the catalogue of problems, by reason.
_CATALOGUE_WORD: Mapping[tuple[str, Side], str] = {
    ("refused", "espocrm"): "readonly_field_conflict",
    ("altered", "espocrm"): "field_altered",
    ("altered", "advoware"): "field_altered_in_espocrm",
    ("undecided", "espocrm"): "undecided",
    ("erased", "espocrm"): "erased",
    ("erased", "advoware"): "erased",
}
#: The kinds of problems that a sync which has come to its end knows to be over when it does not find them any more.
OWN_KINDS = (
    "create_unclear",
    "erased",
    "field_altered",
    "field_altered_in_espocrm",
    "field_not_in_advoware",
    "field_not_in_espocrm",
    "firm_and_person",
    "kind_changed",
    "missing_in_advoware",
    "name_missing",
    "number_taken",
    "permanently_failed",
    "readonly_field_conflict",
    "somebody_else",
    "undecided",
)
SETTLED = "Die Angaben stimmen inzwischen überein oder wurden geändert."
_WORDS = {
    "erased": "personenbezogene Angabe gelöscht",
    "invalid": "abgelehnt",
    "missing": "die andere Seite zeigt dieses Feld nicht",
    "needed": "darf nicht leer sein",
    "unknown": "dort nicht vorgesehen oder nicht lesbar",
}


@dataclass(frozen=True)
class Observation:
    """Both sides of a linked record and what they last agreed on.

    ``state`` is None before the first sync; ``adressen`` are the CAdressen, if they were listed before Advoware was
    read.
    """

    espo: Record
    advo: Record
    state: SyncState | None
    adressen: list[Record] | None = None


@dataclass(frozen=True)
class Standing:
    """A field in which the two sides differ and that waits for a person.

    Attributes:
        side: whose value does not arrive on the other side.
        reason: ``refused`` or ``altered`` by the receiver, ``invalid`` (it answers 400), or a reason of `merge.Held`.
        since: when it was first found, ISO time.
        words: what the receiver said, if it said something.
    """

    field: str
    pair: Pair
    side: Side
    reason: str
    since: str
    words: str = ""

    def as_json(self) -> dict[str, Any]:
        """As it is stored in ``sync_state.rejected``."""
        return {
            **pair_to_json(self.pair),
            "side": self.side,
            "reason": self.reason,
            "since": self.since,
            "words": self.words,
        }

    @property
    def is_told_once_only(self) -> bool:
        """Whether the record is all right all the same.

        EspoCRM cannot show what the firm's legal record says, or was meant not to show it any more.
        """
        return self.reason == "erased" or (
            self.side == "advoware" and self.reason == "unknown"
        )

    @property
    def word(self) -> str:
        """The kind of problem in the catalogue."""
        default = (
            "field_not_in_advoware"
            if self.side == "espocrm"
            else "field_not_in_espocrm"
        )
        return _CATALOGUE_WORD.get((self.reason, self.side), default)

    def as_field(self) -> dict[str, Any]:
        """A line of a Task: the field, its value in Advoware (old) and in EspoCRM (new), and why."""
        line = {
            "field": self.field,
            "old": text_of(self.pair.advoware),
            "new": text_of(self.pair.espocrm),
        }
        why = self.why()
        return {**line, "why": why} if why else line

    def why(self) -> str:
        """Why the value does not arrive, in a few German words; empty where the kind of problem says it all."""
        if self.reason == "too_long":
            limit = ADVOWARE_LENGTHS.get(self.field) if self.side == "espocrm" else None
            return f"zu lang, höchstens {limit} Zeichen" if limit else "zu lang"
        words = _WORDS.get(self.reason, "")
        return (
            f"{words}: {words_for_people(self.words)}"
            if words and self.words
            else words
        )


def standing_from_json(stored: Mapping[str, Any]) -> dict[str, Standing]:
    """What `Standing.as_json` has written, by field."""
    return {
        name: Standing(
            name,
            pair_from_json(item),
            item.get("side", "espocrm"),
            item.get("reason", "refused"),
            str(item.get("since", "")),
            str(item.get("words", "")),
        )
        for name, item in stored.items()
    }


@dataclass(frozen=True)
class Parts:
    """What Kommunikation, Adressen and Bankverbindungen led to, and what of the master data could not be written."""

    kommunikation: PartResult = field(default_factory=PartResult)
    adressen: PartResult = field(default_factory=PartResult)
    bankverbindungen: PartResult = field(default_factory=PartResult)
    master_data: PartResult = field(default_factory=PartResult)

    @property
    def results(self) -> tuple[PartResult, ...]:
        return (
            self.master_data,
            self.kommunikation,
            self.adressen,
            self.bankverbindungen,
        )

    def latest(self) -> Parts:
        """The same once the collected writes are done."""
        found = [
            result.latest() if result.latest is not None else result
            for result in self.results
        ]
        master_data, kommunikation, adressen, bankverbindungen = found
        return Parts(kommunikation, adressen, bankverbindungen, master_data)

    @property
    def espocrm(self) -> Record:
        return {
            name: value
            for result in self.results
            for name, value in result.espocrm.items()
        }

    @property
    def changes(self) -> list[Mapping[str, Any]]:
        return [change for result in self.results for change in result.changes]

    @property
    def problems(self) -> list[Problem]:
        return [problem for result in self.results for problem in result.problems]

    @property
    def errors(self) -> list[str]:
        return [error for result in self.results for error in result.errors]

    @property
    def standing(self) -> list[str]:
        return [sentence for result in self.results for sentence in result.standing]

    @property
    def not_before(self) -> datetime | None:
        """The moment after which the rest can be done; None if there is no rest."""
        return max(
            (
                result.not_before
                for result in self.results
                if result.not_before is not None
            ),
            default=None,
        )

    @property
    def wrote(self) -> bool:
        return any(result.wrote_advoware or result.espocrm for result in self.results)


# -- planning -------------------------------------------------------------------------------------------------------


def plan_master_data(seen: Observation, mapper: BeteiligteMapper) -> Merge:
    """The plan for the master data of a linked record.

    Before the first sync the newer record wins where both have a value; a value wins over none.
    """
    plan = merge(
        base_of(seen),
        mapper.comparable_from_espocrm(seen.espo),
        mapper.comparable_from_advoware(seen.advo),
        first_winner=_newer_side(seen),
        unfit=mapper.unfit(seen.espo),
    )
    return _with_fields_of_new_kind(seen, plan, mapper)


def _with_fields_of_new_kind(
    seen: Observation, plan: Merge, mapper: BeteiligteMapper
) -> Merge:
    """The plan, where one side becomes a company (or a person), with the other's values of the fields it shows then.

    What stood in these fields is from an earlier time, and would otherwise be taken for an edit. Nothing is emptied.
    What was missing on one side and is shown from now on is compared in the next round.
    """
    espo, advo = (
        espocrm_after(seen.espo, plan.to_espocrm, mapper),
        _after(seen.advo, plan.to_advoware),
    )
    settled = dict(plan.settled)
    unfit = mapper.unfit(espo)
    compared = (
        mapper.comparable_from_espocrm(seen.espo).keys()
        & mapper.comparable_from_advoware(seen.advo).keys()
    )

    def brought(
        side: Side, source: Mapping[str, Value], shown: Mapping[str, Value]
    ) -> dict[str, Value]:
        """What does not fit is left to the next round, which compares these fields and tells.

        Of the fields that were compared only the name is brought, because it stands elsewhere now.
        """
        kind = kind_of_espocrm(espo) if side == "espocrm" else kind_of_advoware(advo)
        new = {}
        for name in FIELDS_OF[kind].keys() - (compared - {"name"}):
            value = (
                settled[name].espocrm
                if name == "name" and name in settled
                else source.get(name)
            )
            if (
                value is None
                or isinstance(value, Unknown)
                or is_same(value, shown.get(name))
            ):
                continue
            if unfit(side, name, value) is None:
                new[name] = value
        settled.update({name: Pair(value, value) for name, value in new.items()})
        return new

    to_espocrm, to_advoware = plan.to_espocrm, plan.to_advoware
    if kind_of_espocrm(espo) != kind_of_espocrm(seen.espo):
        source, shown = (
            mapper.comparable_from_advoware(seen.advo),
            mapper.comparable_from_espocrm(espo),
        )
        to_espocrm = {**to_espocrm, **brought("espocrm", source, shown)}
    if kind_of_advoware(advo) != kind_of_advoware(seen.advo):
        source, shown = (
            mapper.comparable_from_espocrm(seen.espo),
            mapper.comparable_from_advoware(advo),
        )
        to_advoware = {**to_advoware, **brought("advoware", source, shown)}
    new_fields = shown_by_espocrm(espo).keys() - shown_by_espocrm(seen.espo).keys()
    new_fields |= shown_by_advoware(advo).keys() - shown_by_advoware(seen.advo).keys()
    new_fields &= shown_by_espocrm(espo).keys() & shown_by_advoware(advo).keys()
    held = tuple(
        item
        for item in plan.held
        if item.reason != "missing" or item.field not in new_fields
    )
    return replace(
        plan, to_espocrm=to_espocrm, to_advoware=to_advoware, settled=settled, held=held
    )


def espocrm_after(
    espo: Record, values: Mapping[str, Value], mapper: BeteiligteMapper
) -> Record:
    """A CBeteiligte with these values, as far as they tell whether it is a person or a company."""
    traits = {name: value for name, value in values.items() if name != "name"}
    return {**espo, **mapper.to_espocrm(traits, kind=kind_of_espocrm(espo))}


def _after(record: Record, written: Mapping[str, Value]) -> Record:
    """The record with its new legal form."""
    return (
        {**record, "rechtsform": written["rechtsform"]}
        if "rechtsform" in written
        else record
    )


def base_of(seen: Observation) -> dict[str, Pair]:
    """What both sides held when they were last settled; empty if the record was linked with another Beteiligter."""
    state = seen.state
    if state is None or state.advoware_id != str(seen.advo.get("betNr")):
        return {}
    return base_from_json(state.base)


def _newer_side(seen: Observation) -> Side | None:
    espocrm = parse_espocrm_time(seen.espo.get("modifiedAt"))
    advoware = parse_change_time(seen.advo.get("geaendertAm"))
    if espocrm is None or advoware is None:
        return "espocrm" if advoware is None else "advoware"
    espocrm, advoware = (
        espocrm.replace(microsecond=0),
        advoware.astimezone(UTC).replace(microsecond=0),
    )
    if espocrm == advoware:
        return None
    return "espocrm" if espocrm > advoware else "advoware"


def kept_standing(seen: Observation, plan: Merge) -> dict[str, Standing]:
    """What was found by earlier syncs and still stands: neither side has changed the field, and the sides differ."""
    known = standing_from_json(seen.state.rejected if seen.state else {})
    kept = {}
    for name, item in known.items():
        settled = plan.settled.get(name)
        is_written = name in plan.to_advoware or name in plan.to_espocrm
        if settled is None or is_written or is_same(settled.espocrm, settled.advoware):
            continue
        if is_same(settled.espocrm, item.pair.espocrm) and is_same(
            settled.advoware, item.pair.advoware
        ):
            kept[name] = item
    return {
        **kept,
        **{
            item.field: known[item.field]
            for item in plan.held
            if _is_known(item, known)
        },
    }


def standing_of_held(
    seen: Observation, plan: Merge, now: datetime
) -> dict[str, Standing]:
    """The edits that were found not to arrive, as what stands from now on; without those that were known already."""
    known = standing_from_json(seen.state.rejected if seen.state else {})
    since = now.isoformat(timespec="seconds")
    return {
        item.field: Standing(
            item.field, Pair(item.espocrm, item.advoware), item.side, item.reason, since
        )
        for item in plan.held
        if not _is_known(item, known)
    }


def _is_known(item: Held, known: Mapping[str, Standing]) -> bool:
    """Whether a field that is held in each sync has been told: nothing has changed since."""
    told = known.get(item.field)
    return told is not None and (told.pair, told.side, told.reason) == (
        Pair(item.espocrm, item.advoware),
        item.side,
        item.reason,
    )


def standing_of_pairs(
    pairs: Mapping[str, Pair], side: Side, reason: str, now: datetime
) -> dict[str, Standing]:
    """What a receiver did with values of ``side``: ``refused`` or ``altered``."""
    since = now.isoformat(timespec="seconds")
    return {
        name: Standing(name, pair, side, reason, since) for name, pair in pairs.items()
    }


# -- telling --------------------------------------------------------------------------------------------------------


def standing_problems(
    standing: Iterable[Standing], espo: Record, betnr: Any
) -> list[Problem]:
    """The tasks for what stands, one for each kind; the same fields and values never lead to a second one."""
    by_word: dict[str, list[Standing]] = {}
    for item in sorted(standing, key=lambda item: item.field):
        by_word.setdefault(item.word, []).append(item)
    return [
        _standing_problem(word, items, espo, betnr) for word, items in by_word.items()
    ]


def _standing_problem(
    word: str, items: list[Standing], espo: Record, betnr: Any
) -> Problem:
    details: dict[str, Any] = {
        "reason": word,
        "betnr": betnr,
        "fields": [item.as_field() for item in items],
        "value": ", ".join(_with_label(item) for item in items),
        "since": min(item.since for item in items),
    }
    if word == "erased":  # what was erased is not written down elsewhere
        labels = ", ".join(LABELS.get(item.field, item.field) for item in items)
        details = {"reason": word, "betnr": betnr, "value": labels}
    action: Literal["readonly_field_conflict", "general_manual_action"] = (
        "general_manual_action"
    )
    if word == "readonly_field_conflict":
        action = "readonly_field_conflict"
    return Problem(
        action, ENTITY_TYPE, espo["id"], f"{word}:{ENTITY_TYPE}:{espo['id']}", details
    )


def _with_label(item: Standing) -> str:
    value = item.pair.espocrm if item.side == "espocrm" else item.pair.advoware
    text = text_of(value)
    if isinstance(text, str) and len(text) > SHOWN_LENGTH:
        text = f"{text[:SHOWN_LENGTH]}…"
    return f"{LABELS.get(item.field, item.field)} {shown_value(text)}"


def standing_sentences(
    standing: Iterable[Standing], espo: Record, betnr: Any
) -> list[str]:
    """The sentences that the record itself shows about what stands."""
    waiting = [item for item in standing if not item.is_told_once_only]
    return [
        problem_sentence(problem) for problem in standing_problems(waiting, espo, betnr)
    ]


def kind_problems(
    seen: Observation, advo: Record, mapper: BeteiligteMapper
) -> list[Problem]:
    """What Advoware has no place for, because a Beteiligter is a person or a company: told, not deleted.

    ``advo`` is the Beteiligter after the write.
    """
    problems = []
    there = mapper.comparable_from_advoware(
        {**advo, "rechtsform": None}
    )  # what it says, whether it applies or not
    unheld = {
        attribute: text
        for attribute, text in mapper.unheld(seen.espo).items()
        if not is_same(text, there.get(mapper.field_of(attribute)))
    }
    if unheld:
        fields = [
            {"field": mapper.field_of(name), "old": None, "new": text}
            for name, text in unheld.items()
        ]
        problems.append(_kind_problem("firm_and_person", seen.espo, advo, fields))
    fields = fields_of_other_kind(advo)
    if fields and kind_of_advoware(advo) != kind_of_advoware(seen.advo):
        problems.append(_kind_problem("kind_changed", seen.espo, advo, fields))
    return problems


def fields_of_other_kind(advo: Record) -> list[dict[str, Any]]:
    """What a Beteiligter shows although it does not apply to a person, or to a company, as lines of a Task."""
    names = sorted({*PERSON_FIELDS, *COMPANY_FIELDS} - shown_by_advoware(advo).keys())
    shown = {name: comparable_text(advo.get(name)) for name in names}
    return [
        {"field": name, "old": text, "new": None}
        for name, text in shown.items()
        if text is not None
    ]


def _kind_problem(
    word: str, espo: Record, advo: Record, fields: list[dict[str, Any]]
) -> Problem:
    # The name is added when it is told: our own writes change it, which makes no new occurrence.
    details = {"reason": word, "betnr": advo.get("betNr"), "fields": fields}
    return Problem(
        "general_manual_action",
        ENTITY_TYPE,
        espo["id"],
        f"{word}:{ENTITY_TYPE}:{espo['id']}",
        details,
    )


# -- what people and the audit see ----------------------------------------------------------------------------------


def contact_entries(record: Record, array: str) -> list[tuple[str, str, bool]]:
    """What people see of a contact array; computed keys come and go between answers."""
    return [
        (
            str(entry.get("phoneNumber") or entry.get("emailAddress") or "")
            .strip()
            .lower(),
            str(entry.get("type") or ""),
            bool(entry.get("primary")),
        )
        for entry in record.get(array) or ()
        if isinstance(entry, Mapping)
    ]


def betnr_of(espo: Record) -> str | None:
    """The betNr that the record shows."""
    return str(espo["betnr"]) if espo.get("betnr") else None


def result_of(plan: Merge, parts: Parts) -> str:
    """The outcome of the master data, or what the parts did if that was nothing."""
    if plan.outcome != "no_change" or not parts.changes:
        return plan.outcome
    sides = {change.get("side") for change in parts.changes}
    if any(change.get("conflict") for change in parts.changes):
        return "conflict"
    if len(sides) > 1:
        return "merged"
    return "espocrm_newer" if sides == {"advoware"} else "advoware_newer"


def on_side(side: str, lines: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those of the audit's lines that are about this side, ``advoware`` or ``espocrm``."""
    return [line for line in lines if line.get("side") == side]


def standing_lines(standing: Iterable[Standing]) -> list[Mapping[str, Any]]:
    """The audit's lines for edits that did not arrive."""
    return [
        {
            "field": item.field,
            "side": "advoware" if item.side == "espocrm" else "espocrm",
            "rejected": True,
            "reason": item.reason,
            "espocrm": text_of(item.pair.espocrm),
            "advoware": text_of(item.pair.advoware),
        }
        for item in standing
    ]


def change_lines(
    seen: Observation, plan: Merge, mapper: BeteiligteMapper
) -> list[dict[str, Any]]:
    """What the plan changes, for the audit: old and new value per field, and whether a person's value gives way.

    ``conflict``: it was changed on both sides; ``unsynced``: it had never been brought to the other side.
    """
    espocrm = mapper.comparable_from_espocrm(_after(seen.espo, plan.to_espocrm))
    becomes = espocrm_after(seen.espo, plan.to_espocrm, mapper)
    espocrm["name"] = mapper.comparable_from_espocrm(becomes).get(
        "name"
    )  # it is written where the new kind shows it
    advoware = mapper.comparable_from_advoware(_after(seen.advo, plan.to_advoware))
    lost = {conflict.field for conflict in plan.conflicts}
    changes = []
    for side, written, before in (
        ("advoware", plan.to_advoware, advoware),
        ("espocrm", plan.to_espocrm, espocrm),
    ):
        known = {name: getattr(pair, side) for name, pair in base_of(seen).items()}
        for name, new in sorted(written.items()):
            old = seen_value(name, seen, before, side)
            change: dict[str, Any] = {
                "field": name,
                "side": side,
                "old": old,
                "new": new,
            }
            if name in lost:
                change["conflict"] = True
            elif old is not None and not is_same(old, known.get(name)):
                change["unsynced"] = True
            changes.append(change)
    return changes


def seen_value(
    name: str, seen: Observation, shown: Mapping[str, Value], side: str
) -> Value:
    """What a side shows of a field before it is written."""
    raw = (
        (seen.espo if side == "espocrm" else seen.advo).get("rechtsform")
        if name == "rechtsform"
        else None
    )
    return comparable_text(raw) if name == "rechtsform" else text_of(shown.get(name))


def without_fields(
    plan: Merge, fields: Iterable[str], pairs: Mapping[str, Pair]
) -> Merge:
    """The plan as it turned out: ``fields`` were not brought over, and ``pairs`` are what the sides hold instead."""
    left_out = set(fields)
    return replace(
        plan,
        to_advoware={
            name: value
            for name, value in plan.to_advoware.items()
            if name not in left_out
        },
        to_espocrm={
            name: value
            for name, value in plan.to_espocrm.items()
            if name not in left_out
        },
        settled={**plan.settled, **pairs},
    )


def beside_pairs(
    seen: Observation,
    plan: Merge,
    beside: Mapping[str, Value],
    mapper: BeteiligteMapper,
) -> dict[str, Pair]:
    """What both sides hold of fields that Advoware has altered when something else was written to it."""
    espocrm = {**mapper.comparable_from_espocrm(seen.espo), **plan.to_espocrm}
    return {
        name: Pair(espocrm[name], value)
        for name, value in beside.items()
        if name in espocrm
    }


def shown_by(answer: Mapping[str, Any] | None, read: Record) -> Record:
    """A Beteiligter as it was stored by a write: as it was read afterwards, unless somebody has edited it in between.

    Only another ``rowId`` than that of the answer proves an edit. The answer may repeat what was sent (G2).
    """
    was_edited = answer is not None and answer.get("rowId") not in (
        None,
        read.get("rowId"),
    )
    return {**read, **answer} if answer is not None and was_edited else read


def shown_pair(
    name: str, espocrm: Mapping[str, Value], advoware: Mapping[str, Value]
) -> Pair:
    """What the two sides show of a field."""
    return Pair(espocrm.get(name), advoware.get(name))
