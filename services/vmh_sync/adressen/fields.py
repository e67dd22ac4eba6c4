"""The fields of a linked Adresse: what is merged, what waits for a person, and what became of a write. Pure.

Stored in a `SyncState`: ``base`` holds a pair per comparable field (`services.values.merge`) and, beside the pairs,
``standardAnschrift`` (bool), ``isActive`` (bool, what the CAdressen shows last), ``anschrift`` (the printed block as
last observed) and ``version`` (`services.values.merge.is_version`). ``rejected`` holds what differs and waits for a
person: ``{field: {"espocrm", "advoware", "since", "reason"}}`` with a reason of
`services.vmh_sync.adressen.problems`; besides fields there are ``anschrift``, ``isActive`` and ``gone``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from services.adressen_mapper import (
    FIELDS,
    STREET,
    WRITABLE_FIELDS,
    AdressenMapper,
    block_of,
)
from services.values.address_block import (
    BLOCK,
    addressee_of,
    build_anschrift,
    changed_block,
    lines_of,
)
from services.values.merge import (
    Held,
    Merge,
    Pair,
    Side,
    Unfit,
    Unknown,
    Value,
    base_from_json,
    compare_after_write,
    held_by_advoware,
    is_same,
    is_version,
    merge,
    only,
    pair_to_json,
    settled_as_stored,
    undecided,
    value_from_json,
    version_member,
    without,
)
from services.vmh_sync.result import Direction
from services.vmh_sync.sending import altered_in, as_sent, stored_otherwise
from services.vmh_sync.store import SyncState

Record = dict[str, Any]
Waiting = dict[str, dict[str, Any]]

#: The lines below the street; Advoware shows them in the printed block only.
FURTHER_LINES = "weitereZeilen"
#: The parts that a PUT changes.
PARTS = ("strasse", "plz", "ort")
#: What Advoware shows for the lines below the street if the printed block does not show which they are.
NOT_SHOWN = Unknown("nicht erkennbar")
#: null where there was a value before.
NO_VALUE = Unknown("")
#: A value that is too long for the other side, by the side that holds it.
_TOO_LONG: Mapping[Side, str] = {
    "espocrm": "too_long_advoware",
    "advoware": "too_long_espocrm",
}

#: The reasons of what a PUT has not stored as it was sent.
_AFTER_PUT = frozenset({"refused", "altered_advoware", "value_refused"})

_mapper = AdressenMapper()


@dataclass(frozen=True)
class FieldPlan:
    """The merged fields of a pair.

    Attributes:
        espocrm, advoware: what both sides say.
        base: what they held when they were last settled.
        stored: the same as it was stored, with what stands beside the pairs.
        plan: the merge of these.
        known: the values that Advoware has, as far as is known.
        hidden: the fields that Advoware does not show so that we understand them; ``advoware`` is what it showed last.
        to_advoware, to_espocrm: what is written.
        addressee, old_block: what the printed block is made of; ``old_block`` is None if Advoware shows none at all.
        settled, waiting: what is remembered once all is written.
        altered_left: what Advoware has altered and the next run brings to EspoCRM as it was sent (`sending.ALTERED`).
    """

    espocrm: Mapping[str, Value]
    advoware: Mapping[str, Value]
    base: Mapping[str, Pair]
    plan: Merge
    known: Mapping[str, Value] = field(default_factory=dict)
    hidden: frozenset[str] = frozenset()
    to_advoware: Mapping[str, Value] = field(default_factory=dict)
    to_espocrm: Mapping[str, Value] = field(default_factory=dict)
    addressee: str | None = None
    old_block: str | None = None
    settled: Mapping[str, Pair] = field(default_factory=dict)
    stored: Mapping[str, Any] = field(default_factory=dict)
    waiting: Waiting = field(default_factory=dict)
    altered_left: Mapping[str, Any] = field(default_factory=dict)

    def block(self, names: Iterable[str]) -> str | None:
        """The printed block with these of the new values; None if it is left as it is."""
        if self.old_block is None:
            return None
        new = dict(self.known)
        for name in names:
            if name in self.to_advoware:
                new[name] = self.to_advoware[name]
        last = dict(self.known)
        sent = dict(self.known)
        for name, pair in self.base.items():
            last[name] = pair.advoware
            sent[name] = pair.espocrm
        versions = (self.known, last, sent)
        return changed_block(self.old_block, self.addressee, versions, new)

    @property
    def left_to_next_run(self) -> set[str]:
        """The fields that EspoCRM lacks and that this run does not bring it."""
        return self.plan.to_espocrm.keys() - self.to_espocrm.keys()

    @property
    def street(self) -> dict[str, Value]:
        """What EspoCRM's street field is made of after the write."""
        return {
            name: self.to_espocrm.get(name, self.espocrm.get(name)) for name in STREET
        }


