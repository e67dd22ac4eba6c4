"""Creating a Beteiligter in Advoware exactly once.

Advoware offers no idempotency key. So the intent, with the values to be sent, is stored before the POST; an attempt of
unknown fate is looked for before it is repeated; and what was found or created is stored before anything else is done.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from services.advoware_service import AdvowareService
from services.core.errors import (
    Conflict,
    CreateUnclear,
    DifferentPerson,
    NotFound,
    ValidationFailed,
)
from services.core.resources import Resources
from services.espocrm_mapper import BeteiligteMapper
from services.values.advoware_protocol import parse_change_time, readings_of
from services.values.merge import Values, may_be_stored_form, without
from services.vmh_sync.beteiligte.master_data import named_field
from services.vmh_sync.beteiligte.plan import shown_by
from services.vmh_sync.create_once import create_once, left_by_create
from services.vmh_sync.store import CreateIntent, SyncStore

ENTITY_TYPE = "CBeteiligte"
#: How far Advoware's clock may be behind this one when the sync looks for what an interrupted create has left.
CLOCK_TOLERANCE = timedelta(minutes=5)
MAX_ADOPTIONS = 5


@dataclass(frozen=True)
class Created:
    """A Beteiligter that this or an earlier attempt has created.

    Attributes:
        posted: the comparable values that were sent.
        was_found: whether an earlier attempt of unknown fate has created it.
        answer: Advoware's answer to the POST of this attempt; None if an earlier one created it (`stored_by_create`).
    """

    betnr: str
    posted: Values
    was_found: bool = False
    answer: Mapping[str, Any] | None = None


def stored_by_create(
    created: Created,
    advo: dict[str, Any],
    mapper: BeteiligteMapper,
) -> Values:
    """What Advoware has made of the values of a create, as far as that is known.

    Its answer shows it. Without one it is what the Beteiligter shows, unless he was edited since; then only what may be
    the sent value in another form.
    """
    shown = mapper.comparable_from_advoware(shown_by(created.answer, advo))
    if created.answer is not None or not _is_edited_since_created(advo):
        return shown
    stored = {}
    for name, value in created.posted.items():
        if name in shown and may_be_stored_form(value, shown[name]):
            stored[name] = shown[name]
    return stored


def _is_edited_since_created(advo: Mapping[str, Any]) -> bool:
    created_at = parse_change_time(advo.get("angelegtAm"))
    changed_at = parse_change_time(advo.get("geaendertAm"))
    if created_at is None or changed_at is None:
        return False
    return changed_at > created_at


class BeteiligteCreator:
    """Creates Beteiligte, each once. The caller holds the record's lock."""

    def __init__(
        self,
        advoware: AdvowareService,
        store: SyncStore,
        resources: Resources,
    ) -> None:
        self._advoware = advoware
        self._store = store
        self._resources = resources
        self._mapper = BeteiligteMapper()

    async def create(self, espo: Mapping[str, Any]) -> Created:
        """Create the Beteiligter of a CBeteiligte, or find the one that an earlier attempt has created.

        See `create_once`. What Advoware cannot hold or refuses is left out; the rest is created.

        Raises:
            NameMissing: the record has no name.
            CreateUnclear: whether an earlier attempt has created it cannot be known.
            DifferentPerson: the number that an earlier attempt had noted may stand for another person by now.
            ForeignSystemError: Advoware refuses it or cannot be reached.
            Conflict: several equal records are being created, and others were faster each time.
            NotBefore: an earlier attempt may still be under way.
        """
        key = (ENTITY_TYPE, espo["id"])
        values, _ = self._mapper.creatable(espo)
        created = await create_once(
            self._store,
            key,
            values,
            find=partial(self._find_created, espo["id"]),
            post=partial(self._post, values),
            resources=self._resources,
        )
        if created.answer is not None:
            created_at = parse_change_time(created.answer.get("angelegtAm"))
            await self._store.created(*key, created.betnr, created_at)
        return created

    async def left_by_create(
        self,
        entity_id: str,
        entered: str | None = None,
    ) -> str | None:
        """The betNr of what the create of a record has left that is gone, or has the number ``entered`` now.

        See `create_once.left_by_create`.
        """
        created = await left_by_create(
            self._store,
            (ENTITY_TYPE, entity_id),
            find=partial(self._find_left, entity_id, entered=entered),
            resources=self._resources,
        )
        if created is None:
            return None
        return created.betnr

    async def _find_created(
        self,
        entity_id: str,
        intent: CreateIntent,
        entered: str | None = None,
    ) -> Created | None:
        """What an earlier attempt has created: by the number that it noted, else by the values that it has sent."""
        noted = intent.advoware_id
        if noted is not None and await self._is_the_created_one(intent, noted):
            return Created(noted, intent.posted)
        find = partial(self._find, intent.posted, intent.started_at, entered)
        found = await self._adopt(entity_id, find)
        if found is None:
            return None
        return Created(found, intent.posted, was_found=True)

    async def _find_left(
        self,
        entity_id: str,
        intent: CreateIntent,
        entered: str | None,
    ) -> Created | None:
        """What an earlier attempt has created; None if another record has got its number, as a user has entered it."""
        found = await self._find_created(entity_id, intent, entered)
        if found is None:
            return None
        owner = await self._store.linked_entity(ENTITY_TYPE, found.betnr)
        if owner not in {None, entity_id}:
            return None
        return found

    async def _is_the_created_one(self, intent: CreateIntent, betnr: str) -> bool:
        """Whether the number that was noted still stands for what was created: a number is not an identity.

        Advoware gives a number again after it has lost its last records, as when a backup is restored.

        Raises:
            DifferentPerson: the name is another one, and nothing says whether it is another record.
        """
        try:
            advo = await self._advoware.get_beteiligter(betnr)
        except NotFound:
            return False
        shown = self._mapper.comparable_from_advoware(advo)
        shared, different = self._mapper.compare_identity(intent.posted, shown)
        if not different:
            return True
        created_at = parse_change_time(advo.get("angelegtAm"))
        noted_at = intent.advoware_created_at
        if created_at is not None and noted_at is not None:
            if created_at != noted_at:
                return False
            if shared:
                return True  # a user has corrected a part of the name
        raise DifferentPerson(
            f"betnr {betnr}: the name is not the one that was created",
            betnr,
        )

    async def _adopt(
        self,
        entity_id: str,
        find: Callable[[], Awaitable[str | None]],
    ) -> str | None:
        """Find what an earlier attempt has created and note it; of equal ones another create may take one first."""
        for _ in range(MAX_ADOPTIONS):
            found = await find()
            if found is None:
                return None
            try:
                await self._store.found_created(ENTITY_TYPE, entity_id, found)
            except Conflict:
                continue
            return found
        raise Conflict(
            "PostgreSQL",
            "other creates keep taking the record that was found",
        )

    async def _post(self, values: Values) -> Created:
        """Create it. What Advoware refuses is left out; the sync that follows tries it again and notifies people."""
        left = dict(values)
        while True:
            record = self._mapper.new_advoware_record(left)
            try:
                answer = await self._advoware.create_beteiligter(record)
            except ValidationFailed as error:
                left = _without_refused(left, error)
            else:
                return Created(str(answer["betNr"]), left, answer=answer)

    async def _find(
        self,
        posted: Mapping[str, Any],
        since: datetime,
        entered: str | None,
    ) -> str | None:
        """The betNr of what an earlier attempt created: same person, created since then, linked with nothing.

        Of those that do not show when they were created, a user has found the one whose number was ``entered``.

        Raises:
            CreateUnclear: there is one of that name, and Advoware does not say when it was created.
        """
        certain, doubtful = await self._created_since(posted, since)
        certain = await self._unlinked(certain)
        if certain:
            return str(min(certain))
        doubtful = await self._unlinked(doubtful)
        if entered is not None and int(entered) in doubtful:
            return entered
        if doubtful:
            raise CreateUnclear(
                f"betnr {min(doubtful)} may be what an earlier attempt created",
            )
        return None

    async def _created_since(
        self,
        posted: Mapping[str, Any],
        since: datetime,
    ) -> tuple[list[int], list[int]]:
        """The numbers of the same person: those created since then, and those that do not show when."""
        certain: list[int] = []
        doubtful: list[int] = []
        for row in await self._rows_of_that_name(posted):
            created_at = parse_change_time(row.get("angelegtAm"))
            shown = self._mapper.comparable_from_advoware(row)
            if not self._mapper.is_alike(posted, shown):
                continue
            if created_at is None:
                doubtful.append(int(row["betNr"]))
            elif readings_of(created_at)[1] >= since - CLOCK_TOLERANCE:
                certain.append(int(row["betNr"]))
        return certain, doubtful

    async def _unlinked(self, numbers: list[int]) -> list[int]:
        """Those of the numbers that no record is linked with."""
        linked = await self._store.linked_advoware_ids(
            ENTITY_TYPE,
            list(map(str, numbers)),
        )
        return [number for number in numbers if str(number) not in linked]

    async def _rows_of_that_name(
        self,
        posted: Mapping[str, Any],
    ) -> list[Mapping[str, Any]]:
        """The Beteiligte of the name, or else of the first name alone: the name may be stored otherwise than sent."""
        filters = {}
        for name in ("name", "vorname"):
            if posted.get(name):
                filters[name] = str(posted[name])
        rows = list(await self._advoware.find_beteiligte(**filters))
        if not rows and "vorname" in filters:
            rows = await self._advoware.find_beteiligte(vorname=filters["vorname"])
        return list(rows)


def _without_refused(values: dict[str, Any], error: ValidationFailed) -> dict[str, Any]:
    """The values without the one that Advoware's refusal names; if it names none, only the name.

    Raises:
        ValidationFailed: nothing can be left out any more.
    """
    culprit = named_field(error, values)
    if values.keys() == {"name"} or culprit == "name":
        raise error
    if culprit is None:
        return {"name": values["name"]}
    return without(values, {culprit})
