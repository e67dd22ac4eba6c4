"""What the sync of one Beteiligter has observed and decided, as values. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import chain
from typing import Any

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
from services.values.advoware_protocol import (
    parse_change_time,
    readings_of,
    shows_version,
)
from services.values.espocrm_query import parse_date_time as parse_espocrm_time
from services.values.kind import Kind, kind_of_advoware, kind_of_espocrm
from services.values.merge import (
    Held,
    Merge,
    Pair,
    Side,
    Unfit,
    Unknown,
    Value,
    base_from_json,
    is_same,
    is_version,
    merge,
    only,
    pair_from_json,
    pair_to_json,
    settled_as_stored,
    text_of,
    values_to_json,
    without,
)
from services.vmh_sync.notification.texts import (
    LABELS,
    problem_sentence,
    shown_value,
    words_for_people,
)
from services.vmh_sync.result import (
    ActionType,
    Details,
    FieldLine,
    PartResult,
    Problem,
    digest_of_lines,
)
from services.vmh_sync.sending import altered_in, as_sent, stored_otherwise
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
    ("shown_otherwise", "advoware"): "shown_otherwise",
}
_WORD_OF_MISSING_FIELD: Mapping[Side, str] = {
    "espocrm": "field_not_in_advoware",
    "advoware": "field_not_in_espocrm",
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
    "shown_otherwise",
    "somebody_else",
    "undecided",
)
SETTLED = "Die Angaben stimmen inzwischen überein oder wurden geändert."
_OTHER_SIDE: Mapping[Side, Side] = {"espocrm": "advoware", "advoware": "espocrm"}
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
    """A field in which the two sides differ and that waits for a user.

    Attributes:
        side: whose value does not arrive on the other side.
        reason: ``refused`` or ``altered`` by the receiver, ``invalid`` (it answers 400), or a reason of `merge.Held`.
        since: when it was first found, ISO time.
        words: the receiver's message, if there is one.
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
    def is_notified_once_only(self) -> bool:
        """Whether the record is all right all the same.

        EspoCRM cannot show what the firm's legal record says, or was meant not to show it any more.
        """
        if self.reason == "erased":
            return True
        return self.side == "advoware" and self.reason == "unknown"

    @property
    def word(self) -> str:
        """The kind of problem in the catalogue."""
        word = _CATALOGUE_WORD.get((self.reason, self.side))
        return word or _WORD_OF_MISSING_FIELD[self.side]

    def as_field(self) -> FieldLine:
        """A line of a Task: the field, its value in Advoware (old) and in EspoCRM (new), and why."""
        old = text_of(self.pair.advoware)
        new = text_of(self.pair.espocrm)
        return FieldLine(self.field, old, new, self.why())

    def why(self) -> str:
        """Why the value does not arrive, in a few German words; empty where the kind of problem says it all."""
        if self.reason == "too_long":
            return self._why_too_long()
        words = _WORDS.get(self.reason, "")
        if not words or not self.words:
            return words
        return f"{words}: {words_for_people(self.words)}"

    def _why_too_long(self) -> str:
        if self.side == "espocrm" and self.field in ADVOWARE_LENGTHS:
            return f"zu lang, höchstens {ADVOWARE_LENGTHS[self.field]} Zeichen"
        return "zu lang"


def standing_from_json(stored: Mapping[str, Any]) -> dict[str, Standing]:
    """What `Standing.as_json` has written, by field."""
    return {name: _standing_from_json(name, item) for name, item in stored.items()}


