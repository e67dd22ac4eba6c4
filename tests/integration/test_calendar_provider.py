"""The seam of the calendar sync: an employee syncs with a provider that is not Google."""

from __future__ import annotations

from calendar_office import CalendarOffice, in_haste, office, timed
from memory_calendar import Json, MemoryCalendar

from services.calendar_sync.provider import CalendarProvider, open_provider
from services.calendar_sync.run import CalendarSync, RunSummary

DAY = "2026-02-12"

__all__ = ["office"]


class Employee:
    """SB, whose calendar lies in memory."""

    def __init__(self, office: CalendarOffice) -> None:
        self._office = office
        self.provider = MemoryCalendar()

    async def sync(self) -> RunSummary:
        """One run, which must not fail."""
        sync = CalendarSync(resources=self._office.resources, provider=self.provider)
        summary = await sync.sync_employee("SB")
        assert summary.errors == []
        return summary

    @property
    def calendar_id(self) -> str:
        """The only calendar."""
        (calendar_id,) = self.provider.calendars
        return calendar_id

    def events(self) -> list[Json]:
        """What a person sees in it."""
        events = self.provider.calendars[self.calendar_id].events.values()
        return [event for event in events if event["status"] == "confirmed"]

    def titles(self) -> list[str]:
        """The titles that a person sees in it, sorted."""
        return sorted(event["summary"] for event in self.events())


@in_haste
async def test_google_and_the_calendar_in_memory_are_both_providers(
    office: CalendarOffice,
) -> None:
    assert isinstance(open_provider(None, office.resources), CalendarProvider)
    assert isinstance(MemoryCalendar(), CalendarProvider)


@in_haste
async def test_a_termin_is_created_changed_and_deleted_in_another_provider(
    office: CalendarOffice,
) -> None:
    employee = Employee(office)
    fr_nr = office.termin("Verhandlung")
    await employee.sync()
    assert employee.titles() == ["Verhandlung"]

    office.change_termin(fr_nr, text="Verhandlung, Saal 2")
    await employee.sync()
    assert employee.titles() == ["Verhandlung, Saal 2"]
    assert (await employee.sync()).result == "no_change"

    office.delete_termin(fr_nr)
    await employee.sync()
    assert employee.titles() == []
    assert office.calls("google") == []


@in_haste
async def test_a_persons_event_in_another_provider_is_created_changed_and_deleted_in_advoware(
    office: CalendarOffice,
) -> None:
    await office.configure(ADVOWARE_WRITE_PROTECTION="false")
    employee = Employee(office)
    await employee.sync()
    body = {"id": "entered", "summary": "Mandant", **timed(DAY, "14:00", "15:00")}
    await employee.provider.insert_event(employee.calendar_id, body)
    await employee.sync()
    assert office.termin_texts() == ["Mandant"]

    changes = {"summary": "Mandant, Saal 2"}
    await employee.provider.patch_event(employee.calendar_id, "entered", changes)
    await employee.sync()
    assert office.termin_texts() == ["Mandant, Saal 2"]

    await employee.provider.delete_event(employee.calendar_id, "entered")
    await employee.sync()
    assert office.termin_texts() == []
    assert office.calls("google") == []
