"""Creating a Beteiligter in Advoware exactly once.

Advoware offers no idempotency key. So the intent, with the values to be sent, is stored before the POST; an attempt of
unknown fate is looked for before it is repeated; and what was found or created is stored before anything else is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from services.advoware_models import parse_date_time
from services.advoware_service import AdvowareService
from services.errors import Conflict, ForeignSystemError, NotBefore, Unavailable
from services.espocrm_mapper import BeteiligteMapper
from services.resources import Resources
from services.sync_state import SyncStore

ENTITY_TYPE = "CBeteiligte"
#: How far Advoware's clock may be behind ours when we look for what an interrupted create has left.
CLOCK_TOLERANCE = timedelta(minutes=5)
#: What two records must have in common to be the same one; other fields Advoware may have adjusted.
IDENTITY = ("name", "vorname", "geburtsdatum")
MAX_ADOPTIONS = 5


@dataclass(frozen=True)
class Created:
    """A Beteiligter that this or an earlier attempt has created, and the comparable values that were sent."""

    betnr: str
    posted: Mapping[str, Any]
    was_found: bool


class BeteiligteCreator:
    """Creates Beteiligte, each once. The caller holds the record's lock."""

    def __init__(self, advoware: AdvowareService, store: SyncStore, resources: Resources) -> None:
        self._advoware = advoware
        self._store = store
        self._resources = resources
        self._mapper = BeteiligteMapper()

    async def create(self, espo: Mapping[str, Any]) -> Created:
        """Create the Beteiligter of a CBeteiligte, or find the one that an earlier attempt has created.

        The intent stays until the caller ends it (`SyncStore.end_create`), once the link is stored on both sides.

        Raises:
            InvalidInput: the record cannot be expressed in Advoware.
            ForeignSystemError: Advoware refuses it or cannot be reached.
            Conflict: several equal records are being created, and others were faster each time.
            NotBefore: an earlier attempt may still be under way.
        """
        entity_id = espo["id"]
        record = self._mapper.map_cbeteiligte_to_advoware(espo)
        values = self._mapper.comparable_from_espocrm(espo)
        intent = await self._store.begin_create(ENTITY_TYPE, entity_id, values, self._now())
        if intent.advoware_id is not None:
            return Created(intent.advoware_id, intent.posted, was_found=False)
        if intent.is_repeated:
            self._require_ended(intent.attempted_at)
            found = await self._adopt(entity_id, intent.posted, intent.started_at)
            if found is not None:
                return Created(found, intent.posted, was_found=True)
            await self._store.repeat_create(ENTITY_TYPE, entity_id, values, self._now())
        return Created(await self._post(record, entity_id), values, was_found=False)

    async def _adopt(self, entity_id: str, posted: Mapping[str, Any], since: datetime) -> str | None:
        """Find what an earlier attempt has created and note it; of equal ones another create may take one first."""
        for _ in range(MAX_ADOPTIONS):
            found = await self._find(posted, since)
            if found is None:
                return None
            try:
                await self._store.created(ENTITY_TYPE, entity_id, found)
            except Conflict:
                continue
            return found
        raise Conflict("PostgreSQL", "other creates keep taking the record that was found")

    async def _post(self, record: dict[str, Any], entity_id: str) -> str:
        try:
            created = await self._advoware.create_beteiligter(record)
        except ForeignSystemError as error:
            refused = error.status is not None and 400 <= error.status < 500
            if refused or (isinstance(error, Unavailable) and not error.was_sent):
                await self._store.end_create(ENTITY_TYPE, entity_id)
            raise
        betnr = str(created["betNr"])
        await self._store.created(ENTITY_TYPE, entity_id, betnr)
        return betnr

    def _require_ended(self, attempted_at: datetime) -> None:
        """Refuse to go on while an interrupted request may still reach Advoware."""
        latest = attempted_at + timedelta(seconds=self._resources.settings.advoware.api_timeout_seconds)
        if latest > self._now():
            raise NotBefore("an interrupted request", latest)

    async def _find(self, posted: Mapping[str, Any], since: datetime) -> str | None:
        """The betNr of what an earlier attempt created: same person, created since then, linked with nothing."""
        filters = {name: str(posted[name]) for name in ("name", "vorname") if posted.get(name)}
        found = []
        for row in await self._advoware.find_beteiligte(**filters):
            created_at = parse_date_time(row.get("angelegtAm"))
            if created_at is None or created_at < since - CLOCK_TOLERANCE:
                continue
            values = self._mapper.comparable_from_advoware(row)
            if all(values.get(name, posted.get(name)) == posted.get(name) for name in IDENTITY):
                found.append(int(row["betNr"]))
        linked = await self._store.linked_advoware_ids(ENTITY_TYPE, [str(betnr) for betnr in found])
        return next((str(betnr) for betnr in sorted(found) if str(betnr) not in linked), None)

    def _now(self) -> datetime:
        return self._resources.clock().astimezone(UTC)
