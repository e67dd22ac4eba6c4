"""The Beteiligte: what both sides agree on becomes the base of their merge, field by field.

The plans are those of the sync. A field, an address, an account or a contact on which both sides agree is remembered;
one that differs is not, so that the first sync decides about it as it does at a first sync (specification 06).
Neither side is written.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from services.adressen_mapper import adressen_of
from services.adressen_sync import SELECT as ADRESSEN_FIELDS
from services.advoware_service import AdvowareService
from services.bankverbindungen_mapper import konten_of
from services.bankverbindungen_sync import SELECT as BANK_FIELDS
from services.beteiligte.finish import BeteiligteFinisher
from services.core.errors import (
    BitByLawError,
    ConfigurationError,
    Conflict,
    DifferentPerson,
    NotFound,
    failure_code,
    is_no_records_fault,
)
from services.core.resources import Resources
from services.espocrm import EspoCRMAPI
from services.espocrm_mapper import BeteiligteMapper
from services.kommunikation_mapper import (
    Key,
    advoware_entries,
    parse_marker,
    read_espocrm,
)
from services.kommunikation_sync_utils import ENTITY_TYPE as KOMMUNIKATION
from services.kommunikation_sync_utils import KommunikationSyncManager
from services.notification_utils import NotificationManager
from services.takeover.report import Difference, Finding
from services.values import espocrm_query
from services.values.merge import Merge, Pair, without
from services.vmh_sync.adressen import plan as adressen
from services.vmh_sync.adressen.match import ENTITY_TYPE as ADRESSEN
from services.vmh_sync.adressen.match import Observation as AdressenObservation
from services.vmh_sync.adressen.match import match_addresses
from services.vmh_sync.bankverbindungen import plan as bank
from services.vmh_sync.beteiligte.identity import require_same_person
from services.vmh_sync.beteiligte.plan import (
    ENTITY_TYPE,
    Observation,
    plan_master_data,
)
from services.vmh_sync.espocrm_writes import EspoWrites
from services.vmh_sync.kommunikation.memory import read_memory
from services.vmh_sync.store import SyncState, SyncStore

Record = dict[str, Any]

FIELDS = (
    "betnr",
    "syncStatus",
    "advowareLastSync",
    "advowareRowId",
    "kommunikationHash",
)
_KNOWN_STATUSES = frozenset(
    {
        *("clean", "dirty", "pending_sync", "syncing", "failed"),
        *("permanently_failed", "conflict", "deleted_in_advoware"),
    },
)


@dataclass(frozen=True)
class Firm:
    """All records of EspoCRM that take part, as lists show them; parts by the id of their CBeteiligte."""

    beteiligte: list[Record]
    adressen: Mapping[str, list[Record]]
    bankverbindungen: Mapping[str, list[Record]]


@dataclass(frozen=True)
class Agreement:
    """What the two sides of one Beteiligter agree on.

    Attributes:
        observed: both sides.
        settled: the fields of the master data.
        states: what is remembered of his parts.
        differing: fields and parts that differ, for the report.
    """

    observed: Observation
    settled: Mapping[str, Pair]
    states: list[SyncState]
    differing: tuple[str, ...]


@dataclass
class Outcome:
    """What became of one record, for the report."""

    word: str
    difference: Difference | None = None
    findings: list[Finding] = field(default_factory=list)
    problem: str | None = None


class BeteiligteReader:
    """Reads both sides and compares them; stores what they agree on if a store is given."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._espocrm = EspoCRMAPI(resources=resources)
        self._advoware = AdvowareService(resources=resources)
        self._mapper = BeteiligteMapper()

    async def firm(self) -> Firm:
        """All records of EspoCRM, listed page by page."""
        rows = self._espocrm.search_entities(ENTITY_TYPE, select=FIELDS)
        return Firm(
            beteiligte=[row async for row in rows],
            adressen=await self._parts(ADRESSEN, ADRESSEN_FIELDS),
            bankverbindungen=await self._parts(bank.ENTITY_TYPE, BANK_FIELDS),
        )

    async def _parts(
        self,
        entity_type: str,
        fields: Iterable[str],
    ) -> Mapping[str, list[Record]]:
        found: dict[str, list[Record]] = defaultdict(list)
        async for row in self._espocrm.search_entities(entity_type, select=fields):
            owner = str(row.get("beteiligteId"))
            found[owner].append(row)
        return found

    async def take(self, row: Record, firm: Firm, store: SyncStore | None) -> Outcome:
        """Compare one linked record, and remember the agreement in ``store``; a failure is in the outcome.

        Raises:
            Unavailable, DatabaseUnusable, ConfigurationError: PostgreSQL or Redis is away, or nothing can be asked.
        """
        where = f"CBeteiligte/{row['id']}"
        try:
            return await self._take(row, firm, store, where)
        except NotFound as error:
            why = f"{error.system} does not know it; the first sync reports that"
            finding = Finding("missing", where, why)
            return Outcome("missing", findings=[finding])
        except DifferentPerson as error:
            finding = Finding("different_person", where, str(error))
            return Outcome("left alone", findings=[finding])
        except Conflict as error:
            finding = Finding("number_taken", where, failure_code(error))
            return Outcome("left alone", findings=[finding])
        except ConfigurationError:
            raise
        except BitByLawError as error:
            if is_no_records_fault(error):
                raise
            code = failure_code(error)
            return Outcome("not read", problem=f"{where}: {code}")
        except Exception as error:  # noqa: BLE001 - one odd record does not stop the others
            finding = Finding("not_compared", where, failure_code(error))
            return Outcome("left alone", findings=[finding])

    async def _take(
        self,
        row: Record,
        firm: Firm,
        store: SyncStore | None,
        where: str,
    ) -> Outcome:
        espo = await self._espocrm.get_entity(ENTITY_TYPE, row["id"])
        advo = await self._advoware.get_beteiligter(int(row["betnr"]))
        require_same_person(espo, advo, None, self._mapper)
        agreement = self._agreement(espo, advo, firm)
        if store is not None:
            await self._remember(agreement, store)
        findings = list(_odd_marks(advo, where))
        outcome = Outcome("taken over", findings=findings)
        if agreement.differing:
            betnr = str(advo["betNr"])
            outcome.difference = Difference(espo["id"], betnr, agreement.differing)
        return outcome

    # -- what both agree on ---------------------------------------------------------------------------------------

    def _agreement(self, espo: Record, advo: Record, firm: Firm) -> Agreement:
        entity_id = espo["id"]
        adressen_rows = firm.adressen.get(entity_id, [])
        bank_rows = firm.bankverbindungen.get(entity_id, [])
        observed = Observation(espo, advo, None, adressen_rows)
        plan = plan_master_data(observed, self._mapper)
        differing = {*plan.to_espocrm, *plan.to_advoware}
        for held in plan.held:
            differing.add(held.field)
        settled = without(plan.settled, differing)
        parts = _Parts(espo, advo, self._now())
        states = [
            *parts.kommunikation(),
            *parts.adressen(adressen_rows),
            *parts.bankverbindungen(bank_rows),
        ]
        return Agreement(
            observed=observed,
            settled=settled,
            states=states,
            differing=(*sorted(differing), *parts.differing),
        )

    async def _remember(self, agreement: Agreement, store: SyncStore) -> None:
        """Store what is not stored yet; what an interrupted take-over has stored stays.

        Raises:
            Conflict: another record is linked with the same number.
        """
        observed = agreement.observed
        stored = await store.load(ENTITY_TYPE, observed.espo["id"])
        if stored is None:
            plan = Merge(settled=dict(agreement.settled))
            await self._finisher().remember(store, observed, plan, {})
        for state in agreement.states:
            stored = await store.load(state.entity_type, state.entity_id)
            if stored is None:
                await store.save(state)

    def _finisher(self) -> BeteiligteFinisher:
        writes = EspoWrites(self._espocrm)
        notifications = NotificationManager(
            self._espocrm,
            resources=self._resources,
            writes=writes,
        )
        return BeteiligteFinisher(
            espocrm=self._espocrm,
            kommunikation=KommunikationSyncManager(resources=self._resources),
            notifications=notifications,
            writes=writes,
            resources=self._resources,
        )

    def _now(self) -> datetime:
        return self._resources.clock().astimezone(UTC)


