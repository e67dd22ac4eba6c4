"""Who is meant by a betNr or an id of EspoCRM: all records and numbers of one person."""

from __future__ import annotations

import re
from dataclasses import dataclass

import asyncpg

from services.core.database import database_errors
from services.core.errors import InvalidInput, NotFound

ENTITY_TYPE = "CBeteiligte"
_BETNR = re.compile(r"\d{1,12}")
_ID = re.compile(r"[0-9A-Za-z-]{1,36}")

_IDS_OF_BETNR = """
SELECT entity_id FROM sync_state WHERE entity_type = 'CBeteiligte' AND advoware_id = $1
UNION SELECT entity_id FROM (
    SELECT entity_id FROM create_intent WHERE entity_type = 'CBeteiligte' AND advoware_id = $1
    UNION SELECT entity_id FROM sync_audit WHERE entity_type = 'CBeteiligte' AND split_part(advoware_id, '/', 1) = $1
) AS former
WHERE NOT EXISTS (
    SELECT 1 FROM sync_state AS own WHERE own.entity_type = 'CBeteiligte' AND own.deleted_at IS NULL
        AND own.entity_id = former.entity_id AND own.advoware_id <> $1)
"""
_BETNRS_OF_ID = """
SELECT advoware_id AS betnr FROM (
    SELECT advoware_id FROM sync_state WHERE entity_type = 'CBeteiligte' AND entity_id = $1
    UNION SELECT advoware_id FROM create_intent WHERE entity_type = 'CBeteiligte' AND entity_id = $1
    UNION SELECT advoware_id FROM sync_audit WHERE entity_type = 'CBeteiligte' AND entity_id = $1
) AS known
WHERE advoware_id IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM sync_state AS other WHERE other.entity_type = 'CBeteiligte' AND other.deleted_at IS NULL
        AND other.advoware_id = known.advoware_id AND other.entity_id <> $1)
"""
_PARTS = """
SELECT entity_id FROM sync_state WHERE entity_type IN ('CAdressen', 'CBankverbindungen')
    AND (split_part(advoware_id, '/', 1) = ANY($2) OR released_from = ANY($2) OR base->>'beteiligteId' = ANY($1))
UNION SELECT entity_id FROM sync_audit WHERE entity_type IN ('CAdressen', 'CBankverbindungen')
    AND split_part(advoware_id, '/', 1) = ANY($2)
"""
_IS_KNOWN = """
SELECT EXISTS (SELECT 1 FROM sync_state WHERE entity_id = $1)
    OR EXISTS (SELECT 1 FROM create_intent WHERE entity_id = $1)
    OR EXISTS (SELECT 1 FROM sync_audit WHERE entity_id = $1)
    OR EXISTS (SELECT 1 FROM notification WHERE entity_id = $1)
    OR EXISTS (SELECT 1 FROM responsible WHERE entity_id = $1)
"""


@dataclass(frozen=True)
class Person:
    """The records of one person: CBeteiligte, their numbers in Advoware, and the parts that belong to them."""

    entity_ids: tuple[str, ...]
    betnrs: tuple[str, ...]
    part_ids: tuple[str, ...]

    @property
    def all_ids(self) -> list[str]:
        """The ids of all records in EspoCRM."""
        return [*self.entity_ids, *self.part_ids]


async def find_person(pool: asyncpg.Pool, given: str) -> Person:
    """Find a person by betNr or by the id of the CBeteiligte.

    A number that another living record has now is that record's, and not of the one that had it before; a record that
    has another number now is not found by its former one.

    Raises:
        InvalidInput: it is neither a number nor an id.
        NotFound: nothing is held about it.
        Unavailable: PostgreSQL does not answer.
    """
    async with database_errors():
        ids, betnrs = await _linked_with(pool, given)
        parts = await pool.fetch(_PARTS, list(ids), list(betnrs))
        is_known = bool(parts)
        for entity_id in ids:
            is_known = is_known or await pool.fetchval(_IS_KNOWN, entity_id)
    if not is_known:
        raise NotFound("BitByLaw", f"nothing is held about {given}")
    part_ids = {row["entity_id"] for row in parts}
    return Person(tuple(sorted(ids)), tuple(sorted(betnrs)), tuple(sorted(part_ids)))


async def _linked_with(pool: asyncpg.Pool, given: str) -> tuple[set[str], set[str]]:
    """The ids of the CBeteiligte and the numbers that belong to a given number or id."""
    if _BETNR.fullmatch(given):
        rows = await pool.fetch(_IDS_OF_BETNR, given)
        return {row["entity_id"] for row in rows}, {given}
    if _ID.fullmatch(given):
        rows = await pool.fetch(_BETNRS_OF_ID, given)
        return {given}, {row["betnr"] for row in rows}
    raise InvalidInput("neither a betNr (digits) nor the id of a record in EspoCRM")
