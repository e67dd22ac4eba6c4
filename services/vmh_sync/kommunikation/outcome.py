"""What has become of the requests to Advoware, and what is settled then. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace
from typing import Any

from services.kommunikation_mapper import (
    AdvowareEntry,
    EspoSide,
    Key,
    entries_by_id,
    family_of,
    key_of,
    kind_of,
    parse_marker,
)
from services.vmh_sync.kommunikation.memory import TYPES, Memory, holds, keys_shown
from services.vmh_sync.kommunikation.plan import Base, Change, Link, Notice, Plan, Write
from services.vmh_sync.sending import Sent, sending

Record = Mapping[str, Any]
#: A request that gives a note back to the person who wrote it: the entry's id and the body.
Repair = tuple[int, dict[str, Any]]


@dataclass
class Applied:
    """What has become of a plan's requests.

    Attributes:
        done: those that were done, with the id of their entry.
        row_ids: the rowId of each entry as the last request to it was answered, if the answer shows one.
        refused: those that Advoware answered with a refusal of the value.
        ineffective: those that were accepted without changing anything.
        links: what entries are linked with instead of what was planned.
        unmarked: entries whose note does not hold our marker.
        refused_values: values that Advoware does not create.
        altered: values of Advoware that it has itself changed when only their note was to be written.
        notices, errors: what is reported, and what is tried again.
    """

    done: list[tuple[Write, int]] = field(default_factory=list)
    row_ids: dict[int, str] = field(default_factory=dict)
    refused: set[Write] = field(default_factory=set)
    ineffective: set[Write] = field(default_factory=set)
    links: dict[int, Link] = field(default_factory=dict)
    unmarked: set[int] = field(default_factory=set)
    refused_values: set[Key] = field(default_factory=set)
    altered: list[Change] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def ended(self) -> frozenset[Write]:
        """The requests whose end is known: done or refused."""
        return self.writes_done | self.refused

    @property
    def writes_done(self) -> frozenset[Write]:
        """Those that were done, without the ids of their entries."""
        return frozenset(write for write, _ in self.done)

    @property
    def changes(self) -> list[Change]:
        """The values that were changed in Advoware."""
        made = []
        for write, _ in self.done:
            if write.change and write not in self.ineffective:
                made.append(write.change)
        return [*made, *self.altered]

    @property
    def wrote(self) -> bool:
        """Whether a request has changed something."""
        return not self.writes_done <= self.ineffective


def posts(plan: Plan, ended: Set[Write] = frozenset()) -> frozenset[Key]:
    """The values that the plan creates in Advoware, without those of the requests that have ``ended``."""
    created = set()
    for write in plan.writes:
        if write.entry_id is None and write.link is not None and write not in ended:
            created.add(write.link.advoware)
    return frozenset(created)


def unconfirmed_posts(
    plan: Plan,
    applied: Applied,
    before: Memory,
    espocrm: EspoSide,
) -> frozenset[Key]:
    """The values that may be in Advoware under an id that we do not know.

    One of an earlier run stays the sync's own until the request ends that replaces it or takes it away, and while
    EspoCRM does not show the array that it belongs to.
    """
    left = {key for key in before.posted if not espocrm.array(key.family).is_known}
    for write in plan.writes:
        if write.change and write.change.old and write not in applied.ended:
            left.add(key_of(family_of(write.komm_kz), write.change.old))
    return posts(plan, applied.ended) | (before.posted & left)


def sent_to_espocrm(plan: Plan) -> dict[str, Any]:
    """The values that the plan brings to EspoCRM or takes away there (None), by id of their entry."""
    if not plan.espocrm:
        return {}
    sent = {}
    for entry_id in plan.awaiting_espocrm:
        link = plan.base.get(entry_id)
        sent[str(entry_id)] = _key_in_espocrm(link)
    return sent


def sent_to_advoware(plan: Plan, ended: Set[Write] = frozenset()) -> dict[str, Any]:
    """The values of entries that requests change or empty (None), without the requests that have ``ended``."""
    sent: dict[str, Any] = {}
    for write in plan.writes:
        if write.entry_id is None or write.change is None:
            continue
        if write in ended:
            continue
        value = None
        if write.link:
            value = list(write.link.advoware)
        sent[str(write.entry_id)] = value
    return sent


def sent_to_both(
    plan: Plan,
    ended: Set[Write] = frozenset(),
    *,
    is_in_espocrm: bool = False,
) -> Sent:
    """All that the plan is about to write, with the types of the numbers (`Memory.sending`)."""
    to_espocrm = {} if is_in_espocrm else sent_to_espocrm(plan)
    sent = sending(to_espocrm, sent_to_advoware(plan, ended))
    names = {name for values in sent.values() for name in values}
    types = {
        str(entry_id): link.type
        for entry_id, link in plan.base.items()
        if link.type and str(entry_id) in names
    }
    if types:
        sent[TYPES] = types
    return sent


def may_be_under_way(plan: Plan, memory: Memory, advo: Record) -> bool:
    """Whether an earlier request may arrive yet, and undo what a person has done since.

    Advoware does not show what it was sent, or the plan sends that once more as a new entry. A change that is sent
    again as it was does no harm twice.
    """
    entries = entries_by_id(advo)
    if posts(plan) & memory.posted or memory.posted - keys_shown(entries.values()):
        return True
    again = sent_to_advoware(plan)
    for name, value in memory.sending.get("advoware", {}).items():
        is_repeated = name in again and again[name] == value
        if not is_repeated and not holds(entries.get(int(name)), value):
            return True
    return False


def _key_in_espocrm(link: Link | None) -> list[str] | None:
    if link is None or link.espocrm is None:
        return None
    return list(link.espocrm)


def planned_links(
    plan: Plan,
    memory: Memory,
    applied: Applied,
    undone: frozenset[int] = frozenset(),
) -> Base:
    """The planned base, with the earlier link of every entry that is ``undone`` or whose request was not done."""
    created = _created_links(applied)
    links = {**plan.base, **created}
    not_done = undone | _failed(plan, applied)
    for entry_id in not_done:
        links.pop(entry_id, None)
        if entry_id in memory.links:
            links[entry_id] = memory.links[entry_id]
    in_espocrm = (plan.base.keys() | created.keys()) - undone
    for entry_id, link in applied.links.items():
        if entry_id not in in_espocrm:
            before = memory.links.get(entry_id)
            link = _as_espocrm_was(link, before)
        links[entry_id] = link
    for entry_id in applied.unmarked & links.keys():
        links[entry_id] = replace(links[entry_id], unmarked=True)
    return links


def _created_links(applied: Applied) -> dict[int, Link]:
    """The links of the entries that were created with their value."""
    created = {}
    for write, entry_id in applied.done:
        is_created = write.entry_id is None and write not in applied.ineffective
        if is_created and write.link is not None:
            created[entry_id] = write.link
    return created


def _failed(plan: Plan, applied: Applied) -> set[int]:
    """The entries whose value should have changed and did not."""
    done = applied.writes_done
    failed = set()
    for write in plan.writes:
        if write.change is not None and write.entry_id and write not in done:
            failed.add(write.entry_id)
    return failed


def _as_espocrm_was(link: Link, before: Link | None) -> Link:
    """A link where EspoCRM does not hold the planned value: it holds what it held before."""
    if link.espocrm is None:
        return link
    if before is None:
        return replace(link, espocrm=None)
    return replace(link, espocrm=before.espocrm)


def refuse(applied: Applied, write: Write) -> None:
    """Note that Advoware refuses a request: its answer was 400. It is not made again as long as both sides stay.

    A request that would only have set the marker leaves the entry without one.
    """
    applied.refused.add(write)
    if write.change is None:
        if write.entry_id is not None:
            applied.unmarked.add(write.entry_id)
        return
    _stand(applied, write, "kom_refused_by_advoware", write.change.old)


def note_row_id(
    applied: Applied,
    entry_id: int,
    answer: Record | None,
    before: str,
) -> None:
    """Note which version of an entry a request has left, as Advoware answers it.

    An answer that shows the version ``before`` the request says nothing of it.
    """
    applied.row_ids.pop(entry_id, None)
    row_id = (answer or {}).get("rowId")
    if isinstance(row_id, str) and row_id not in ("", before):
        applied.row_ids[entry_id] = row_id


def verify(applied: Applied, advo: Record) -> list[Repair]:
    """Compare what was sent with what Advoware stores; returns the notes that have to be repaired."""
    entries = entries_by_id(advo)
    notes = _notes_of(advo)
    repairs = []
    for write, entry_id in applied.done:
        entry = entries.get(entry_id)
        if entry is None:
            _verify_missing(applied, write)
            continue
        if entry.is_unknown:
            continue
        _verify_value(applied, write, entry)
        if entry_id not in applied.unmarked:
            repairs += _verify_note(applied, write, entry, notes.get(entry_id))
    return repairs


def _notes_of(advo: Record) -> dict[Any, Any]:
    """The notes as Advoware stores them, by the id of their entry."""
    rows = [row for row in advo["kommunikation"] if isinstance(row, Mapping)]
    return {row.get("id"): row.get("bemerkung") for row in rows}


def _verify_missing(applied: Applied, write: Write) -> None:
    """An entry that is not there: one that existed was deleted meanwhile by a user."""
    if write.entry_id is None:
        applied.ineffective.add(write)
        _stand(applied, write, "kom_not_taken", None)


def _verify_value(applied: Applied, write: Write, entry: AdvowareEntry) -> None:
    """What became of a value; it can change although only the note was to be written."""
    if entry.key == key_of(entry.key.family, write.tlf):
        return
    if _is_edited_since(applied, entry):
        return  # what differs is the user's, and the next run brings it over
    if _is_as_before(write, entry):
        applied.ineffective.add(write)
        _verify_refused(applied, write, entry)
        return
    if write.link is None:
        return  # a user has typed into the entry that we have just emptied
    applied.links[entry.id] = _held_link(write, entry.key, "kom_altered")
    if write.change is None:
        applied.altered.append(marker_change(write, entry.written))
    _notify(
        applied,
        write,
        entry.id,
        "kom_altered",
        entry.written,
    )


def marker_change(write: Write, stored: str) -> Change:
    """What a request that only sets the marker makes of its entry's value if Advoware then holds ``stored``."""
    return Change(
        write.case,
        "advoware",
        kind_of(write.komm_kz),
        write.entry_id,
        write.tlf.strip(),
        stored.strip() or None,
    )


