"""Names of countries, and what they cost."""

from __future__ import annotations

import subprocess
import sys

from phonenumbers.geodata.locale import LOCALE_DATA

from services.values import countries


def test_names_of_countries_come_without_the_places_of_telephone_numbers() -> None:
    program = (
        "import sys; from services.values.countries import country_text;"
        "assert country_text('FR') == 'Frankreich';"
        "assert not [name for name in sys.modules if 'geodata' in name]"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)  # noqa: S603


def test_they_are_those_of_the_library() -> None:
    assert countries.LOCALE_DATA == LOCALE_DATA