def _standing_from_json(name: str, item: Mapping[str, Any]) -> Standing:
    return Standing(
        name,
        pair_from_json(item),
        item.get("side", "espocrm"),
        item.get("reason", "refused"),
        str(item.get("since", "")),
        str(item.get("words", "")),
    )


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
        return Parts(
            kommunikation=_latest(self.kommunikation),
            adressen=_latest(self.adressen),
            bankverbindungen=_latest(self.bankverbindungen),
            master_data=_latest(self.master_data),
        )

    @property
    def espocrm(self) -> Record:
        attributes: Record = {}
        for result in self.results:
            attributes.update(result.espocrm)
        return attributes

    @property
    def changes(self) -> list[Mapping[str, Any]]:
        return list(chain.from_iterable(result.changes for result in self.results))

    @property
    def problems(self) -> list[Problem]:
        return list(chain.from_iterable(result.problems for result in self.results))

    @property
    def errors(self) -> list[str]:
        return list(chain.from_iterable(result.errors for result in self.results))

    @property
    def standing(self) -> list[str]:
        return list(chain.from_iterable(result.standing for result in self.results))

    @property
    def not_before(self) -> datetime | None:
        """The moment after which the rest can be done; None if there is no rest."""
        moments = filter(None, (result.not_before for result in self.results))
        return max(moments, default=None)

    @property
    def wrote(self) -> bool:
        return any(result.wrote_advoware or result.espocrm for result in self.results)


def _latest(result: PartResult) -> PartResult:
    if result.latest is None:
        return result
    return result.latest()


# -- planning -------------------------------------------------------------------------------------------------------


def plan_master_data(observed: Observation, mapper: BeteiligteMapper) -> Merge:
    """The plan for the master data of a linked record.

    Before the first sync the newer record wins where both have a value; a value wins over none.
    """
    espocrm = mapper.comparable_from_espocrm(observed.espo)
    advoware = mapper.comparable_from_advoware(observed.advo)
    sent = as_sent(_stored_base(observed), espocrm, advoware)
    plan = merge(
        base_of(observed),
        espocrm,
        sent,
        first_winner=_newer_side(observed),
        is_edited=_is_edited(observed),
        shown_otherwise=_shown_otherwise(observed),
        unfit=mapper.unfit(observed.espo),
    )
    plan = _with_fields_of_new_kind(observed, plan, mapper)
    stored = stored_otherwise(sent, advoware)
    settled = settled_as_stored(plan, stored, base_of(observed))
    return replace(plan, settled=settled)


def _with_fields_of_new_kind(
    observed: Observation,
    plan: Merge,
    mapper: BeteiligteMapper,
) -> Merge:
    """The plan, where one side becomes a company (or a person), with the other's values of the fields it shows then.

    What stood in these fields is from an earlier time, and would otherwise be taken for an edit; what a person has
    edited in them since the sides were last settled is merged as always. Nothing is emptied.
    What was missing on one side and is shown from now on is compared in the next round.
    """
    espo = espocrm_after(observed.espo, plan.to_espocrm, mapper)
    advo = _after(observed.advo, plan.to_advoware)
    espocrm = mapper.comparable_from_espocrm(observed.espo)
    advoware = mapper.comparable_from_advoware(observed.advo)
    becomes = _Becomes(
        espocrm=mapper.comparable_from_espocrm(espo),
        advoware=mapper.comparable_from_advoware(advo),
        new_in_espocrm=_new_fields(
            shown_by_espocrm(espo),
            shown_by_espocrm(observed.espo),
        ),
        new_in_advoware=_new_fields(
            shown_by_advoware(advo),
            shown_by_advoware(observed.advo),
        ),
    )
    new_fields = becomes.new_fields
    edited = becomes.edited(base_of(observed))
    plan = _together(plan, becomes.merge_of(edited, observed, mapper))
    change = _KindChange(
        unfit=mapper.unfit(espo),
        compared=(espocrm.keys() & advoware.keys()) | edited,
        settled=dict(plan.settled),
    )
    to_espocrm = dict(plan.to_espocrm)
    to_advoware = dict(plan.to_advoware)
    kind = kind_of_espocrm(espo)
    if kind != kind_of_espocrm(observed.espo):
        to_espocrm |= change.brought("espocrm", kind, advoware, becomes.espocrm)
    kind = kind_of_advoware(advo)
    if kind != kind_of_advoware(observed.advo):
        to_advoware |= change.brought("advoware", kind, espocrm, becomes.advoware)
    held = [
        item
        for item in plan.held
        if item.reason != "missing" or item.field not in new_fields
    ]
    return replace(
        plan,
        to_espocrm=to_espocrm,
        to_advoware=to_advoware,
        settled=change.settled,
        held=tuple(held),
    )