def plan_fields(
    row: Record,
    adresse: Record,
    state: SyncState,
    beteiligter: Mapping[str, Any],
    direction: Direction,
    now: datetime,
) -> FieldPlan:
    """Merge what both sides of a pair say."""
    read = _read(row, adresse, state)
    unfit = _unfit_of(row, read)
    plan = merge(
        read.base,
        read.espocrm,
        read.advoware,
        is_edited=_is_edited(row, adresse, state, read.base),
        shown_otherwise=_shown_otherwise(state),
        unfit=unfit,
    )
    to_espocrm: Mapping[str, Value] = {}
    if direction == "both":
        to_espocrm = plan.to_espocrm
    settled = _settled_now(plan, read, to_espocrm)
    advoware = {**read.advoware, **read.altered}
    merged = FieldPlan(
        read.espocrm,
        advoware,
        read.base,
        plan,
        known=_known(advoware, read.base),
        to_advoware=plan.to_advoware,
        hidden=frozenset(read.hidden),
        to_espocrm=to_espocrm,
        addressee=addressee_of(beteiligter),
        old_block=_old_block(adresse, state),
        settled=settled,
        stored=state.base,
        waiting={
            **_hidden_entries(read, state, now),
            **_still_waiting(state, adresse, settled),
            **_found_by_interrupted(state, settled),
            **_held_entries(plan, state, now),
            **_unknown_at_first(read, state, now),
        },
    )
    still = only(altered_in(state.base), merged.left_to_next_run)
    merged = replace(merged, altered_left=still)
    if not plan.to_advoware:
        return merged
    if _hides(merged, adresse, state):
        return _put_off(merged, state, now)
    return _with_block(merged, state, now)


def _is_edited(
    row: Record,
    adresse: Record,
    state: SyncState,
    base: Mapping[str, Pair],
) -> bool | None:
    """Whether the Adresse was edited since the two were settled, or the CAdressen was made of it; None if not known.

    After an erasure the base holds only marks of values, which cannot be compared.
    """
    if not base and _is_older_copy(row, adresse):
        return True
    if state.erased_at is None and is_version(state.base, adresse.get("rowId")):
        return False
    return None


def _shown_otherwise(state: SyncState) -> dict[str, Value]:
    """What Advoware showed when it was held as no edit."""
    shown = {}
    for name, item in state.rejected.items():
        if item.get("reason") == "shown_otherwise":
            shown[name] = value_from_json(item["advoware"])
    return shown


def version_of(
    stored: Mapping[str, Any],
    settled: Mapping[str, Pair],
    adresse: Record,
) -> dict[str, Any]:
    """The member of the base for the version of an Adresse; see `version_member`."""
    shown = _mapper.comparable_from_advoware(adresse)
    _read_further_lines(shown, dict(settled), _mapper.unsaid(adresse))
    return version_member(stored, settled, shown, adresse.get("rowId"))


def _unfit_of(row: Record, read: _Reading) -> Unfit:
    """What says why a side cannot hold a value."""
    erased = _mapper.erased(row)

    def unfit(side: Side, name: str, value: Value) -> str | None:
        if name in erased:
            return "erased"
        if side == "espocrm":
            return _mapper.unfit(side, name, value, read.advoware)
        if name not in WRITABLE_FIELDS:
            return "read_only"
        return _mapper.unfit(side, name, value, read.espocrm)

    return unfit


