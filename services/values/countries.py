"""Countries as users write them in German and English, and their ISO codes. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import phonenumbers

from services.core.foreign_text import comparable_text

GERMANY = "DE"

#: How users write countries beyond the German and English names; the first spelling is the one that is sent.
_SPELLINGS = {
    "CZ": ("Tschechien",),
    "GB": ("Großbritannien", "England", "UK"),
    "MK": ("Nordmazedonien",),
    "NL": ("Niederlande", "Holland"),
    "US": ("USA",),
    "XK": ("Kosovo",),
    "DE": ("Deutschland", "D", "BRD", "Bundesrepublik Deutschland"),
    "AT": ("Österreich", "A"),
}


def _names_by_language() -> dict[str, dict[str, str]]:
    """ISO code -> language -> name, from the library's file, without the package in which that lies.

    Importing the package loads the places of all telephone numbers of the world as well: 100 MB.
    """
    file = Path(phonenumbers.__file__).parent / "geodata/locale.py"
    spec = spec_from_file_location("phonenumbers.geodata.locale", file)
    assert spec is not None  # noqa: S101 - narrows the type
    assert spec.loader is not None  # noqa: S101 - narrows the type
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    names: dict[str, dict[str, str]] = module.LOCALE_DATA
    return names


LOCALE_DATA = _names_by_language()


def _name_of_country(code: str, language: str) -> str:
    """The country's name; the library's data refer to another language by ``*`` and its code where they agree."""
    names = LOCALE_DATA.get(code, {})
    name = names.get(language, "")
    while name.startswith("*"):
        name = names[name[1:]]
    return name


def _names_of_countries() -> dict[str, str]:
    names = {code: _name_of_country(code, "de") for code in LOCALE_DATA}
    for code, spellings in _SPELLINGS.items():
        names[code] = spellings[0]
    return names


def _codes_by_spelling(codes: Iterable[str]) -> dict[str, str]:
    """All spellings, folded; of two countries with the same spelling the later one has it."""
    found = {}
    for code in codes:
        german = _name_of_country(code, "de")
        english = _name_of_country(code, "en")
        for spelling in (code, german, english, *_SPELLINGS.get(code, ())):
            if spelling:
                found[spelling.casefold()] = code
    return found


#: ISO code -> German name as it is sent to Advoware
COUNTRIES = _names_of_countries()
_CODE_BY_SPELLING = _codes_by_spelling(COUNTRIES)


def country_code(text: Any) -> str | None:
    """The ISO code of a country given as code or name; None if it is empty or unknown."""
    spelling = comparable_text(text) or ""
    return _CODE_BY_SPELLING.get(spelling.casefold())


def country_text(code: Any) -> str:
    """The German name of a country given as ISO code; other texts as they are, empty as ""."""
    text = str(code or "")
    return COUNTRIES.get(text, text)