def _is_edited_since(applied: Applied, entry: AdvowareEntry) -> bool:
    """Whether a user has edited an entry since our request: its rowId changes with each edit (specification 05)."""
    answered = applied.row_ids.get(entry.id)
    return answered is not None and answered != entry.row_id


def _is_as_before(write: Write, entry: AdvowareEntry) -> bool:
    """Whether Advoware still stores what the request should have changed."""
    return write.change is not None and entry.written == (write.change.old or "")


def _verify_refused(applied: Applied, write: Write, entry: AdvowareEntry) -> None:
    """A value that Advoware has not taken, without saying so."""
    if write.entry_id is None:
        # An entry without its value: nothing to link, and the value is not sent again.
        _stand(applied, write, "kom_not_taken", None)
        return
    applied.links[entry.id] = _held_link(write, entry.key, "kom_not_taken")
    _notify(
        applied,
        write,
        entry.id,
        "kom_not_taken",
        entry.written,
    )


def _stand(applied: Applied, write: Write, reason: str, old: str | None) -> None:
    """Remember that a value does not get into Advoware, and what stands there instead."""
    if write.entry_id is None or old is None:
        if write.link is not None and write.link.espocrm is not None:
            applied.refused_values.add(write.link.espocrm)
        _notify(
            applied,
            write,
            None,
            "kom_refused_by_advoware",
            None,
        )
        return
    key = key_of(family_of(write.komm_kz), old)
    applied.links[write.entry_id] = _held_link(write, key, reason)
    _notify(
        applied,
        write,
        write.entry_id,
        reason,
        old,
    )