def _settled_now(
    plan: Merge,
    read: _Reading,
    to_espocrm: Mapping[str, Value],
) -> dict[str, Pair]:
    """What is settled by this run; what is not written to EspoCRM now is left to the next one."""
    settled = settled_as_stored(plan, read.altered, read.base)
    for name in plan.to_espocrm.keys() - to_espocrm.keys():
        settled.pop(name)
        if name in read.base:
            settled[name] = read.base[name]
    return settled


def _held_entries(plan: Merge, state: SyncState, now: datetime) -> Waiting:
    """The fields with an edit that cannot arrive."""
    waiting: Waiting = {}
    for held in plan.held:
        pair = Pair(held.espocrm, held.advoware)
        waiting[held.field] = entry(
            state,
            held.field,
            pair,
            reason_of(held),
            now,
        )
    return waiting


def _old_block(adresse: Record, state: SyncState) -> str | None:
    """The printed block, None if Advoware has never shown one."""
    if BLOCK in adresse or state.base.get(BLOCK):
        return observed_block(adresse, state)
    return None


def _hidden_entries(read: _Reading, state: SyncState, now: datetime) -> Waiting:
    """The fields in which Advoware says something that EspoCRM cannot hold, or nothing where there was something."""
    waiting: Waiting = {}
    for name, shown in read.hidden.items():
        pair = Pair(read.espocrm.get(name), shown)
        if not is_same(*pair):
            waiting[name] = entry(
                state,
                name,
                pair,
                "unknown_advoware",
                now,
            )
    return waiting


def _unknown_at_first(read: _Reading, state: SyncState, now: datetime) -> Waiting:
    """The fields of a pair that is compared for the first time in which one side says what the other cannot hold."""
    waiting: Waiting = {}
    for name in (read.espocrm.keys() & read.advoware.keys()) - read.base.keys():
        pair = Pair(read.espocrm[name], read.advoware[name])
        if is_same(*pair) or pair.advoware == NOT_SHOWN:
            continue
        reason = _unknown_side(pair)
        if reason is not None:
            waiting[name] = entry(state, name, pair, reason, now)
    return waiting


def _unknown_side(pair: Pair) -> str | None:
    """The word for the side that shows what the other cannot hold; None if neither does."""
    if isinstance(pair.espocrm, Unknown):
        return "unknown_espocrm"
    if isinstance(pair.advoware, Unknown):
        return "unknown_advoware"
    return None


def _hides(plan: FieldPlan, adresse: Record, state: SyncState) -> bool:
    """Whether Advoware does not show what a PUT would overwrite: it may be a user's edit."""
    if block_of(adresse) is None:
        is_unreadable = adresse.get(BLOCK) is not None
        if is_unreadable or observed_block(adresse, state):
            return True
    return any(_is_hidden(plan, name) for name in plan.to_advoware)


def _is_hidden(plan: FieldPlan, name: str) -> bool:
    """Whether Advoware does not show what a field holds; the lines below the street go with the printed block."""
    is_unknown = isinstance(plan.advoware[name], Unknown)
    return name in plan.hidden or (is_unknown and name != FURTHER_LINES)


def _put_off(plan: FieldPlan, state: SyncState, now: datetime) -> FieldPlan:
    """The plan without writing to Advoware: the edits stay edits, and users are notified of them."""
    settled = dict(plan.settled)
    waiting = dict(plan.waiting)
    for name in plan.to_advoware:
        settled.pop(name, None)
        if name in plan.base:
            settled[name] = plan.base[name]
        pair = Pair(plan.espocrm[name], plan.advoware[name])
        waiting[name] = entry(
            state,
            name,
            pair,
            "missing",
            now,
        )
    return replace(
        plan,
        to_advoware={},
        settled=settled,
        waiting=waiting,
    )


def reason_of(held: Held) -> str:
    """The word of `services.vmh_sync.adressen.problems` for an edit that cannot arrive."""
    if held.reason == "unknown":
        return f"unknown_{held.side}"
    if held.reason == "too_long":
        return _TOO_LONG[held.side]
    return held.reason