@dataclass
class _Parts:
    """The parts of one Beteiligter; ``differing`` grows with those that differ."""

    espo: Record
    advo: Record
    now: datetime
    differing: list[str] = field(default_factory=list)

    def _differs(self, part: str) -> None:
        if part not in self.differing:
            self.differing.append(part)

    def kommunikation(self) -> Iterator[SyncState]:
        """What the markers say was agreed on, if the old system has compared it (``kommunikationHash``)."""
        in_espocrm = {entry.key for entry in read_espocrm(self.espo).entries}
        in_advoware = _keys_in_advoware(self.advo)
        if in_espocrm != in_advoware:
            self._differs("Kommunikation")
        if not self.espo.get("kommunikationHash"):
            return
        memory = read_memory(None, self.espo, self.advo)
        modified_at = self.espo.get("modifiedAt")
        yield SyncState(
            entity_type=KOMMUNIKATION,
            entity_id=self.espo["id"],
            base=memory.as_json(),
            espocrm_modified_at=espocrm_query.parse_date_time(modified_at),
            synced_at=self.now,
        )

    def adressen(self, rows: list[Record]) -> Iterator[SyncState]:
        """Pairs of which nothing has to be written."""
        listing = adressen_of(self.advo)
        if listing is None:
            return
        observed = AdressenObservation(
            beteiligte_id=self.espo["id"],
            beteiligter=self.advo,
            owner={},
            rows=rows,
            adressen=listing.adressen,
            states={},
            direction="both",
            now=self.now,
        )
        matches = match_addresses(observed)
        for action in adressen.make_plan(observed, matches):
            if isinstance(action, adressen.Ignore):
                continue
            if isinstance(action, adressen.Settle) and _is_agreed(action):
                yield _at(action.state, self.now)
            else:
                self._differs("Adressen")

    def bankverbindungen(self, rows: list[Record]) -> Iterator[SyncState]:
        """Pairs of which nothing has to be written or reported."""
        konten = konten_of(self.advo)
        if konten is None:
            return
        observed = bank.Observation(
            beteiligte_id=self.espo["id"],
            betnr=str(self.advo["betNr"]),
            konten=list(konten.usable),
            odd=list(konten.odd),
            states={},
            now=self.now,
        )
        for row in rows:
            state = _agreed_state(observed, row)
            if state is None:
                self._differs("Bankverbindungen")
            else:
                yield _at(state, self.now)


