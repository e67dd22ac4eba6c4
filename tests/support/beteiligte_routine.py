"""What a secretary does with what is there already: numbers of another kind, values that change places or come back.

`Routine` belongs to the people of `beteiligte_world`; its deeds are the `Retype` and `Rearrange` of
`beteiligte_scenario`.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from beteiligte_scenario import Rearrange, Retype, Side

from services.espocrm_mapper import COMPANY_FIELDS, PERSON_FIELDS
from services.values.kind import kind_of_advoware, kind_of_espocrm

if TYPE_CHECKING:
    from beteiligte_world import Entry, _People

Record = dict[str, Any]

#: The kommKz of each kind that people choose.
KOMM_KZ = {"Office": 1, "Fax": 2, "Mobile": 3, "mail": 4, "web": 5, "Home": 6}
MAIL_KOMM_KZ = frozenset({4, 8})
ARRAYS = {
    "phone": ("phoneNumberData", "phoneNumber"),
    "mail": ("emailAddressData", "emailAddress"),
}
#: The fields of a person that change places.
NAMES = ("vorname", "name")


def kind_of_entry(entry: Record) -> str:
    """What people call an entry of Advoware's Kommunikation."""
    if entry["kommKz"] in MAIL_KOMM_KZ:
        return "mail"
    return {2: "Fax", 3: "Mobile", 6: "Home", 7: "Fax", 9: "Mobile"}.get(
        entry["kommKz"], "Office"
    )