def entry(
    state: SyncState,
    name: str,
    pair: Pair,
    reason: str,
    now: datetime,
    **further: Any,
) -> dict[str, Any]:
    """The entry of a difference that waits for a person; the one already there if it is the same difference."""
    made = {**pair_to_json(pair), "reason": reason, **further}
    known = state.rejected.get(name, {})
    if {**known, **made} == known:
        return dict(known)
    return {**made, "since": now.isoformat(timespec="seconds")}


def is_field(name: str) -> bool:
    """Whether an entry of ``rejected`` is about a field, not about the whole Adresse."""
    return name in FIELDS or name == BLOCK


# -- reading ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Reading:
    """Both sides and the base.

    Attributes:
        hidden: what Advoware shows instead of something that could be compared.
        altered: what Advoware has made of a value that was sent, which stands in ``advoware`` (`sending.as_sent`).
    """

    espocrm: dict[str, Value]
    advoware: dict[str, Value]
    base: dict[str, Pair]
    hidden: dict[str, Unknown]
    altered: dict[str, Value]


def _read(row: Record, adresse: Record, state: SyncState) -> _Reading:
    """What both sides say; where Advoware says nothing that we understand, it is taken to hold what it held last.

    So an unknown value neither becomes part of the base nor looks like an edit when the known one is back.
    """
    espocrm = _mapper.comparable_from_espocrm(row)
    shown_now = _mapper.comparable_from_advoware(adresse)
    advoware = as_sent(state.base, espocrm, shown_now)
    altered = stored_otherwise(advoware, shown_now)
    base = base_from_json(state.base)
    if not base and _is_unedited_copy(row, adresse):
        base = _as_created(espocrm, advoware)
    unsaid = _mapper.unsaid(adresse)
    hidden = _hidden_values(espocrm, advoware, base, unsaid)
    for name in hidden:
        advoware[name] = base[name].advoware
    _read_further_lines(advoware, base, unsaid)
    return _Reading(espocrm, advoware, base, hidden, altered)


def _is_unedited_copy(row: Record, adresse: Record) -> bool:
    """Whether the CAdressen is an older copy, and no user has edited it since: an edit makes it ``dirty``."""
    return row.get("syncStatus") == "clean" and _is_older_copy(row, adresse)


def _is_older_copy(row: Record, adresse: Record) -> bool:
    """Whether the sync has made the CAdressen of an older version of this Adresse.

    It has no base if the answer to its creation was lost.
    """
    made_of = row.get("advowareRowId")
    is_link = row.get("advowareId") == adresse["id"]
    return is_link and made_of is not None and made_of != adresse.get("rowId")


def _as_created(
    espocrm: Mapping[str, Value],
    advoware: Mapping[str, Value],
) -> dict[str, Pair]:
    """The base of such a copy: both sides held what it holds, so what differs is an edit in Advoware."""
    names = (espocrm.keys() & advoware.keys()) - {FURTHER_LINES}
    return {name: Pair(espocrm[name], espocrm[name]) for name in names}


def _hidden_values(
    espocrm: Mapping[str, Value],
    advoware: Mapping[str, Value],
    base: Mapping[str, Pair],
    unsaid: Collection[str],
) -> dict[str, Unknown]:
    """What Advoware shows that we do not understand, or null, in fields whose value was known before."""
    hidden: dict[str, Unknown] = {}
    shown_before = (advoware.keys() & base.keys()) - {FURTHER_LINES}
    for name in shown_before:
        shown = advoware[name]
        last = base[name].advoware
        has_value = last is not None and espocrm.get(name) is not None
        if has_value and name in unsaid:
            shown = NO_VALUE
        if isinstance(shown, Unknown) and not is_same(shown, last):
            hidden[name] = shown
    return hidden


def _read_further_lines(
    advoware: dict[str, Value],
    base: dict[str, Pair],
    unsaid: Collection[str],
) -> None:
    """The lines below the street; as last read if the printed block does not show which they are."""
    known = base.get(FURTHER_LINES)
    is_shown = FURTHER_LINES in advoware
    if known is None:
        advoware.setdefault(FURTHER_LINES, NOT_SHOWN)
    elif not is_shown or FURTHER_LINES in unsaid:
        advoware[FURTHER_LINES] = known.advoware
    elif known.advoware == NOT_SHOWN:
        del base[FURTHER_LINES]  # now that they are shown: as at the first sync


