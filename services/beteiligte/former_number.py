"""What a CBeteiligte has agreed on with a Beteiligter whose number it does not have any more.

A wrong number is soon corrected. What a person has edited meanwhile, on either side, is an edit then, and not the
difference of two records that were never compared.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from services.kommunikation_sync_utils import ENTITY_TYPE as KOMMUNIKATION
from services.values.merge import without
from services.vmh_sync.beteiligte.create import ENTITY_TYPE
from services.vmh_sync.store import SyncState, SyncStore


async def set_aside(state: SyncState, store: SyncStore, now: datetime) -> None:
    """Keep what is known of a CBeteiligte and its number until it has that again, or the retention empties it.

    It belongs to the CBeteiligte alone: whoever gets the number next is another person.
    """
    number = str(state.advoware_id)
    known = [state]
    contacts = await store.load(KOMMUNIKATION, state.entity_id)
    if contacts is not None and str(contacts.base.get("betNr")) == number:
        known.append(contacts)
    for item in known:
        kept = replace(item, entity_type=_type_for(item.entity_type, number))
        await store.save(replace(kept, advoware_id=None, deleted_at=now))


async def take_back(entity_id: str, number: str, store: SyncStore) -> SyncState | None:
    """Bring back what is known of a CBeteiligte and a number that it had before, else None.

    Not if another record has had the number since: what that has written is no edit of this one's.

    Raises:
        Conflict: another record is linked with the number.
    """
    kept_type = _type_for(ENTITY_TYPE, number)
    kept_contacts_type = _type_for(KOMMUNIKATION, number)
    kept = await store.load(kept_type, entity_id)
    if kept is None or await store.was_linked_since(
        ENTITY_TYPE,
        number,
        kept_type,
        kept,
    ):
        return None
    contacts = await store.load(kept_contacts_type, entity_id)
    # First, as what is agreed on from now on makes it old.
    await store.forget([kept_type, kept_contacts_type], entity_id)
    if contacts is not None:
        await store.save(
            replace(contacts, entity_type=KOMMUNIKATION, deleted_at=None),
        )
    # What waited for a person is compared again: its tasks have ended with the other number.
    base = without(kept.base, kept.rejected)
    state = replace(
        kept,
        entity_type=ENTITY_TYPE,
        advoware_id=number,
        base=base,
        rejected={},
        deleted_at=None,
    )
    await store.save(state)
    return state


def _type_for(entity_type: str, number: str) -> str:
    """The type under which what is known of a former number is kept."""
    return f"{entity_type}@{number}"
