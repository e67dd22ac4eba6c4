"""Sample data of a small German law firm, the same for the Advoware and the EspoCRM twin.

``make_firm(seed, today)`` always gives the same firm for the same arguments, in every process. The names of people and
companies do not depend on the seed; who has which numbers, dates, addresses and appointments does.
"""

from __future__ import annotations

from datetime import date, datetime
from zoneinfo import ZoneInfo

from sandbox.firm.appointments import make_appointments
from sandbox.firm.model import (
    FOR_EVER,
    Address,
    Appointment,
    BankAccount,
    Employee,
    Firm,
    FurtherContact,
    Mail,
    Party,
    Phone,
    PhoneType,
    Placed,
    Register,
    Series,
    Sides,
)
from sandbox.firm.people import espocrm_id, make_employees, make_parties

__all__ = [
    "FOR_EVER",
    "Address",
    "Appointment",
    "BankAccount",
    "Employee",
    "Firm",
    "FurtherContact",
    "Mail",
    "Party",
    "Phone",
    "PhoneType",
    "Placed",
    "Register",
    "Series",
    "Sides",
    "espocrm_id",
    "make_firm",
]


def make_firm(seed: int, today: date | None = None) -> Firm:
    """The sample firm.

    Args:
        seed: determines numbers, dates, addresses and appointments.
        today: the day around which appointments and change times lie; today in Berlin if None.
    """
    today = today or datetime.now(ZoneInfo("Europe/Berlin")).date()
    employees = make_employees(seed)
    active = [employee.kuerzel for employee in employees if employee.active]
    return Firm(
        employees=employees,
        parties=make_parties(seed, today),
        appointments=make_appointments(seed, today, active),
    )