@dataclass(frozen=True)
class _Becomes:
    """What the two sides show once they are of their new kinds, and what of it they have not shown before."""

    espocrm: Mapping[str, Value]
    advoware: Mapping[str, Value]
    new_in_espocrm: Set[str]
    new_in_advoware: Set[str]

    @property
    def new_fields(self) -> Set[str]:
        """The fields that could not be compared before, and that both show from now on."""
        new = self.new_in_espocrm | self.new_in_advoware
        return new & self.espocrm.keys() & self.advoware.keys()

    def edited(self, base: Mapping[str, Pair]) -> Set[str]:
        """The new fields that a person has edited where they were not shown.

        An empty one is no edit: what does not apply any more is often removed. The name stands elsewhere now.
        """
        edited = set()
        for name in self.new_fields & base.keys() - {"name"}:
            last = base[name]
            in_espocrm = name in self.new_in_espocrm and _is_edit(
                self.espocrm[name],
                last.espocrm,
            )
            in_advoware = name in self.new_in_advoware and _is_edit(
                self.advoware[name],
                last.advoware,
            )
            if in_espocrm or in_advoware:
                edited.add(name)
        return edited

    def merge_of(
        self,
        fields: Set[str],
        observed: Observation,
        mapper: BeteiligteMapper,
    ) -> Merge:
        """The plan for these fields alone."""
        return merge(
            only(base_of(observed), fields),
            only(self.espocrm, fields),
            only(self.advoware, fields),
            unfit=mapper.unfit(observed.espo),
        )


def _is_edit(shown: Value, last: Value) -> bool:
    return shown is not None and not is_same(shown, last)


def _together(plan: Merge, further: Merge) -> Merge:
    """One plan from two that are about different fields."""
    return Merge(
        to_espocrm={**plan.to_espocrm, **further.to_espocrm},
        to_advoware={**plan.to_advoware, **further.to_advoware},
        settled={**plan.settled, **further.settled},
        conflicts=(*plan.conflicts, *further.conflicts),
        held=(*plan.held, *further.held),
    )


@dataclass
class _KindChange:
    """What is brought to a side that becomes a company, or a person; ``settled`` is updated with it."""

    unfit: Unfit
    compared: Set[str]
    settled: dict[str, Pair]

    def brought(
        self,
        side: Side,
        kind: Kind,
        source: Mapping[str, Value],
        shown: Mapping[str, Value],
    ) -> dict[str, Value]:
        """The values of the fields that ``side`` shows from now on.

        What does not fit is left to the next round, which compares these fields and notifies of them. Of the fields
        that were compared only the name is brought, because it stands elsewhere now.
        """
        new = {}
        comparable = FIELDS_OF[kind].keys() & shown.keys()
        for name in comparable - (self.compared - {"name"}):
            value = source.get(name)
            if name == "name" and name in self.settled:
                value = self.settled[name].espocrm
            if value is None or isinstance(value, Unknown):
                continue
            if is_same(value, shown[name]):
                continue
            if self.unfit(side, name, value) is None:
                new[name] = value
        for name, value in new.items():
            self.settled[name] = Pair(value, value)
        return new


def _new_fields(shown: Mapping[str, Any], before: Mapping[str, Any]) -> Set[str]:
    """The fields that one side has not shown so far."""
    return shown.keys() - before.keys()


def espocrm_after(
    espo: Record,
    values: Mapping[str, Value],
    mapper: BeteiligteMapper,
) -> Record:
    """A CBeteiligte with these values, as far as they show whether it is a person or a company."""
    traits = without(values, {"name"})
    attributes = mapper.to_espocrm(traits, kind=kind_of_espocrm(espo))
    return {**espo, **attributes}


def _after(record: Record, written: Mapping[str, Value]) -> Record:
    """The record with its new legal form."""
    if "rechtsform" not in written:
        return record
    return {**record, "rechtsform": written["rechtsform"]}


def shown_values(
    espo: Record,
    advo: Record,
    mapper: BeteiligteMapper,
) -> list[dict[str, Any]]:
    """All that both sides show, as it is read and as it is compared; for `SyncStore.opened`."""
    # Without their legal forms all fields are shown, also those of an earlier kind.
    sides = (
        mapper.comparable_from_espocrm(espo),
        mapper.comparable_from_advoware(advo),
        mapper.comparable_from_advoware({**advo, "rechtsform": None}),
    )
    return [espo, advo, *map(values_to_json, sides)]


