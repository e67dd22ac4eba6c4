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

#: Which version of the Adresse a create has sent: the CAdressen names it too.
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
        noted = {_ROW_ID: adresse.get("rowId")}
        intent = await store.begin_create(*key, noted, self._resources.now())
        if not intent.is_repeated:
            return False
        created = self._espocrm.search_entities(
            ENTITY_TYPE,
            [equals("advowareId", adresse["id"])],
            ("advowareId", "advowareRowId"),
        )
        links = {link: intent.posted}
        async for row in created:
            if _is_left(row, link, links):
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
        ids = {row["advowareId"] for row in unknown if row.get("advowareId")}
        if not ids:
            return {}
        noted = await store.creates_of_parts(ENTITY_TYPE, ids)
        states = {}
        for row in unknown:
            for link in noted:
                is_here = link.startswith(f"{betnr}/")
                if not is_here and _is_left(row, link, noted):
                    states[row["id"]] = _state(row, link)
                    await store.save(states[row["id"]])
        return states


def _is_left(row: Record, link: str, noted: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether a CAdressen is what the create for a link has made: it names the Adresse and its version then."""
    _, _, adresse_id = link.partition("/")
    row_id = noted[link].get(_ROW_ID)
    if row_id is None or row.get("advowareRowId") != row_id:
        return False
    return str(row.get("advowareId")) == adresse_id


def _state(row: Record, link: str) -> SyncState:
    return SyncState(ENTITY_TYPE, row["id"], advoware_id=link)
