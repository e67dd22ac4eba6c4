"""Countries as people write them in German and English, and their ISO codes. Pure."""

from __future__ import annotations

from typing import Any

from phonenumbers.geodata.locale import LOCALE_DATA

from services.core.foreign_text import comparable_text

GERMANY = "DE"

#: How people write countries beyond the German and English names; the first spelling is the one we write.
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


def _name_of_country(code: str, language: str) -> str:
    """The country's name; the library's data refer to another language by ``*`` and its code where they agree."""
    names = LOCALE_DATA.get(code, {})
    name = names.get(language, "")
    while name.startswith("*"):
        name = names[name[1:]]
    return name


#: ISO code -> German name as we write it to Advoware
COUNTRIES = {code: _name_of_country(code, "de") for code in LOCALE_DATA} | {
    code: spellings[0] for code, spellings in _SPELLINGS.items()
}
_CODE_BY_SPELLING = {
    spelling.casefold(): code
    for code in COUNTRIES
    for spelling in (
        code,
        _name_of_country(code, "de"),
        _name_of_country(code, "en"),
        *_SPELLINGS.get(code, ()),
    )
    if spelling
}


def country_code(text: Any) -> str | None:
    """The ISO code of a country given as code or name; None if it is empty or not in our table."""
    return _CODE_BY_SPELLING.get((comparable_text(text) or "").casefold())


def country_text(code: Any) -> str:
    """The German name of a country given as ISO code; other texts as they are, empty as ""."""
    return COUNTRIES.get(str(code or ""), str(code or ""))