def base_of(observed: Observation) -> dict[str, Pair]:
    """What both sides held when they were last settled; empty if the record was linked with another Beteiligter."""
    return base_from_json(_stored_base(observed))


def _stored_base(observed: Observation) -> Mapping[str, Any]:
    state = observed.state
    if state is None or state.advoware_id != str(observed.advo.get("betNr")):
        return {}
    return state.base


def _is_edited(observed: Observation) -> bool | None:
    """False if the Beteiligter has the version and shows no other time than when he was settled as a whole, else None.

    After an erasure the base holds only marks of values, which cannot be compared.
    """
    state = observed.state
    if state is None or state.erased_at is not None:
        return None
    changed_at = parse_change_time(observed.advo.get("geaendertAm"))
    if changed_at not in {None, state.advoware_changed_at}:
        return None
    if is_version(state.base, observed.advo.get("rowId")):
        return False
    return None


def _shown_otherwise(observed: Observation) -> dict[str, Value]:
    """What Advoware showed when it was held as no edit."""
    shown = {}
    for name, item in _known_standing(observed).items():
        if item.reason == "shown_otherwise":
            shown[name] = item.pair.advoware
    return shown


def _newer_side(observed: Observation) -> Side | None:
    """The side that was changed last; None if the times do not show that."""
    espocrm = parse_espocrm_time(observed.espo.get("modifiedAt"))
    advoware = parse_change_time(observed.advo.get("geaendertAm"))
    if advoware is None:
        return "espocrm"
    if espocrm is None:
        return "advoware"
    espocrm = espocrm.replace(microsecond=0)
    earliest, latest = readings_of(advoware.replace(microsecond=0))
    if espocrm > latest:
        return "espocrm"
    if espocrm < earliest:
        return "advoware"
    return None


def kept_standing(observed: Observation, plan: Merge) -> dict[str, Standing]:
    """What was found by earlier syncs and still stands: neither side has changed the field, and the sides differ."""
    known = _known_standing(observed)
    kept = {name: item for name, item in known.items() if _still_stands(item, plan)}
    for held in plan.held:
        if _is_known(held, known):
            kept[held.field] = known[held.field]
    return kept


def standing_of_interrupted(observed: Observation, plan: Merge) -> dict[str, Standing]:
    """What a run found not to have arrived in Advoware that ended before it could store it, as far as it stands."""
    standing = {}
    found = standing_from_json(altered_in(_stored_base(observed)))
    for name, item in found.items():
        if plan.settled.get(name) == item.pair:
            standing[name] = item
    return standing


def _known_standing(observed: Observation) -> dict[str, Standing]:
    """What the last sync has left standing."""
    if observed.state is None:
        return {}
    return standing_from_json(observed.state.rejected)


def _still_stands(item: Standing, plan: Merge) -> bool:
    """Whether the sides differ in this field as they did before, and neither is written."""
    settled = plan.settled.get(item.field)
    if settled is None:
        return False
    if item.field in plan.to_advoware or item.field in plan.to_espocrm:
        return False
    if is_same(settled.espocrm, settled.advoware):
        return False
    is_same_in_espocrm = is_same(settled.espocrm, item.pair.espocrm)
    return is_same_in_espocrm and is_same(settled.advoware, item.pair.advoware)


def standing_of_held(
    observed: Observation,
    plan: Merge,
    now: datetime,
) -> dict[str, Standing]:
    """The edits that were found not to arrive, as what stands from now on; without those that were known already."""
    known = _known_standing(observed)
    since = now.isoformat(timespec="seconds")
    standing = {}
    for item in plan.held:
        if not _is_known(item, known):
            pair = Pair(item.espocrm, item.advoware)
            standing[item.field] = Standing(
                item.field,
                pair,
                item.side,
                item.reason,
                since,
            )
    return standing


