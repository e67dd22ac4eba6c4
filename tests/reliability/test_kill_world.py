"""What the kill trial would call a loss: its look at both systems is not blind (`make kill-trial` plays it)."""

from __future__ import annotations

from typing import Any

import pytest
from kill_world import Person, differences

PERSON = Person("N1", "Kunde N1", numbers=["+495117000001"], streets=["Gasse N1"])


def both_sides() -> tuple[dict[str, Any], dict[str, Any]]:
    """The person in EspoCRM and in Advoware, all in order."""
    espocrm = {
        "syncStatus": "clean",
        "lastName": "Kunde N1",
        "firstName": "Erika",
        "phoneNumberData": [{"phoneNumber": "+495117000001"}],
    }
    advoware = {
        "name": "Kunde N1",
        "vorname": "Erika",
        "kommunikation": [{"tlf": "+495117000001"}],
        "adressen": [{"strasse": "Gasse N1"}],
        "bankkverbindungen": [],
    }
    return espocrm, advoware


def test_a_person_who_is_whole_on_both_sides_is_in_order() -> None:
    assert differences(PERSON, *both_sides()) == []


@pytest.mark.parametrize(
    "change",
    [
        {"name": "Kunde"},
        {"vorname": ""},
        {"kommunikation": []},
        {"kommunikation": [{"tlf": "+495117000001"}] * 2},
        {"adressen": [{"strasse": "Gasse N1"}] * 2},
        {"bankkverbindungen": [{"iban": "DE89370400440532013000"}]},
    ],
)
def test_what_advoware_has_lost_or_doubled_is_found(change: dict[str, Any]) -> None:
    espocrm, advoware = both_sides()
    assert len(differences(PERSON, espocrm, {**advoware, **change})) == 1


@pytest.mark.parametrize(
    "change",
    [{"syncStatus": "syncing"}, {"lastName": "Kunde"}, {"phoneNumberData": []}],
)
def test_what_espocrm_has_lost_or_shows_wrongly_is_found(
    change: dict[str, Any],
) -> None:
    espocrm, advoware = both_sides()
    assert len(differences(PERSON, {**espocrm, **change}, advoware)) == 1