def _known(advoware: Mapping[str, Value], base: Mapping[str, Pair]) -> dict[str, Value]:
    """What Advoware has: what it shows, and where it shows nothing, what it showed last."""
    return {**held_by_advoware(base), **advoware}


def _still_waiting(
    state: SyncState,
    adresse: Record,
    settled: Mapping[str, Pair],
) -> Waiting:
    """The entries whose difference is the same as when it was reported."""
    waiting: Waiting = {}
    block = state.rejected.get(BLOCK)
    if block is not None and _is_same_block(block, adresse, state):
        waiting[BLOCK] = dict(block)
    for name, known in state.rejected.items():
        pair = settled.get(name)
        if pair is None or not _is_same_difference(pair, known):
            continue
        if known.get("reason") != "block" or BLOCK in waiting:
            waiting[name] = dict(known)
    return waiting


def _found_by_interrupted(state: SyncState, settled: Mapping[str, Pair]) -> Waiting:
    """What a run found not to have arrived in Advoware that ended before it could store it, as far as it stands."""
    waiting: Waiting = {}
    for name, item in altered_in(state.base).items():
        if name in settled and _is_same_difference(settled[name], item):
            waiting[name] = dict(item)
    return waiting


def _is_same_block(block: Mapping[str, Any], adresse: Record, state: SyncState) -> bool:
    """Whether the printed block is as an entry says that it was."""
    now = observed_block(adresse, state)
    return lines_of(block["advoware"]) == lines_of(now)


def _is_same_difference(pair: Pair, known: Mapping[str, Any]) -> bool:
    """Whether the sides differ, and as an entry says that they do."""
    if is_same(*pair):
        return False
    return {**known, **pair_to_json(pair)} == known


def observed_block(adresse: Mapping[str, Any], state: SyncState) -> str:
    """The printed block; the one read last if Advoware shows none at all."""
    block = block_of(adresse)
    if block is None:
        return str(state.base.get(BLOCK) or "")
    return block


# -- the printed block ------------------------------------------------------------------------------------------------


def _with_block(plan: FieldPlan, state: SyncState, now: datetime) -> FieldPlan:
    """The plan with the printed block brought along, or with a person asked to do it."""
    if plan.block(plan.to_advoware) is None:
        return _block_waits(plan, state, now)
    waiting = dict(plan.waiting)
    waiting.pop(BLOCK, None)
    return replace(plan, waiting=waiting)


def _block_waits(plan: FieldPlan, state: SyncState, now: datetime) -> FieldPlan:
    """The plan with the printed block left as it is, and with it the lines below the street."""
    name = FURTHER_LINES
    old = plan.old_block or ""
    settled = dict(plan.settled)
    waiting = dict(plan.waiting)
    to_advoware = dict(plan.to_advoware)
    wanted = build_anschrift(plan.addressee, {**plan.known, **to_advoware})
    waiting[BLOCK] = entry(
        state,
        BLOCK,
        Pair(wanted, old),
        "block",
        now,
    )
    if name in to_advoware:
        del to_advoware[name]
        settled[name] = Pair(plan.espocrm[name], plan.advoware[name])
        waiting[name] = entry(
            state,
            name,
            settled[name],
            "block",
            now,
        )
    return replace(
        plan,
        old_block=None,
        settled=settled,
        waiting=waiting,
        to_advoware=to_advoware,
    )


def put_names(plan: FieldPlan) -> list[str]:
    """The fields that a PUT changes, each of which Advoware may refuse."""
    names = [name for name in plan.to_advoware if name != FURTHER_LINES]
    if plan.old_block is not None:
        names.append(BLOCK)
    return names


