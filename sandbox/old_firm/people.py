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
    parties = tuple(islice(_copies(seed, today), number))
    return Firm(make_employees(seed), parties, ())


def _copies(seed: int, today: date) -> Iterator[Party]:
    for copy in count():
        for party in make_parties(seed + copy, today):
            if party.sides == "both":
                yield _moved(party, copy * _APART)


def _moved(party: Party, by: int) -> Party:
    addresses = tuple(
        replace(each, advoware_id=each.advoware_id + by) for each in party.addresses
    )
    accounts = tuple(
        replace(each, advoware_id=each.advoware_id + by) for each in party.bank_accounts
    )
    return replace(
        party, betnr=party.betnr + by, addresses=addresses, bank_accounts=accounts
    )