def _is_known(item: Held, known: Mapping[str, Standing]) -> bool:
    """Whether a user was notified of a field that is held in each sync: nothing has changed since."""
    notified = known.get(item.field)
    if notified is None or notified.pair != Pair(item.espocrm, item.advoware):
        return False
    return (notified.side, notified.reason) == (item.side, item.reason)


def standing_of_pairs(
    pairs: Mapping[str, Pair],
    side: Side,
    reason: str,
    now: datetime,
) -> dict[str, Standing]:
    """What a receiver did with values of ``side``: ``refused`` or ``altered``."""
    since = now.isoformat(timespec="seconds")
    return {
        name: Standing(
            name,
            pair,
            side,
            reason,
            since,
        )
        for name, pair in pairs.items()
    }


# -- problems -------------------------------------------------------------------------------------------------------


def standing_problems(
    standing: Iterable[Standing],
    espo: Record,
    betnr: Any,
) -> list[Problem]:
    """The tasks for what stands, one for each kind; the same fields and values never lead to a second one."""
    by_word: dict[str, list[Standing]] = {}
    for item in sorted(standing, key=lambda item: item.field):
        by_word.setdefault(item.word, []).append(item)
    return [
        _standing_problem(word, items, espo, betnr) for word, items in by_word.items()
    ]


def _standing_problem(
    word: str,
    items: list[Standing],
    espo: Record,
    betnr: Any,
) -> Problem:
    if word == "erased":  # what was erased is not written down elsewhere
        details = Details(word, betnr, value=", ".join(map(_label_of, items)))
    else:
        details = Details(
            word,
            betnr,
            value=", ".join(map(_with_label, items)),
            fields=tuple(item.as_field() for item in items),
            since=min(item.since for item in items),
        )
    action: ActionType = "general_manual_action"
    if word == "readonly_field_conflict":
        action = "readonly_field_conflict"
    key = f"{word}:{ENTITY_TYPE}:{espo['id']}"
    return Problem(
        action,
        ENTITY_TYPE,
        espo["id"],
        key,
        details,
    )


def _label_of(item: Standing) -> str:
    return LABELS.get(item.field, item.field)


def _with_label(item: Standing) -> str:
    text = text_of(getattr(item.pair, item.side))
    if isinstance(text, str) and len(text) > SHOWN_LENGTH:
        text = f"{text[:SHOWN_LENGTH]}…"
    return f"{_label_of(item)} {shown_value(text)}"


def replaced_problems(
    observed: Observation,
    plan: Merge,
    standing: Mapping[str, Standing],
) -> list[Problem]:
    """What waited for a user and gives way to another value, where its task goes on about other fields.

    ``standing`` is what waits from now on. A task of which nothing waits any more ends and keeps its text.
    """
    words = {item.word for item in standing.values()}
    lines = []
    for name, item in sorted(_known_standing(observed).items()):
        if item.word in words and item.reason != "erased":
            lines += _replaced_line(name, item, plan)
    if not lines:
        return []
    betnr = observed.advo.get("betNr")
    return [problem_of_lines("value_replaced", observed.espo, betnr, lines)]


def problem_of_lines(
    word: str,
    espo: Record,
    betnr: Any,
    lines: Sequence[FieldLine],
) -> Problem:
    """A problem with one task for each set of lines, so that the next ones do not take their place unread."""
    details = Details(word, betnr, espo.get("name"), fields=tuple(lines))
    key = f"{word}:{ENTITY_TYPE}:{espo['id']}:{digest_of_lines(lines)}"
    return Problem(
        "general_manual_action",
        ENTITY_TYPE,
        espo["id"],
        key,
        details,
    )


def _replaced_line(name: str, item: Standing, plan: Merge) -> list[FieldLine]:
    """The value that did not arrive, if the other side's takes its place."""
    written = plan.to_advoware
    if item.side == "espocrm":
        written = plan.to_espocrm
    if name not in written or name in {found.field for found in plan.conflicts}:
        return []
    old = text_of(getattr(item.pair, item.side))
    return [FieldLine(name, old, text_of(written[name]))]


def standing_sentences(
    standing: Iterable[Standing],
    espo: Record,
    betnr: Any,
) -> list[str]:
    """The sentences that the record itself shows about what stands."""
    waiting = [item for item in standing if not item.is_notified_once_only]
    return list(map(problem_sentence, standing_problems(waiting, espo, betnr)))