def put_body(plan: FieldPlan, adresse: Record, names: Collection[str]) -> Record:
    """What a PUT sends so that the Adresse gets these of the planned values.

    ``anschrift`` stands for the block, and with it for the lines below the street. The body is the full object as
    read, because Advoware replaces it, without the parts that Advoware does not show.
    """
    body = _shown_parts(adresse)
    for name in names:
        if name in plan.to_advoware and name != FURTHER_LINES:
            body[name] = plan.to_advoware[name] or ""
    if BLOCK in names:
        block = plan.block({*names, FURTHER_LINES})
        if block is not None:
            body[BLOCK] = block
    return body


def not_as_sent(plan: FieldPlan, state: SyncState) -> Waiting:
    """What a PUT was found not to have stored as it was sent, as it waits; ``state`` is the one before."""
    found: Waiting = {}
    for name, item in plan.waiting.items():
        is_new = item != state.rejected.get(name)
        if name in FIELDS and is_new and item["reason"] in _AFTER_PUT:
            found[name] = item
    return found


def _shown_parts(adresse: Record) -> Record:
    """The Adresse as read, without the parts that Advoware does not show."""
    shown = dict(adresse)
    for name in (*PARTS, BLOCK):
        if not isinstance(adresse.get(name), str):
            shown.pop(name, None)
    return shown


# -- after a write ----------------------------------------------------------------------------------------------------


def after_put(
    plan: FieldPlan,
    state: SyncState,
    answer: Record,
    left_out: Mapping[str, str],
    now: datetime,
) -> FieldPlan:
    """The plan after its PUT: what Advoware did not take, or stores differently, is settled as it is and reported.

    ``left_out`` are the fields that were left out because Advoware refused the whole object with them, and its words.
    """
    if BLOCK in left_out and plan.old_block is not None:
        plan = _block_waits(plan, state, now)
    stored = _mapper.comparable_from_advoware(answer)
    after = {**plan.espocrm, **plan.to_espocrm}
    settled = dict(plan.settled)
    waiting = dict(plan.waiting)
    for name, words in left_out.items():
        if name not in plan.to_advoware:
            continue
        shown = stored.get(name, plan.advoware.get(name))
        pair = Pair(after.get(name), shown)
        settled[name] = pair
        waiting[name] = _entry_in_words(state, name, pair, "value_refused", words, now)
    for name, reason in _not_as_sent(plan, stored, left_out).items():
        pair = Pair(after.get(name), stored[name])
        settled[name] = pair
        _note_difference(waiting, state, name, pair, reason, now)
    left = {**plan.altered_left, **_altered_of_left(plan, state, stored, now)}
    return replace(plan, settled=settled, waiting=waiting, altered_left=left)


def _altered_of_left(
    plan: FieldPlan,
    state: SyncState,
    stored: Mapping[str, Value],
    now: datetime,
) -> Waiting:
    """What Advoware has altered of edits that were sent along, and that the next run brings to EspoCRM."""
    altered: Waiting = {}
    for name in plan.left_to_next_run & stored.keys():
        if not is_same(stored[name], plan.advoware.get(name)):
            pair = Pair(plan.plan.to_espocrm[name], stored[name])
            altered[name] = entry(state, name, pair, "altered_advoware", now)
    return altered


def _note_difference(
    waiting: Waiting,
    state: SyncState,
    name: str,
    pair: Pair,
    reason: str,
    now: datetime,
) -> None:
    """A field that is settled as it is stored waits only if the two sides differ by that."""
    waiting.pop(name, None)
    if not is_same(*pair):
        waiting[name] = entry(state, name, pair, reason, now)


def _not_as_sent(
    plan: FieldPlan,
    stored: Mapping[str, Value],
    left_out: Collection[str],
) -> dict[str, str]:
    """The fields that Advoware stores otherwise than they were sent: ``refused`` or ``altered_advoware``."""
    before = only(plan.advoware, plan.to_advoware)
    sent = without(_sent_to_advoware(plan), left_out)
    refused, altered = compare_after_write(sent, before, stored, side="advoware")
    reasons = dict.fromkeys(refused, "refused")
    for name in altered:
        reasons.setdefault(name, "altered_advoware")
    return reasons


