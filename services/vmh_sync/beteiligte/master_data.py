"""Writing the master data of one Beteiligter to either side, field by field where the receiver refuses the whole.

What we send is checked first (`BeteiligteMapper.unfit`). If the receiver still answers 400 to the whole object, the
offending field is found by its message, else one by one; it is left out and the rest is sent (specification 13, G6).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from services.advoware_service import AdvowareService
from services.core.errors import ForeignSystemError, ValidationFailed, words_of
from services.espocrm_mapper import BeteiligteMapper
from services.values.merge import (
    Pair,
    Value,
    Values,
    compare_after_write,
    is_same,
    only,
)
from services.vmh_sync.beteiligte.plan import (
    Observation,
    Standing,
    proves_edit,
    shown_by,
    shown_pair,
    standing_of_pairs,
)

Record = dict[str, Any]
#: Sends these fields in one request.
Send = Callable[[Record], Awaitable[Any]]


@dataclass(frozen=True)
class Written:
    """What became of master data that were written to Advoware.

    Attributes:
        advo: the Beteiligter as read after the write.
        pairs: the fields that did not arrive as sent, as what both sides hold now.
        standing: the same, as what people are notified of.
        beside: fields that we did not change and that Advoware has stored differently, as it holds them now.
        wrote: whether a request has changed something.
    """

    advo: Record
    pairs: Mapping[str, Pair] = field(default_factory=dict)
    standing: Mapping[str, Standing] = field(default_factory=dict)
    beside: Mapping[str, Value] = field(default_factory=dict)
    wrote: bool = False


async def send_what_is_accepted(
    fields: Record,
    send: Send,
) -> tuple[set[str], dict[str, str]]:
    """Send the fields in one request, or all but those that the receiver refuses.

    Returns the names that were accepted, and for each refused one the receiver's words.

    Raises:
        ValidationFailed: the receiver refuses the request whatever is in it; nothing was written.
        ForeignSystemError: any other failure.
    """
    refused: dict[str, str] = {}
    left = dict(fields)
    while left:
        try:
            await send(left)
        except ValidationFailed as error:
            culprit = named_field(error, left)
            if culprit is None:
                return await _send_one_by_one(left, send, refused, error)
            refused[culprit] = words_of(error)
            del left[culprit]
        else:
            return set(left), refused
    return set(), refused


async def _send_one_by_one(
    fields: Record,
    send: Send,
    refused: dict[str, str],
    whole: ValidationFailed,
) -> tuple[set[str], dict[str, str]]:
    accepted: set[str] = set()
    if len(fields) == 1:
        return accepted, {**refused, **dict.fromkeys(fields, words_of(whole))}
    for name, value in fields.items():
        try:
            await send({name: value})
        except ValidationFailed as error:
            refused[name] = words_of(error)
        else:
            accepted.add(name)
    return accepted, refused


def named_field(error: ForeignSystemError, fields: Record) -> str | None:
    """The one field that the refusal names, in its message or in its details."""
    words = error.reason
    if error.details is not None:
        words = f"{words} {error.details}"
    named = [name for name in fields if _names(words, name)]
    if len(named) != 1:
        return None
    return named[0]


def _names(words: str, field_name: str) -> bool:
    """Whether the name of a field stands in a text by itself, in small letters or capitals."""
    pattern = rf"(?<![\w]){re.escape(field_name)}(?![\w])"
    return re.search(pattern, words, re.IGNORECASE) is not None


class MasterDataWriter:
    """Writes the master data of a Beteiligter to Advoware."""

    def __init__(self, advoware: AdvowareService, mapper: BeteiligteMapper) -> None:
        self._advoware = advoware
        self._mapper = mapper

    async def write(
        self,
        observed: Observation,
        values: Values,
        now: datetime,
    ) -> Written:
        """PUT the full object as read, overlaid with the values, and read it back.

        What changes in the fields that were only sent along is Advoware's doing as well, unless the answer proves that
        a user has edited them.

        Raises:
            ForeignSystemError: Advoware cannot be reached, or refuses the object whatever is in it.
        """
        betnr = observed.advo["betNr"]
        comparable = self._mapper.comparable_from_advoware
        latest = dict(observed.advo)
        stored: dict[str, Value] = {}
        beside: dict[str, Value] = {}

        async def send(fields: Record) -> None:
            nonlocal latest
            before = latest
            last = comparable(before)
            body = {**before, **self._mapper.to_advoware(fields)}
            answer = await self._advoware.update_beteiligter(betnr, body)
            latest = await self._advoware.get_beteiligter(betnr)
            shown = comparable(shown_by(answer, latest, before))
            for name in fields:
                if name in shown:
                    stored[name] = shown[name]
            comparable_names = shown.keys() & last.keys()
            if answer is not None and proves_edit(answer, latest, before):
                comparable_names &= answer.keys()
            for name in comparable_names - values.keys():
                if not is_same(shown[name], last[name]):
                    beside[name] = shown[name]

        accepted, invalid = await send_what_is_accepted(dict(values), send)
        sent = only(values, accepted)
        before = comparable(observed.advo)
        refused, altered = compare_after_write(sent, before, stored, side="advoware")
        pairs = {**refused, **altered}
        standing = {
            **standing_of_pairs(refused, "espocrm", "refused", now),
            **standing_of_pairs(altered, "espocrm", "altered", now),
        }
        espocrm = self._mapper.comparable_from_espocrm(observed.espo)
        taken = comparable(latest)
        for name, words in invalid.items():
            pair = shown_pair(name, espocrm, taken)
            pairs[name] = pair
            item = standing_of_pairs({name: pair}, "espocrm", "invalid", now)
            standing[name] = replace(item[name], words=words)
        return Written(
            latest,
            pairs,
            standing,
            beside,
            wrote=bool(accepted),
        )