class Routine:
    """Deeds of a user who sees one CBeteiligte, or its Beteiligter."""

    def __init__(self, people: _People) -> None:
        self._people = people
        self._ledger = people._ledger

    def retype(self, step: Retype, espo: Record, advo: Record) -> None:
        """Another kind of number."""
        self._people._touch(step.side, espo["id"], "kommunikation")
        if step.side == "advoware":
            self._retype_in_advoware(step, espo["id"], advo)
        elif step.what == "value" or (step.what, step.kind) == ("both", "mail"):
            to = "mail" if step.kind == "mail" else "phone"
            self._move_to(to, step, espo)
        elif step.kind == "mail":
            to = ("mail", "phone")[step.entry % 2]
            self._move_to(to, step, espo)
        else:
            self._choose_type(step, espo)

    def rearrange(self, step: Rearrange, espo: Record, advo: Record) -> None:
        """The same values, elsewhere or once more."""
        names = {"swap_names", "refill"}
        if step.what not in names:
            self._people._touch(step.side, espo["id"], "kommunikation")
        deed = getattr(self, f"_{step.what}_in_{step.side}", None)
        if deed is not None:
            deed(step, espo, advo)

    # -- another kind -----------------------------------------------------------------------------------------------

    def _retype_in_advoware(self, step: Retype, owner: str, advo: Record) -> None:
        entry = _nth(_filled(advo), step.entry)
        if entry is None:
            return
        change: Record = {"bemerkung": ""} if step.unmarked else {}
        if step.what in {"kind", "both"}:
            change["kommKz"] = KOMM_KZ[step.kind]
        if step.what == "both":
            change["tlf"] = self._text_of(owner, step.kind, step.entry)
        elif step.what == "value":
            is_mail = "@" in entry["tlf"]
            kind = "Office" if is_mail else "mail"
            change["tlf"] = self._text_of(owner, kind, step.entry)
        self._edit(advo, {"id": entry["id"], **change})
        if "tlf" in change:
            self._ledger.give_up(entry["tlf"])

    def _text_of(self, owner: str, kind: str, spelling: int) -> str:
        if kind != "web":
            return self._people._phone("advoware", owner, kind, spelling)
        number = self._people._number("advoware", owner, "kommunikation")
        return f"www.{number}.example.de"

    def _choose_type(self, step: Retype, espo: Record) -> None:
        """Another type of a number in EspoCRM, perhaps with another value in the same save."""
        rows = _rows(espo, "phone")
        row = _nth(rows, step.entry)
        if row is None:
            return
        old = row["phoneNumber"]
        row["type"] = "Other" if step.kind == "web" else step.kind
        if step.what == "both":
            row["phoneNumber"] = self._people._phone("espocrm", espo["id"], step.kind)
        self._save(espo, "phone", rows)
        self._note_type(espo, row)
        if step.what == "both":
            self._ledger.give_up_number(espo["id"], old)

    def _note_type(self, espo: Record, row: Record) -> None:
        self._ledger.types[espo["id"], row["phoneNumber"]] = row["type"]

    def _move_to(self, to: str, step: Retype, espo: Record) -> None:
        """A number goes and a mail address comes, or the other way round, in one save.

        Or the same text goes to the other list; EspoCRM may refuse it there.
        """
        source = "phone" if to == "mail" else "mail"
        left, grown = _rows(espo, source), _rows(espo, to)
        row = _nth(left, step.entry)
        if row is None:
            return
        left.remove(row)
        old = text = row[ARRAYS[source][1]]
        if step.what != "kind":
            kind = "mail" if to == "mail" else "Office"
            text = self._people._phone("espocrm", espo["id"], kind)
        grown.append({ARRAYS[to][1]: text, "primary": not grown})
        arrays = {ARRAYS[source][0]: left, ARRAYS[to][0]: grown}
        self._people._update("CBeteiligte", espo["id"], **arrays)
        if text != old:
            self._ledger.give_up(old)

    # -- two change places ------------------------------------------------------------------------------------------

    def _swap_in_advoware(self, step: Rearrange, espo: Record, advo: Record) -> None:
        entries = _filled(advo)
        if len(entries) < 2:
            return
        first, second = _nth(entries, step.entry), _nth(entries, step.entry + 1)
        self._edit(
            advo,
            {"id": first["id"], "tlf": second["tlf"]},
            {"id": second["id"], "tlf": first["tlf"]},
        )

    def _swap_in_espocrm(self, step: Rearrange, espo: Record, advo: Record) -> None:
        """Type and primary mark stay where they are."""
        family = _family(step.entry)
        rows, attribute = _rows(espo, family), ARRAYS[family][1]
        if len(rows) < 2:
            return
        first, second = _nth(rows, step.entry), _nth(rows, step.entry + 1)
        first[attribute], second[attribute] = second[attribute], first[attribute]
        self._save(espo, family, rows)
        if family == "phone":
            for row in (first, second):
                self._note_type(espo, row)

    def _swap_names_in_advoware(
        self, step: Rearrange, espo: Record, advo: Record
    ) -> None:
        first, last = (advo[name] for name in NAMES)
        if kind_of_advoware(advo) == "person" and first and last:
            self._people._in_advoware(advo, vorname=last, name=first)
            self._note_swapped_names("advoware", espo["id"], first, last)

    def _swap_names_in_espocrm(
        self, step: Rearrange, espo: Record, advo: Record
    ) -> None:
        first, last = (espo[PERSON_FIELDS[name]] for name in NAMES)
        if kind_of_espocrm(espo) == "person" and first and last:
            changes = {PERSON_FIELDS["vorname"]: last, PERSON_FIELDS["name"]: first}
            self._people._update("CBeteiligte", espo["id"], **changes)
            self._note_swapped_names("espocrm", espo["id"], first, last)

    def _note_swapped_names(self, side: Side, owner: str, *names: str) -> None:
        """What stands in the other field now has been put there on this side."""
        for name in NAMES:
            self._people._touch(side, owner, name)
        for entry in self._ledger.entries:
            is_name = entry.owner == owner and entry.subject in NAMES
            if is_name and any(entry.stands_in(name) for name in names):
                other = NAMES[1 - NAMES.index(entry.subject)]
                entry.subject, entry.side = other, side

    # -- once more --------------------------------------------------------------------------------------------------

    def _again_in_advoware(self, step: Rearrange, espo: Record, advo: Record) -> None:
        entry = _nth(_filled(advo), step.entry)
        text = _respelled(entry["tlf"]) if entry else None
        if entry is None or text is None:
            return
        self._edit(advo, {"kommKz": entry["kommKz"], "tlf": text})
        self._ledger.doubled |= self._forms_in(text)

    def _again_in_espocrm(self, step: Rearrange, espo: Record, advo: Record) -> None:
        """EspoCRM takes a mail address in another spelling for the same one."""
        rows = _rows(espo, "mail")
        row = _nth(rows, step.entry)
        if row is None:
            return
        text = row["emailAddress"].swapcase()
        self._save(espo, "mail", [*rows, {"emailAddress": text, "primary": False}])

    def _reenter_in_advoware(self, step: Rearrange, espo: Record, advo: Record) -> None:
        entry = _nth(_filled(advo), step.entry)
        if entry is not None:
            new = {"kommKz": entry["kommKz"], "tlf": entry["tlf"]}
            self._edit(advo, {"id": entry["id"], "delete": True}, new)

    def _reenter_in_espocrm(self, step: Rearrange, espo: Record, advo: Record) -> None:
        family = _family(step.entry)
        rows, attribute = _rows(espo, family), ARRAYS[family][1]
        row = _nth(rows, step.entry)
        if row is None:
            return
        rows.remove(row)
        self._save(espo, family, rows)
        new = {attribute: row[attribute], "primary": not rows}
        kind = {} if family == "mail" else {"type": "Office"}
        self._save(espo, family, [*rows, {**new, **kind}])
        if family == "phone":
            self._note_type(espo, {**row, "type": "Office"})

    def _put_back_in_advoware(
        self, step: Rearrange, espo: Record, advo: Record
    ) -> None:
        shown = " ".join(entry["tlf"] for entry in _filled(advo))
        found = self._removed(espo["id"], shown)
        if found is not None:
            kind, text = found
            self._ledger.types.pop((espo["id"], _e164(text)), None)
            self._edit(advo, {"kommKz": KOMM_KZ.get(kind, 1), "tlf": text})
            self._enter_again("advoware", espo["id"], "kommunikation", text)

    def _put_back_in_espocrm(self, step: Rearrange, espo: Record, advo: Record) -> None:
        shown = [
            row[attribute]
            for family, (_, attribute) in ARRAYS.items()
            for row in _rows(espo, family)
        ]
        found = self._removed(espo["id"], " ".join(shown))
        if found is None:
            return
        kind, text = found
        family = "mail" if "@" in text else "phone"
        rows = _rows(espo, family)
        new: Record = {"emailAddress": text}
        if family == "phone":
            new = {"phoneNumber": _e164(text), "type": kind}
            self._ledger.types.pop((espo["id"], _e164(text)), None)
        self._save(espo, family, [*rows, {**new, "primary": not rows}])
        self._enter_again("espocrm", espo["id"], "kommunikation", text)

    def _removed(self, owner: str, shown: str) -> tuple[str, str] | None:
        """The last number that was removed at a record, with its kind, unless it is shown again."""
        for whose, kind, text in reversed(self._ledger.removed):
            forms = self._forms_in(text)
            if whose == owner and forms and not any(form in shown for form in forms):
                return kind, text
        return None

    def _refill_in_advoware(self, step: Rearrange, espo: Record, advo: Record) -> None:
        for name, value in self._cleared(espo["id"]):
            if _fields(kind_of_advoware(advo), name) and not advo[name]:
                self._people._in_advoware(advo, **{name: value})
                self._enter_again("advoware", espo["id"], name, value)

    def _refill_in_espocrm(self, step: Rearrange, espo: Record, advo: Record) -> None:
        for name, value in self._cleared(espo["id"]):
            attribute = _fields(kind_of_espocrm(espo), name)
            if attribute and not espo[attribute]:
                self._people._update("CBeteiligte", espo["id"], **{attribute: value})
                self._enter_again("espocrm", espo["id"], name, value)

    def _cleared(self, owner: str) -> list[tuple[str, str]]:
        return [
            (name, value)
            for (whose, name), value in self._ledger.cleared.items()
            if whose == owner
        ]

    def _enter_again(self, side: Side, owner: str, subject: str, text: str) -> None:
        """What a user gave up is entered again, so it must be kept again."""
        self._people._touch(side, owner, subject)
        again = [
            replace(entry, side=side, owner=owner, subject=subject, is_given_up=False)
            for entry in self._entries_in(text)[-1:]
        ]
        self._ledger.entries += again

    def _primary_in_espocrm(self, step: Rearrange, espo: Record, advo: Record) -> None:
        family = _family(step.entry)
        rows = _rows(espo, family)
        chosen = _nth(rows, step.entry // 2)
        for row in rows:
            row["primary"] = row is chosen
        self._save(espo, family, rows)

    # -- what is there ----------------------------------------------------------------------------------------------

    def _entries_in(self, text: str) -> list[Entry]:
        return [entry for entry in self._ledger.entries if entry.stands_in(text)]

    def _forms_in(self, text: str) -> set[str]:
        return {form for entry in self._entries_in(text) for form in entry.forms}

    def _edit(self, advo: Record, *entries: Record) -> None:
        self._people._in_advoware(advo, kommunikation=[*entries])

    def _save(self, espo: Record, family: str, rows: list[Record]) -> None:
        self._people._update("CBeteiligte", espo["id"], **{ARRAYS[family][0]: rows})


def _filled(advo: Record) -> list[Record]:
    return [entry for entry in advo["kommunikation"] if entry["tlf"]]


def _rows(espo: Record, family: str) -> list[Record]:
    return [dict(row) for row in espo[ARRAYS[family][0]]]


def _nth(rows: list[Record], number: int) -> Any:
    return rows[number % len(rows)] if rows else None


def _family(entry: int) -> str:
    return ("phone", "mail")[entry % 2]


def _fields(kind: str, name: str) -> str | None:
    """EspoCRM's name of a field that this kind of party has."""
    return (COMPANY_FIELDS if kind == "company" else PERSON_FIELDS).get(name)


def _respelled(text: str) -> str | None:
    """The same number or mail address, written in another way; None if we know no other."""
    if "@" in text:
        return text.swapcase()
    if re.search(r"[A-Za-z]", text):
        return None
    national = f"0{_e164(text).removeprefix('+49')}"
    area, number = national[:4], national[4:]
    return next(
        form for form in (f"{area} / {number}", f"{area}-{number}") if form != text
    )


def _e164(text: str) -> str:
    digits = re.sub(r"\D", "", text)
    return f"+49{digits.removeprefix('49').removeprefix('0')}"
