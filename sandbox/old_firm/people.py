"""The sample firm's parties, as often as wanted, each with numbers and ids of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from itertools import count, islice

from sandbox.firm.build import Firm, Party
from sandbox.firm.people import make_employees, make_parties

#: Between the numbers of one copy of the firm and the next.
_APART = 1000


def make_old_parties(seed: int, today: date, number: int) -> Firm:
    """A firm without appointments, with so many parties; all of them are known to both systems."""
    employees = make_employees(seed)
    parties = islice(_copies(seed, today), number)
    return Firm(employees, tuple(parties), ())


def _copies(seed: int, today: date) -> Iterator[Party]:
    for copy in count():
        for party in make_parties(seed + copy, today):
            if party.sides == "both":
                yield _moved(party, copy * _APART)


def _moved(party: Party, by: int) -> Party:
    """The same party under other numbers."""
    addresses = []
    for address in party.addresses:
        addresses.append(replace(address, advoware_id=address.advoware_id + by))
    accounts = []
    for account in party.bank_accounts:
        accounts.append(replace(account, advoware_id=account.advoware_id + by))
    return replace(
        party,
        betnr=party.betnr + by,
        addresses=tuple(addresses),
        bank_accounts=tuple(accounts),
    )
