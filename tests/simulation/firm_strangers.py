"""Nothing of one person gets to another: also where Advoware gives the number of a person to another one.

What people type has a number that is used once, and the ledger knows for whom it was typed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from beteiligte_scenario import Browse, CopyAddress, ShareContact
from beteiligte_world import FIRST_NUMBER, BeteiligteWorld, Entry

from sandbox.advoware.records import BERLIN

#: Ids of EspoCRM, in which six digits of a number that a user has typed may stand by chance.
_ID = re.compile(r"\b[0-9a-f]{17}\b")


class _Place(NamedTuple):
    """Everything that a system shows of a person."""

    name: str
    owner: str
    text: str


def give_last_number_again(office: BeteiligteWorld) -> str | None:
    """Advoware puts a backup back, and a user enters another person, who gets the number of the one that is lost.

    Returns that number, None if no one is there.
    """
    known = office.beteiligte()
    if not known:
        return None
    lost = max(known, key=lambda record: int(record["betNr"]))
    created = datetime.fromisoformat(lost["angelegtAm"]).replace(tzinfo=BERLIN)
    store = office.advoware.beteiligte
    store.go_back(created - timedelta(seconds=1))
    office.ledger.give_up(lost)
    name = f"Fremd {_typed_for(office, owner_of(lost['betNr']))}"
    stranger = store.create({"name": name, "vorname": "Toni"}, "SB")
    assert stranger["betNr"] == lost["betNr"], (stranger, lost)
    phone, street = (_typed_for(office, owner_of(lost["betNr"])) for _ in range(2))
    store.edit(
        stranger["betNr"],
        {
            "kommunikation": [{"kommKz": 1, "tlf": f"0511 / {phone}"}],
            "adressen": [{"strasse": f"Gasse {street}", "plz": "10115", "ort": "B"}],
        },
        "SB",
    )
    return str(stranger["betNr"])


def owner_of(betnr: Any) -> str:
    """Whose the entries are that were made for the person who has got this number again."""
    return f"stranger {betnr}"


def _typed_for(office: BeteiligteWorld, owner: str) -> int:
    number = FIRST_NUMBER + len(office.ledger.entries)
    entry = Entry((str(number),), "advoware", owner, "name", is_given_up=True)
    office.ledger.entries.append(entry)
    return number


def share_nothing(steps: Iterable[Any]) -> bool:
    """Whether no one enters a value of one person at another."""
    return not any(isinstance(s, Browse | CopyAddress | ShareContact) for s in steps)


def assert_nothing_of_another(office: BeteiligteWorld, strangers: set[str]) -> None:
    """No system shows at a person what was typed for another. ``strangers``: numbers that were given again."""
    for place in _places(office, strangers):
        for entry in office.ledger.entries:
            is_of_another = entry.owner != place.owner and entry.stands_in(place.text)
            assert not is_of_another, (
                f"at {place.name}, whose is {place.owner}, stands what was typed for another: {entry}"
            )


def _places(office: BeteiligteWorld, strangers: set[str]) -> Iterator[_Place]:
    rows = office.rows("CBeteiligte")
    for row in rows:
        parts = [
            office.rows(entity, beteiligteId=row["id"])
            for entity in ("CAdressen", "CBankverbindungen")
        ]
        yield _Place(f"CBeteiligte {row['id']}", row["id"], _text([row, parts]))
    owners = {str(row["betnr"]): row["id"] for row in rows}
    owners |= {betnr: owner_of(betnr) for betnr in strangers}
    for advo in office.beteiligte():
        owner = owners.get(str(advo["betNr"]))
        if owner is not None:
            yield _Place(f"Beteiligter {advo['betNr']}", owner, _text(advo))


def _text(shown: Any) -> str:
    return _ID.sub("", json.dumps(shown, ensure_ascii=False, default=str))