def _held_link(write: Write, advoware: Key, reason: str) -> Link:
    """The link of an entry that holds another value than was sent."""
    if write.link is None:
        return Link(None, advoware, None, held=reason)
    return Link(write.link.espocrm, advoware, write.link.type, held=reason)


def _notify(
    applied: Applied,
    write: Write,
    entry_id: int | None,
    reason: str,
    stored: str | None,
) -> None:
    """Notify as later runs do: of EspoCRM's value, or Advoware's if EspoCRM has none any more."""
    value = write.value
    other = stored
    if not value:
        value = stored or ""
        other = None
    applied.notices.append(
        Notice(
            reason,
            kind_of(write.komm_kz),
            value,
            entry_id,
            other,
            is_standing=True,
        ),
    )


def _verify_note(
    applied: Applied,
    write: Write,
    entry: AdvowareEntry,
    stored: Any,
) -> list[Repair]:
    """Whether the note holds marker and text; one that Advoware has cut goes back to what the person wrote."""
    if write.bemerkung is None:
        return []
    marker, text = parse_marker(write.bemerkung)
    if marker is None or (entry.marker == marker and entry.text == text):
        return []
    if not _is_cut(stored, write.bemerkung):
        if entry.marker != marker:  # else a user has changed the text meanwhile
            applied.unmarked.add(entry.id)
        return []
    applied.unmarked.add(entry.id)
    record = {
        "tlf": entry.tlf,
        "kommKz": write.komm_kz,
        "online": write.record["online"],
        "bemerkung": write.text,
    }
    return [(entry.id, record)]


def _is_cut(stored: Any, sent: str) -> bool:
    """Whether Advoware stores only the beginning of a note, or none."""
    note = ""
    if isinstance(stored, str):
        note = stored
    is_shorter = len(note) < len(sent)
    return is_shorter and sent.startswith(note)