def _keys_in_advoware(advo: Record) -> set[Key]:
    """The numbers and addresses of the entries that have one."""
    keys = set()
    for entry in advoware_entries(advo):
        if not entry.is_empty:
            keys.add(entry.key)
    return keys


def _at(state: SyncState, now: datetime) -> SyncState:
    return replace(state, synced_at=now)


def _is_agreed(action: adressen.Settle) -> bool:
    """Whether an action of the plan for Adressen only remembers."""
    if action.adresse is None or action.state.rejected:
        return False
    is_linked = action.row.get("advowareId") == action.adresse["id"]
    if not is_linked:
        return False
    if action.fields is not None and action.fields.to_advoware:
        return False
    return not action.espocrm and not action.lost


def _agreed_state(observed: bank.Observation, row: Record) -> SyncState | None:
    """What is to be remembered of an account; None: it has no partner, or something has to be written or reported."""
    found = bank.find_konto(observed, row)
    if found.konto is None or found.is_taken:
        return None
    settled = bank.settle(observed, row, found.konto)
    if settled.attributes or settled.problems:
        return None
    return settled.state


# -- what a person should look at -----------------------------------------------------------------------------------


def _odd_marks(advo: Record, where: str) -> Iterator[Finding]:
    """Markers of the old system that are damaged."""
    for number, entry in enumerate(advo.get("kommunikation") or [], 1):
        if not isinstance(entry, dict):
            continue
        note = str(entry.get("bemerkung") or "")
        if not _has_damaged_marker(note):
            continue
        name = entry.get("id", number)
        why = f"the marker of entry {name} is damaged, and counts as none"
        yield Finding("damaged_marker", where, why)


def _has_damaged_marker(note: str) -> bool:
    if "[ESPOCRM" not in note:
        return False
    marker, _ = parse_marker(note)
    return marker is None


def claims(rows: Collection[Record]) -> tuple[list[Record], list[Finding]]:
    """The records whose number no other record has, and what is the matter with the others."""
    numbered = [row for row in rows if row.get("betnr")]
    owners = Counter(str(row["betnr"]) for row in numbered)
    linked: list[Record] = []
    findings: list[Finding] = []
    for row in numbered:
        betnr = str(row["betnr"])
        where = f"CBeteiligte/{row['id']}"
        if not _is_number(betnr):
            why = "its betnr is no number; it is left alone"
            findings.append(Finding("number_unreadable", where, why))
        elif owners[betnr] > 1:
            why = (
                f"betnr {betnr} belongs to {owners[betnr]} records; all are left alone"
            )
            findings.append(Finding("number_claimed_twice", where, why))
        else:
            linked.append(row)
    return linked, findings


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) > 0


def statuses(rows: Collection[Record]) -> tuple[Counter[str], list[Finding]]:
    """How many records show which status, and those that show an unknown one."""
    known = {*_KNOWN_STATUSES, "no status"}
    counted: Counter[str] = Counter()
    unknown: set[str] = set()
    for row in rows:
        status = str(row.get("syncStatus") or "no status")
        counted[f"status {status}"] += 1
        if status not in known:
            unknown.add(status)
    why = "the old system's own status; the cron does not find such a record"
    findings = [Finding("unknown_status", status, why) for status in sorted(unknown)]
    return counted, findings
