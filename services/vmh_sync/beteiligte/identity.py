"""A number is not an identity: whether a Beteiligter is still the one that a record was linked with.

Advoware gives numbers again when it has lost its last records, as after a restored backup. Two people must not be mixed
then, and older values must not replace newer ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from services.advoware_service import AdvowareService
from services.core.errors import DifferentPerson, NotFound, OlderState
from services.espocrm_mapper import BeteiligteMapper
from services.values.advoware_protocol import parse_change_time
from services.values.merge import base_from_json, held_by_advoware
from services.vmh_sync.store import SyncState, SyncStore

#: Advoware's change times may be written with or without a zone; a backup is older than the difference.
RESTORE_TOLERANCE = timedelta(hours=3)
#: So many linked numbers above a missing one are looked at.
NEIGHBOURS = 3


def require_same_person(
    espo: Mapping[str, Any],
    advo: Mapping[str, Any],
    state: SyncState | None,
    mapper: BeteiligteMapper,
) -> None:
    """Refuse a Beteiligter who is another person than the record that has his number. Pure.

    Raises:
        DifferentPerson: the number was given again: the record was created at another time, and the name differs. Or it
            is to be linked for the first time, and the two share neither a name nor the birth date.
    """
    espocrm = mapper.comparable_from_espocrm(espo)
    advoware = mapper.comparable_from_advoware(advo)
    shared, different = mapper.compare_identity(espocrm, advoware)
    if not different:
        return
    if state is None or state.advoware_id != str(advo["betNr"]):
        if not shared and not mapper.is_alike(espocrm, advoware):
            raise DifferentPerson(
                f"betnr {advo['betNr']} and the record that names it are different people",
                str(advo["betNr"]),
            )
        return
    base = base_from_json(state.base)
    _, different = mapper.compare_identity(held_by_advoware(base), advoware)
    if different and _was_created_again(advo, state):
        raise DifferentPerson(
            f"betnr {state.advoware_id} stands for another person in Advoware",
            state.advoware_id,
        )


def _was_created_again(advo: Mapping[str, Any], state: SyncState) -> bool:
    """Whether a Beteiligter is another record than the one that was linked, by the times at which they were created."""
    created_at = parse_change_time(advo.get("angelegtAm"))
    noted_at = state.advoware_created_at
    if created_at is None or noted_at is None:
        return False
    return not _are_same_moment(created_at, noted_at)


def require_no_older_state(state: SyncState, advo: Mapping[str, Any]) -> None:
    """Refuse a Beteiligter who shows an older state than at the last sync. Pure.

    Raises:
        OlderState: the record has changed, but its time of change lies before that of the last sync.
    """
    if state.advoware_id != str(advo["betNr"]):
        return
    if advo.get("rowId") == state.advoware_row_id:
        return
    changed_at = parse_change_time(advo.get("geaendertAm"))
    known_at = state.advoware_changed_at
    if changed_at is None or known_at is None:
        return
    if changed_at < known_at - RESTORE_TOLERANCE:
        raise OlderState(
            f"betnr {state.advoware_id}: Advoware shows an older state than at the last sync",
        )


def _are_same_moment(one: datetime, other: datetime) -> bool:
    """Whether two times are the same one, written with or without fractions, a zone or summer time."""
    difference = one.replace(microsecond=0) - other.replace(microsecond=0)
    seconds = abs(difference).total_seconds()
    return seconds % 3600 == 0 and seconds < RESTORE_TOLERANCE.total_seconds()


async def has_lost_its_last_numbers(
    betnr: int,
    store: SyncStore,
    advoware: AdvowareService,
) -> bool:
    """Whether a missing number is one of the last, and the linked numbers beside it are missing as well.

    Raises:
        ForeignSystemError: Advoware or PostgreSQL does not answer.
    """
    linked = await store.neighbours("CBeteiligte", betnr, NEIGHBOURS)
    neighbours = list(map(int, linked))
    above = [number for number in neighbours if number > betnr]
    for number in above or neighbours:
        try:
            await advoware.get_beteiligter(number)
        except NotFound:
            continue
        return False
    return bool(neighbours)