def kind_problems(
    observed: Observation,
    advo: Record,
    mapper: BeteiligteMapper,
) -> list[Problem]:
    """What Advoware has no place for, because a Beteiligter is a person or a company: notified, not deleted.

    ``advo`` is the Beteiligter after the write.
    """
    problems = []
    unheld = _unheld_fields(observed.espo, advo, mapper)
    if unheld:
        problems.append(_kind_problem("firm_and_person", observed.espo, advo, unheld))
    fields = fields_of_other_kind(advo)
    if fields and kind_of_advoware(advo) != kind_of_advoware(observed.advo):
        problems.append(_kind_problem("kind_changed", observed.espo, advo, fields))
    return problems


def _unheld_fields(
    espo: Record,
    advo: Record,
    mapper: BeteiligteMapper,
) -> list[FieldLine]:
    """What a CBeteiligte says that Advoware has no place for and does not show either, as lines of a Task."""
    # Without its legal form a Beteiligter shows all fields, whether they apply or not.
    shown = mapper.comparable_from_advoware({**advo, "rechtsform": None})
    lines = []
    for attribute, text in mapper.unheld(espo).items():
        name = mapper.field_of(attribute)
        if not is_same(text, shown.get(name)):
            lines.append(FieldLine(name, old=None, new=text))
    return lines


def fields_of_other_kind(advo: Record) -> list[FieldLine]:
    """What a Beteiligter shows although it does not apply to a person, or to a company, as lines of a Task."""
    names = {*PERSON_FIELDS, *COMPANY_FIELDS} - shown_by_advoware(advo).keys()
    lines = []
    for name in sorted(names):
        text = comparable_text(advo.get(name))
        if text is not None:
            lines.append(FieldLine(name, old=text, new=None))
    return lines


def _kind_problem(
    word: str,
    espo: Record,
    advo: Record,
    fields: list[FieldLine],
) -> Problem:
    # The name is added when a user is notified: the sync's own writes change it, which makes no new occurrence.
    details = Details(word, advo.get("betNr"), fields=tuple(fields))
    key = f"{word}:{ENTITY_TYPE}:{espo['id']}"
    return Problem(
        "general_manual_action",
        ENTITY_TYPE,
        espo["id"],
        key,
        details,
    )


# -- what users and the audit are shown -----------------------------------------------------------------------------


def contact_entries(record: Record, array: str) -> list[tuple[str, str, bool]]:
    """What users see of a contact array; computed keys come and go between answers."""
    entries = []
    for entry in record.get(array) or ():
        if isinstance(entry, Mapping):
            written = entry.get("phoneNumber") or entry.get("emailAddress")
            value = str(written or "").strip().lower()
            kind = str(entry.get("type") or "")
            entries.append((value, kind, bool(entry.get("primary"))))
    return entries


def betnr_of(espo: Record) -> str | None:
    """The betNr that the record shows."""
    if not espo.get("betnr"):
        return None
    return str(espo["betnr"])


def result_of(plan: Merge, parts: Parts) -> str:
    """The outcome of the master data, or what the parts did if that was nothing."""
    if plan.outcome != "no_change" or not parts.changes:
        return plan.outcome
    sides = set()
    for change in parts.changes:
        if change.get("conflict"):
            return "conflict"
        sides.add(change.get("side"))
    if len(sides) > 1:
        return "merged"
    if sides == {"advoware"}:
        return "espocrm_newer"
    return "advoware_newer"