def _sent_to_advoware(plan: FieldPlan) -> dict[str, Value]:
    """All that a PUT says, the unchanged parts included: Advoware may store these differently as well."""
    waiting = undecided(plan.plan, plan.base)
    unsent = plan.hidden | plan.left_to_next_run | waiting
    sent = {}
    for name, value in _with_unchanged_parts(plan).items():
        if name not in unsent and not isinstance(value, Unknown):
            sent[name] = value
    return sent


def _with_unchanged_parts(plan: FieldPlan) -> dict[str, Value]:
    """The new values, and what Advoware has of the other parts; of the further lines only if there is a block."""
    parts = list(PARTS)
    if plan.old_block is not None:
        parts.append(FURTHER_LINES)
    all_parts = dict(plan.to_advoware)
    for name in parts:
        if plan.advoware.get(name) is not None:
            all_parts.setdefault(name, plan.advoware[name])
    return all_parts


def after_update(
    plan: FieldPlan,
    state: SyncState,
    written: Mapping[str, Any],
    left_out: Mapping[str, str],
    now: datetime,
) -> FieldPlan:
    """The plan after EspoCRM's update, likewise; ``left_out`` are the comparable fields that EspoCRM refused."""
    stored = _mapper.comparable_from_espocrm(written)
    settled = dict(plan.settled)
    waiting = dict(plan.waiting)
    for name, reason in _not_as_updated(plan, stored, left_out).items():
        advoware = plan.advoware.get(name)
        if name in settled:
            advoware = settled[name].advoware
        espocrm = stored.get(name, plan.espocrm.get(name))
        pair = Pair(espocrm, advoware)
        settled[name] = pair
        _note_difference(waiting, state, name, pair, reason, now)
    return replace(plan, settled=settled, waiting=waiting)


def _not_as_updated(
    plan: FieldPlan,
    stored: Mapping[str, Value],
    left_out: Collection[str],
) -> dict[str, str]:
    """The fields that EspoCRM stores otherwise than they were sent, or has refused."""
    sent = dict(plan.to_espocrm)
    if not sent.keys().isdisjoint(STREET):
        sent |= plan.street
    refused, altered = compare_after_write(
        without(sent, left_out),
        plan.espocrm,
        stored,
        side="espocrm",
    )
    reasons = dict.fromkeys(altered, "altered_espocrm")
    for name in (*refused, *left_out):
        if name in refused or name in plan.to_espocrm:
            reasons[name] = "value_refused_espocrm"
    return reasons


def after_create(
    side: Side,
    espocrm: Mapping[str, Value],
    advoware: Mapping[str, Value],
    left_out: Mapping[str, tuple[str, str]],
    state: SyncState,
    now: datetime,
) -> tuple[dict[str, Pair], Waiting]:
    """What is settled, and what waits, after the record on ``side`` was created from the other.

    ``left_out`` says for the fields that were not sent why not: a reason and the receiver's words.
    """
    settled: dict[str, Pair] = {}
    waiting: Waiting = {}
    for name in espocrm.keys() & advoware.keys():
        pair = Pair(espocrm[name], advoware[name])
        settled[name] = pair
        if is_same(*pair):
            continue
        as_stored = (_reason_after_create(side, pair), "")
        reason, words = left_out.get(name, as_stored)
        waiting[name] = _entry_in_words(
            state,
            name,
            pair,
            reason,
            words,
            now,
        )
    return settled, waiting


def _reason_after_create(side: Side, pair: Pair) -> str:
    """Why a field differs that was sent: it is empty in the new record, or stored differently."""
    if side == "advoware":
        if pair.advoware is None:
            return "refused"
        return "altered_advoware"
    if pair.espocrm is None:
        return "value_refused_espocrm"
    return "altered_espocrm"


def _entry_in_words(
    state: SyncState,
    name: str,
    pair: Pair,
    reason: str,
    words: str,
    now: datetime,
) -> dict[str, Any]:
    """An `entry` with the words of the receiver, if there are any."""
    if not words:
        return entry(
            state,
            name,
            pair,
            reason,
            now,
        )
    return entry(
        state,
        name,
        pair,
        reason,
        now,
        words=words,
    )
