"""The sample firm: the same for all who ask, and as awkward as real data."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import phonenumbers
import pytest
import schwifty

from sandbox.firm.build import FOR_EVER, Appointment, Firm, Phone, make_firm

TODAY = date(2026, 2, 10)
CLOCK_CHANGES = {date(2026, 3, 29), date(2026, 10, 25), date(2027, 3, 28)}


@pytest.fixture(scope="module", name="firm")
def sample_firm() -> Firm:
    return make_firm(1, TODAY)


def _phones(firm: Firm) -> list[Phone]:
    return [phone for party in firm.parties for phone in party.phones]


def test_same_seed_and_day_give_the_same_firm_in_another_process(firm: Firm) -> None:
    imports = "from datetime import date; from sandbox.firm.build import make_firm"
    code = f"{imports}; print(repr(make_firm(1, date(2026, 2, 10))))"
    environment = {**os.environ, "PYTHONHASHSEED": "4711", "PYTHONIOENCODING": "utf-8"}
    checkout = Path(__file__).parents[2]
    other = subprocess.run(  # noqa: S603 - our own code, fixed arguments
        [sys.executable, "-c", code],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert other.stdout.strip() == repr(firm)


def test_another_seed_gives_other_numbers_and_another_day_other_dates(
    firm: Firm,
) -> None:
    assert _phones(make_firm(2, TODAY)) != _phones(firm)
    later = make_firm(1, TODAY + timedelta(days=70))
    assert (
        min(entry.day for entry in later.appointments if entry.day not in CLOCK_CHANGES)
        > TODAY
    )


def test_it_is_a_small_firm_with_one_former_employee(firm: Firm) -> None:
    assert len(firm.employees) == 12
    assert [employee.kuerzel for employee in firm.employees if not employee.active] == [
        "VW"
    ]
    assert all(2 <= len(employee.kuerzel) <= 3 for employee in firm.employees)
    assert len(firm.parties) == 60
    assert len(firm.bank_accounts) == 8
    assert len(firm.appointments) == 400


def test_keys_are_unique_and_have_the_form_of_the_real_systems(firm: Firm) -> None:
    addresses = [address for party in firm.parties for address in party.addresses]
    ids = [employee.espocrm_id for employee in firm.employees]
    ids += [party.espocrm_id for party in firm.parties]
    ids += [address.espocrm_id for address in addresses]
    ids += [account.espocrm_id for account in firm.bank_accounts]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[0-9a-f]{17}", record_id) for record_id in ids)
    assert len({party.betnr for party in firm.parties}) == 60
    assert len({appointment.fr_nr for appointment in firm.appointments}) == 400
    assert len({address.advoware_id for address in addresses}) == len(addresses)


def test_most_parties_are_in_both_systems_and_some_in_one_only(firm: Firm) -> None:
    sides = Counter(party.sides for party in firm.parties)
    assert sides["both"] > 40
    assert sides["advoware"] >= 5
    assert sides["espocrm"] >= 5


def test_parts_are_never_where_their_party_is_not(firm: Firm) -> None:
    for party in firm.parties:
        for part in (
            *party.phones,
            *party.mails,
            *party.addresses,
            *party.bank_accounts,
        ):
            if party.sides != "both":
                assert part.sides == party.sides, (party.betnr, part)


def test_names_are_as_awkward_as_in_life(firm: Firm) -> None:
    names = [party.full_name for party in firm.parties]
    for part in (
        "Änne",
        "O'Brien",
        "D’Angelo",
        "Schäfer-Öztürk",
        "Ng",
        "„Grüne Höhe“",
        "&",
    ):
        assert any(part in name for name in names), part
    assert max(len(party.name) for party in firm.parties) == 200
    forms = {party.rechtsform for party in firm.parties}
    assert {"", "Herr", "Frau", "GmbH", "AG", "KG", "e.V."} <= forms
    assert {party.anrede for party in firm.parties} == {"Herr", "Frau", "Divers", ""}


def test_persons_have_birth_dates_and_companies_register_data(firm: Firm) -> None:
    for party in firm.parties:
        assert (party.geburtsdatum is None) == party.is_company
        assert (party.vorname == "") == party.is_company
        assert party.register is None or party.is_company
    assert sum(party.register is not None for party in firm.parties) > 15


@pytest.mark.parametrize("seed", range(5))
def test_every_number_but_one_is_readable_and_its_e164_form_is_right(seed: int) -> None:
    unreadable = []
    for phone in _phones(make_firm(seed, TODAY)):
        try:
            number = phonenumbers.parse(phone.written, "DE")
        except phonenumbers.NumberParseException:
            unreadable.append(phone)
            continue
        assert phonenumbers.is_valid_number(number), phone
        assert (
            phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
            == phone.e164
        )
    assert [(phone.written, phone.e164, phone.sides) for phone in unreadable] == [
        ("0511/1234 (Büro)", None, "advoware")
    ]


def test_numbers_come_from_the_blocks_kept_free_for_fiction(firm: Firm) -> None:
    blocks = (
        "+493023125",
        "+496990009",
        "+494066969",
        "+492214710",
        "+498999998",
        "+4917139200",
    )
    assert all(phone.e164.startswith(blocks) for phone in _phones(firm) if phone.e164)


def test_numbers_are_spelled_in_many_ways(firm: Firm) -> None:
    shapes = {re.sub(r"\d+", "0", phone.written) for phone in _phones(firm)}
    assert len(shapes) >= 8


def test_mail_addresses_lead_nowhere(firm: Firm) -> None:
    mails = [mail.address for party in firm.parties for mail in party.mails]
    assert all(mail.lower().endswith("example.de") for mail in mails)
    assert [mail for mail in mails if "@" not in mail] == [
        "empfang(at)norddeutsche.example.de"
    ]


def test_bank_accounts_are_valid(firm: Firm) -> None:
    for account in firm.bank_accounts:
        iban = schwifty.IBAN(account.iban)
        assert iban.bic is not None
        assert iban.bic.compact == schwifty.BIC(account.bic).compact
        assert account.iban == iban.compact


def test_every_party_has_exactly_one_main_address(firm: Firm) -> None:
    for party in firm.parties:
        assert [address.is_default for address in party.addresses].count(True) == 1


@pytest.mark.parametrize("today", [TODAY, date(2026, 11, 23), date(2028, 2, 29)])
def test_appointments_lie_in_the_window_around_the_given_day(today: date) -> None:
    for appointment in make_firm(1, today).appointments:
        inside = (
            today - timedelta(days=7) <= appointment.day <= today + timedelta(days=730)
        )
        assert inside or appointment.day in CLOCK_CHANGES, appointment


def test_appointments_cover_what_a_calendar_sync_meets(firm: Firm) -> None:
    def some(condition: bool, entries: list[Appointment]) -> None:
        assert condition, entries[:3]

    entries = list(firm.appointments)
    series = [entry for entry in entries if entry.series]
    assert {entry.series.turnus_art for entry in series if entry.series} == {1, 2, 3, 4}
    some(any(entry.last_day == FOR_EVER for entry in series), series)
    some(any(entry.series and entry.series.turnus > 1 for entry in series), series)
    some(any(entry.series and entry.all_day for entry in series), series)
    some(
        any(
            entry.series and entry.series.turnus_art == 3 and entry.day.day == 31
            for entry in series
        ),
        series,
    )
    single = [entry for entry in entries if not entry.series]
    some(any(entry.all_day and entry.last_day > entry.day for entry in single), single)
    some(any(entry.start and entry.last_day > entry.day for entry in single), single)
    some(any(entry.start is None and not entry.all_day for entry in single), single)
    some(any(entry.start and entry.end is None for entry in single), single)
    assert {"", "ALLE", "Allgemein"} <= {entry.anwalt for entry in entries}
    assert sum(entry.privat for entry in entries) >= 10
    assert sum(entry.fr_nr < 0 for entry in entries) >= 3


def test_every_clock_change_has_an_entry_within_the_changed_hour(firm: Firm) -> None:
    at_night = {
        entry.day
        for entry in firm.appointments
        if entry.start and entry.start.hour == 2
    }
    assert at_night >= CLOCK_CHANGES


def test_every_active_employee_has_appointments(firm: Firm) -> None:
    busy = Counter(entry.anwalt for entry in firm.appointments)
    for employee in firm.employees:
        assert (busy[employee.kuerzel] > 5) == employee.active