def on_side(side: str, lines: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those of the audit's lines that are about this side, ``advoware`` or ``espocrm``."""
    return [line for line in lines if line.get("side") == side]


def standing_lines(standing: Iterable[Standing]) -> list[Mapping[str, Any]]:
    """The audit's lines for edits that did not arrive."""
    return list(map(_standing_line, standing))


def _standing_line(item: Standing) -> Mapping[str, Any]:
    return {
        "field": item.field,
        "side": _OTHER_SIDE[item.side],
        "rejected": True,
        "reason": item.reason,
        "espocrm": text_of(item.pair.espocrm),
        "advoware": text_of(item.pair.advoware),
    }


def change_lines(
    observed: Observation,
    plan: Merge,
    mapper: BeteiligteMapper,
) -> list[dict[str, Any]]:
    """What the plan changes, for the audit: old and new value per field, and whether a person's value gives way.

    ``conflict``: it was changed on both sides; ``unsynced``: it had never been brought to the other side. The old legal
    form is shown as it is written.
    """
    espocrm = mapper.comparable_from_espocrm(_after(observed.espo, plan.to_espocrm))
    becomes = espocrm_after(observed.espo, plan.to_espocrm, mapper)
    # The name is written where the new kind shows it.
    espocrm["name"] = mapper.comparable_from_espocrm(becomes).get("name")
    if "rechtsform" in plan.to_espocrm:
        espocrm["rechtsform"] = comparable_text(observed.espo.get("rechtsform"))
    advoware = mapper.comparable_from_advoware(_after(observed.advo, plan.to_advoware))
    if "rechtsform" in plan.to_advoware:
        advoware["rechtsform"] = comparable_text(observed.advo.get("rechtsform"))
    return [
        *_lines_of_side(
            "advoware",
            observed,
            plan,
            plan.to_advoware,
            advoware,
        ),
        *_lines_of_side(
            "espocrm",
            observed,
            plan,
            plan.to_espocrm,
            espocrm,
        ),
    ]


def _lines_of_side(
    side: Side,
    observed: Observation,
    plan: Merge,
    written: Mapping[str, Value],
    before: Mapping[str, Value],
) -> list[dict[str, Any]]:
    lost = {conflict.field for conflict in plan.conflicts}
    base = base_of(observed)
    lines = []
    for name, new in sorted(written.items()):
        old = text_of(before.get(name))
        line: dict[str, Any] = {
            "field": name,
            "side": side,
            "old": old,
            "new": new,
        }
        known = getattr(base.get(name), side, None)
        if name in lost:
            line["conflict"] = True
        elif old is not None and not is_same(old, known):
            line["unsynced"] = True
        lines.append(line)
    return lines


def without_fields(
    plan: Merge,
    fields: Iterable[str],
    pairs: Mapping[str, Pair],
) -> Merge:
    """The plan as it turned out: ``fields`` were not brought over, and ``pairs`` are what the sides hold instead."""
    left_out = set(fields)
    return replace(
        plan,
        to_advoware=without(plan.to_advoware, left_out),
        to_espocrm=without(plan.to_espocrm, left_out),
        settled={**plan.settled, **pairs},
    )


def beside_pairs(
    observed: Observation,
    plan: Merge,
    beside: Mapping[str, Value],
    mapper: BeteiligteMapper,
) -> dict[str, Pair]:
    """What both sides hold of fields that Advoware has altered when something else was written to it."""
    shown = mapper.comparable_from_espocrm(observed.espo)
    espocrm = {**shown, **plan.to_espocrm}
    pairs = {}
    for name, advoware in beside.items():
        if name in espocrm:
            pairs[name] = Pair(espocrm[name], advoware)
    return pairs


def shown_by(
    answer: Mapping[str, Any] | None,
    read: Record,
    before: Record | None = None,
) -> Record:
    """A Beteiligter as it was stored by a write: as it was read afterwards, unless a user has edited it in between."""
    if answer is None or not proves_edit(answer, read, before):
        return read
    return {**read, **answer}


def proves_edit(
    answer: Mapping[str, Any] | None,
    read: Record,
    before: Record | None = None,
) -> bool:
    """Whether a user has edited a Beteiligter between our write, with this answer, and the read that followed.

    Only another ``rowId`` than that of the answer proves it. The answer may repeat what was sent (G2), or show the
    version ``before`` the write, and then says nothing of it.
    """
    if answer is None or answer.get("rowId") is None:
        return False
    return not shows_version(answer, read) and not shows_version(answer, before)


def shown_pair(
    name: str,
    espocrm: Mapping[str, Value],
    advoware: Mapping[str, Value],
) -> Pair:
    """What the two sides show of a field."""
    return Pair(espocrm.get(name), advoware.get(name))
