"""Creates in Advoware without an answer whose CAdressen is not where it was then: moved, deleted, or of another number.

What such a create has left in Advoware belongs to no one who is there now. It is remembered as left behind by its
CAdressen, so that it comes back to no one as new, and a person deletes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.adressen_mapper import adressen_of
from services.advoware_service import AdvowareService
from services.core.errors import NotFound, UnexpectedAnswer
from services.core.resources import Resources
from services.vmh_sync.adressen.match import (
    BETNR,
    ENTITY_TYPE,
    OWNER_ID,
    left_behind,
    left_by_creates,
)
from services.vmh_sync.create_once import left_by_create
from services.vmh_sync.store import CreateIntent, SyncState, SyncStore


class LostCreates:
    """Finds what such creates have left. They end here."""

    def __init__(self, advoware: AdvowareService, resources: Resources) -> None:
        self._advoware = advoware
        self._resources = resources

    async def end(self, entity_id: str, betnr: str, store: SyncStore) -> None:
        """End the create of a CAdressen, and remember what it has left.

        ``betnr`` is where it was made if it has not noted that.

        Raises:
            NotBefore: its request may still be under way.
            ForeignSystemError: Advoware or PostgreSQL does not answer.
        """

        async def find(intent: CreateIntent) -> SyncState | None:
            noted = str(intent.posted.get(BETNR) or betnr)
            return await self._left_at(noted, entity_id, intent.posted, store)

        key = (ENTITY_TYPE, entity_id)
        state = await left_by_create(store, key, find, resources=self._resources)
        if state is not None:
            await store.save(state)
            await store.end_create(*key)

    async def _left_at(
        self,
        betnr: str,
        entity_id: str,
        sent: Mapping[str, Any],
        store: SyncStore,
    ) -> SyncState | None:
        try:
            listing = adressen_of(await self._advoware.get_beteiligter(betnr))
        except NotFound:
            return None
        if listing is None or listing.unreadable:
            raise UnexpectedAnswer("Advoware", "the list of Adressen is not readable")
        owner_id = str(sent.get(OWNER_ID) or "")
        states = await store.load_parts(ENTITY_TYPE, betnr, owner_id)
        found = left_by_creates(
            {entity_id: sent},
            states,
            [],
            listing.adressen,
            betnr,
        )
        if entity_id not in found:
            return None
        link = f"{betnr}/{found[entity_id]['id']}"
        state = SyncState(ENTITY_TYPE, entity_id, advoware_id=link)
        return left_behind(state, self._resources.now(), sent.get(OWNER_ID))
