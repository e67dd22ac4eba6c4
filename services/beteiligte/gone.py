"""What has become of a CBeteiligte that EspoCRM does not have any more, and of its number in Advoware.

Merged, deleted, or its number lives on at another record: only what was really deleted is reported as a deletion, and
nothing is ever deleted in Advoware. The survivor of a merge names in ``mergedIds`` whose records it has taken in; the
extension writes that (``Classes/Sync/MergedRecords.php``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from services.advoware_service import AdvowareService
from services.core.errors import NotFound, ValidationFailed
from services.espocrm import EspoCRMAPI
from services.kommunikation_sync_utils import ENTITY_TYPE as KOMMUNIKATION
from services.notification_utils import NotificationManager
from services.values.espocrm_query import Where, contains, equals
from services.vmh_sync.adressen.match import ENTITY_TYPE as ADRESSE
from services.vmh_sync.beteiligte.create import ENTITY_TYPE
from services.vmh_sync.beteiligte.plan import OWN_KINDS
from services.vmh_sync.problem_texts import adressen, kommunikation
from services.vmh_sync.result import Details, Problem
from services.vmh_sync.store import SyncState, SyncStore

MERGED_IDS = "mergedIds"
IN_USE_AGAIN = "Der Beteiligte ist in EspoCRM wieder vorhanden."
GONE_FROM_ADVOWARE = "Der Beteiligte ist in Advoware nicht mehr vorhanden."
#: Reported at a CBeteiligte about what stands between both sides, by the beginnings of the keys.
STANDING_KINDS = (
    *(f"{kind}:{ENTITY_TYPE}:" for kind in OWN_KINDS if kind != "missing_in_advoware"),
    *kommunikation.STATE_KINDS,
    *adressen.DELETE_KINDS,
)

Record = dict[str, Any]


@dataclass(frozen=True)
class Fate:
    """What has become of a record that is gone.

    ``deleted``; ``merged`` into a record with a number of its own; ``lives_on``: another record has its number;
    ``gone_everywhere``: Advoware does not know the number either. ``successor`` is the other record.
    """

    word: Literal["deleted", "merged", "lives_on", "gone_everywhere"]
    successor: Record | None = None

    def took_parts_of(self, entity_id: str) -> bool:
        """Whether addresses and accounts of the record that is gone belong to its successor: a merge moves them."""
        return (
            self.successor is not None
            and entity_id in str(self.successor.get(MERGED_IDS) or "").split()
        )


class GoneBeteiligte:
    """Finds out what has become of records that are gone, and notifies people."""

    def __init__(
        self,
        espocrm: EspoCRMAPI,
        advoware: AdvowareService,
        notifications: NotificationManager,
    ) -> None:
        self._espocrm = espocrm
        self._advoware = advoware
        self._notifications = notifications

    async def fate_of(self, entity_id: str, betnr: str) -> Fate:
        """What has become of a record that a direct read has not found.

        Raises:
            ForeignSystemError: EspoCRM or Advoware does not answer.
        """
        owner = await self._first([equals("betnr", int(betnr))])
        if owner is not None:
            return Fate("lives_on", owner)
        if not await self._is_in_advoware(betnr):
            return Fate("gone_everywhere")
        survivor = await self._survivor(entity_id)
        if survivor is None:
            return Fate("deleted")
        return Fate("merged", survivor)

    async def notify(self, entity_id: str, betnr: str, fate: Fate) -> None:
        """Notify a person of what is left to do in Advoware; nothing if nothing is."""
        if fate.word == "deleted":
            await self._notifications.notify(deleted_problem(entity_id, betnr))
        elif fate.word == "merged" and fate.successor is not None:
            name = await self._notifications.remembered_name(ENTITY_TYPE, entity_id)
            await self._notifications.notify(
                _merged_problem(entity_id, betnr, name, fate.successor),
            )

    async def end_tasks(self, entity_id: str, betnr: str, store: SyncStore) -> None:
        """Withdraw what was reported about the end of this record, or of those that had its number before."""
        former = await store.former_entities(ENTITY_TYPE, betnr)
        keys = [
            key(gone_id)
            for gone_id in {entity_id, *former}
            for key in (deleted_key, merged_key)
        ]
        await self._notifications.withdraw(keys, IN_USE_AGAIN)

    async def end_standing(self, entity_id: str, betnr: str, store: SyncStore) -> None:
        """Withdraw what was reported about differences to a Beteiligter that Advoware does not know any more."""
        await self._notifications.settle(
            ENTITY_TYPE,
            [entity_id],
            STANDING_KINDS,
            [],
            GONE_FROM_ADVOWARE,
        )
        addresses = await store.load_parts(ADRESSE, betnr, entity_id)
        if addresses:
            await self._notifications.settle(
                ADRESSE,
                list(addresses),
                adressen.STATE_KINDS,
                [],
                GONE_FROM_ADVOWARE,
            )

    async def spare_number(
        self,
        espo: Mapping[str, Any],
        store: SyncStore,
    ) -> str | None:
        """The number of a record that was merged into this one, if Advoware knows it and no record has it now.

        Raises:
            ForeignSystemError: EspoCRM or Advoware does not answer.
        """
        for merged_id in str(espo.get(MERGED_IDS) or "").split():
            state = await store.load(ENTITY_TYPE, merged_id)
            if state is None or state.advoware_id is None:
                continue
            fate = await self.fate_of(merged_id, state.advoware_id)
            if fate.word in {"merged", "deleted"}:
                return state.advoware_id
        return None

    async def _survivor(self, entity_id: str) -> Record | None:
        try:
            return await self._first([contains(MERGED_IDS, entity_id)])
        except ValidationFailed:  # the extension is older and does not know the field
            return None

    async def _first(self, where: list[Where]) -> Record | None:
        rows, _ = await self._espocrm.list_entities(
            ENTITY_TYPE,
            where,
            ["id"],
            max_size=1,
        )
        if not rows:
            return None
        try:
            return await self._espocrm.get_entity(ENTITY_TYPE, str(rows[0]["id"]))
        except NotFound:  # deleted since
            return None

    async def _is_in_advoware(self, betnr: str) -> bool:
        try:
            await self._advoware.get_beteiligter(betnr)
        except NotFound:
            return False
        return True


async def inherit_state(
    espo: Mapping[str, Any],
    betnr: str,
    store: SyncStore,
) -> SyncState | None:
    """Take over what was known of a number while it belonged to a record that was merged into this one, else None.

    So what a person has chosen in the merge is an edit of it, and what Advoware has changed since is one there.

    Raises:
        Conflict: another record is linked with the number.
    """
    for merged_id in str(espo.get(MERGED_IDS) or "").split():
        state = await store.load(ENTITY_TYPE, merged_id)
        if state is None or state.advoware_id != betnr:
            continue
        inherited = replace(state, entity_id=str(espo["id"]), deleted_at=None)
        await store.save(inherited)
        await _inherit_kommunikation(str(espo["id"]), merged_id, store)
        return inherited
    return None


async def _inherit_kommunikation(
    entity_id: str,
    merged_id: str,
    store: SyncStore,
) -> None:
    contacts = await store.load(KOMMUNIKATION, merged_id)
    if contacts is not None:
        await store.save(replace(contacts, entity_id=entity_id))


def deleted_key(entity_id: str) -> str:
    """The key of the task about a deleted record."""
    return f"deleted:{ENTITY_TYPE}:{entity_id}"


def missing_key(entity_id: str) -> str:
    """The key of the task about a record whose Beteiligter is gone from Advoware."""
    return f"missing_in_advoware:{ENTITY_TYPE}:{entity_id}"


def merged_key(entity_id: str) -> str:
    """The key of the task about a record that was merged into another one."""
    return f"merged:{ENTITY_TYPE}:{entity_id}"


def deleted_problem(entity_id: str, betnr: str, name: str = "") -> Problem:
    """The problem of a record that was deleted in EspoCRM while Advoware still has its number.

    ``name``: without it the Task names the record as it was last observed.
    """
    details = Details("deleted", betnr, name or None)
    key = deleted_key(entity_id)
    return Problem(
        "general_manual_action",
        ENTITY_TYPE,
        entity_id,
        key,
        details,
    )


def _merged_problem(
    entity_id: str,
    betnr: str,
    name: str | None,
    survivor: Record,
) -> Problem:
    """Reported at the survivor, to whoever looks after that."""
    parts = [str(survivor.get("name") or "")]
    if survivor.get("betnr"):
        parts.append(f"Nr. {survivor['betnr']}")
    other = ", ".join(filter(None, parts))
    details = Details("merged", betnr, name or "ohne Namen", value=other)
    key = merged_key(entity_id)
    owner = str(survivor["id"])
    return Problem(
        "general_manual_action",
        ENTITY_TYPE,
        owner,
        key,
        details,
    )
