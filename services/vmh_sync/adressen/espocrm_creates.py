"""Creates in EspoCRM without an answer, whose CAdressen belongs to another Beteiligter before it is known.

A new CAdressen names its Adresse, so its owner's next sync knows it. If a person has moved it by then, or its
CBeteiligte has another number, it would pass for one whose Adresse is gone, and the Adresse for a new one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from services.core.resources import Resources
from services.espocrm import EspoCRMAPI
from services.values.espocrm_query import equals
from services.vmh_sync.adressen.match import ENTITY_TYPE, Record
from services.vmh_sync.store import SyncState, SyncStore, key_of_link

#: What a create has noted: for which Adresse it is, and which version of that it has sent. The CAdressen names both.
_LINK = "link"
_ROW_ID = "rowId"


class EspoCRMCreates:
    """Notes such creates, and links what they have left as their answers would have done."""

    def __init__(self, espocrm: EspoCRMAPI, resources: Resources) -> None:
        self._espocrm = espocrm
        self._resources = resources

    async def begin(self, link: str, adresse: Record, store: SyncStore) -> bool:
        """Note, before the request, that the CAdressen of an Adresse is created.

        Returns whether an earlier attempt has left it: then it is linked now, or in EspoCRM's list after all.

        Raises:
            ForeignSystemError: EspoCRM or PostgreSQL does not answer.
        """
        key = key_of_link(ENTITY_TYPE, link)
        noted = {_LINK: link, _ROW_ID: adresse.get("rowId")}
        intent = await store.begin_create(*key, noted, self._resources.now())
        if not intent.is_repeated:
            return False
        created = self._espocrm.search_entities(
            ENTITY_TYPE,
            [equals("advowareId", adresse["id"])],
            ("advowareId", "advowareRowId"),
        )
        async for row in created:
            if _is_left(row, intent.posted):
                await store.save(_state(row, link))
                return True
        await store.repeat_create(*key, noted, self._resources.now())
        return False

    async def link_moved(
        self,
        rows: Sequence[Record],
        known: Mapping[str, SyncState],
        betnr: str,
        store: SyncStore,
    ) -> dict[str, SyncState]:
        """Link the rows that such a create has left for another Beteiligter than ``betnr``; returns their states.

        ``known`` are the states of the rows that have one.
        """
        unknown = [row for row in rows if row["id"] not in known]
        elsewhere = await _noted_for_others(unknown, betnr, store)
        states = {}
        for link, posted in elsewhere.items():
            left = [row for row in unknown if _is_left(row, posted)]
            if left:  # a further one is a copy of it
                state = _state(left[0], link)
                await store.save(state)
                states[state.entity_id] = state
        return states


async def _noted_for_others(
    rows: Sequence[Record],
    betnr: str,
    store: SyncStore,
) -> dict[str, Mapping[str, Any]]:
    """What creates have noted for the Adressen that the rows name, of other Beteiligte than ``betnr``, by link."""
    ids = {row["advowareId"] for row in rows if row.get("advowareId")}
    if not ids:
        return {}
    noted = await store.creates_of_parts(ENTITY_TYPE, ids)
    return {
        link: posted
        for link, posted in noted.items()
        if not link.startswith(f"{betnr}/")
    }


def _is_left(row: Record, posted: Mapping[str, Any]) -> bool:
    """Whether a CAdressen is what a create has made: it names the Adresse and its version then."""
    _, _, adresse_id = str(posted.get(_LINK)).partition("/")
    row_id = posted.get(_ROW_ID)
    if row_id is None or row.get("advowareRowId") != row_id:
        return False
    return str(row.get("advowareId")) == adresse_id


def _state(row: Record, link: str) -> SyncState:
    return SyncState(ENTITY_TYPE, row["id"], advoware_id=link)
