"""Every reader and mapper of foreign data survives anything: a result, or an error that its docstring names.

The functions are found by import, so that a new one is tried as soon as it is there; one whose parameters have no
strategy here fails. Nothing else may be raised: a TypeError or KeyError in a reader stops a whole list, or a job.
"""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import odd_values as odd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import services
from config import LONGEST_TOKEN_MINUTES, BitByLawError
from services.adressen_mapper import FIELDS as ADRESSE
from services.calendar_sync.mapping import (
    google_to_event,
    read_google_event,
    termin_to_event,
)
from services.calendar_sync.model import NormalisedEvent
from services.core.foreign_text import read_json
from services.kommunikation_mapper import (
    PARTICIPATING_KOMM_KZ,
    Marker,
    advoware_entries,
)
from services.values.advoware_protocol import BERLIN, EXPIRY_MARGIN, read_token

#: Of each reader; more in a search (docs/testing.md).
EXAMPLES = 1500 if os.environ.get("HYPOTHESIS_PROFILE") == "search" else 40
NAMES = re.compile(r"(parse|from|to|read|map|comparable)_")
MODULES = re.compile(
    r"services\.(\w+_mapper|values\.(?!merge|sealed)\w+|core\.foreign_text|calendar_sync\.(mapping(\.\w+)?|fields))"
)
FURTHER = {"services.api.webhooks": ("entity_ids", "is_entity_id")}
NOT_FOREIGN = {
    "values.advoware_protocol.login_request": "made of our settings",
    "values.advoware_protocol.sign_login": "made of our settings",
    "values.espocrm_query.halved": "takes our own conditions",
    "values.espocrm_query.any_of": "takes our own conditions",
    "values.espocrm_query.all_of": "takes our own conditions",
    "calendar_sync.mapping.shared.read_each": "takes a reader",
    "vmh_sync.kommunikation.memory.read_memory": "reads what we stored",
    "vmh_sync.result.Details.from_json": "reads what we stored",
    "vmh_sync.result.FieldLine.from_json": "reads what we stored",
    "vmh_sync.result.RecordLine.from_json": "reads what we stored",
    "calendar_sync.mapping.shared.new_event": "takes what the readers have read",
    "calendar_sync.mapping.event_ids.termine_by_event_id": "takes numbers that were read",
    "calendar_sync.fields.at": "takes what `moment` and `clock` have read",
    "values.advoware_protocol.is_calendar_path": "takes what `endpoint_url` has checked",
}

moments = st.datetimes(timezones=st.just(UTC))
komm_kinds = st.sampled_from(sorted(PARTICIPATING_KOMM_KZ))


def translated(
    read: Callable[[Any], Any], kind: str
) -> st.SearchStrategy[NormalisedEvent]:
    """Appointments as they come out of a reader."""
    return (
        odd.broken((kind,))
        .map(read)
        .filter(lambda event: isinstance(event, NormalisedEvent))
    )


events = translated(termin_to_event, "Termin") | translated(google_to_event, "event")
google_events = odd.broken(("event",)).map(lambda event: {**event, "id": "abc123"})
#: The client takes no record of EspoCRM without its id.
with_id = odd.records.map(lambda record: {**record, "id": "6b0473a32660ab138"})
requests = st.builds(
    SimpleNamespace,
    headers=st.dictionaries(
        st.sampled_from(["x-forwarded-uri", "host"]),
        odd.texts.map(lambda text: f"/advoware/proxy?{text}"),
    ),
    query_params=st.dictionaries(
        odd.texts, odd.texts | st.lists(odd.texts, min_size=1, max_size=2), max_size=2
    ),
)
comparable_adresse = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(ADRESSE, odd.comparables)
)
#: Which records a module reads; half of the tries use one of them.
KINDS = {
    "adressen_mapper": ("CAdressen", "Adresse", "Beteiligter"),
    "bankverbindungen_mapper": ("CBankverbindungen", "Bankverbindung", "Beteiligter"),
    "calendar_sync.mapping.from_advoware": ("Termin",),
    "calendar_sync.mapping.from_google": ("event",),
    "calendar_sync.mapping.to_advoware": ("Termin",),
    "calendar_sync.sharing": ("rule",),
    "espocrm_mapper": ("CBeteiligte", "Beteiligter"),
    "kommunikation_mapper": ("CBeteiligte", "Beteiligter", "Kommunikation", "row"),
    "takeover.old_rows": ("old row",),
    "values.advoware_protocol": ("token",),
    "values.kind": ("CBeteiligte", "Beteiligter"),
    "vmh_sync.job": ("job",),
}
RECORDS = {"Any", "object", "Record", "Mapping[str, Any]"}
LISTS = {"Iterable[Any]", "Iterable[object]"}
#: By annotation, as it is written.
STRATEGIES: dict[str, st.SearchStrategy[Any]] = {
    "Any": odd.anything,
    "object": odd.anything,
    "str": odd.texts,
    "str | None": odd.texts | st.none(),
    "int": odd.numbers,
    "int | None": odd.numbers | st.none(),
    "bool": st.booleans(),
    "date": st.dates(),
    "datetime": moments,
    "datetime | date": moments | st.dates(),
    "Record": odd.records,
    "Record | None": odd.records | st.none(),
    "Mapping[str, Any]": odd.records,
    "Iterable[Any]": st.lists(odd.anything, max_size=3),
    "Iterable[object]": st.lists(odd.anything, max_size=3),
    "Value": odd.comparables,
    "Values": st.dictionaries(odd.texts, odd.comparables, max_size=4),
    "Mapping[str, Value]": st.dictionaries(odd.texts, odd.comparables, max_size=4),
    "Sequence[Values]": st.lists(
        st.dictionaries(odd.texts, odd.comparables, max_size=4), max_size=2
    ),
    "Side": st.sampled_from(["espocrm", "advoware"]),
    "Kind": st.sampled_from(["person", "company"]),
    "Family": st.sampled_from(["phone", "mail"]),
    "UUID": st.uuids(),
    "NormalisedEvent": events,
    "GoogleEvent | None": st.none() | google_events.map(read_google_event),
    "Marker": st.builds(Marker, odd.texts | st.none(), komm_kinds),
    "Iterable[AdvowareEntry]": odd.beteiligte.map(advoware_entries),
}
#: Where a docstring asks for more than the annotation says, by "module.function.parameter".
NARROWER: dict[str, st.SearchStrategy[Any]] = {
    "adressen_mapper.AdressenMapper.label.values": comparable_adresse,
    "adressen_mapper.AdressenMapper.to_espocrm.changed": comparable_adresse,
    "adressen_mapper.AdressenMapper.to_espocrm.values": comparable_adresse,
    "adressen_mapper.has_content.values": comparable_adresse,
    "adressen_mapper.street_text.values": comparable_adresse,
    "calendar_sync.fields.change_time.zone": st.just(BERLIN),
    "adressen_mapper.AdressenMapper.map_cadressen_to_advoware.espo": with_id,
    "api.proxy_request.read_query.request": requests,
    "kommunikation_mapper.advoware_entries.advo": odd.beteiligte,
    "kommunikation_mapper.entries_by_id.advo": odd.beteiligte,
    "kommunikation_mapper.espocrm_entry.row": odd.broken(("row",)).filter(
        lambda row: row.keys() >= {"phoneNumber", "emailAddress"}
    ),
    "kommunikation_mapper.family_of.komm_kz": komm_kinds,
    "kommunikation_mapper.kind_of.komm_kz": komm_kinds,
    "kommunikation_mapper.new_espocrm_row.komm_kz": komm_kinds,
    "kommunikation_mapper.read_advoware.advo": odd.beteiligte,
    "values.advoware_protocol.endpoint_url.base_url": st.just("https://a.example/x/"),
    "values.advoware_protocol.parse_date_time.default_zone": st.just(BERLIN),
    "values.advoware_protocol.read_token.lifetime_minutes": st.integers(
        3, LONGEST_TOKEN_MINUTES
    ),
}


def _modules() -> Iterator[Any]:
    for found in pkgutil.walk_packages(services.__path__, "services."):
        yield importlib.import_module(found.name)


def _members(module: Any) -> Iterator[tuple[str, Any, bool]]:
    """The public functions and methods that a module defines, each with its name and whether all of its kind count."""
    for name, item in vars(module).items():
        if name.startswith("_") or getattr(item, "__module__", "") != module.__name__:
            continue
        everything = MODULES.fullmatch(module.__name__) is not None
        if inspect.isfunction(item):
            yield name, item, everything or name in FURTHER.get(module.__name__, ())
        elif inspect.isclass(item):
            for method in vars(item):
                yield f"{name}.{method}", getattr(item, method), name.endswith("Mapper")


def _readers() -> dict[str, Callable[..., Any]]:
    found: dict[str, Callable[..., Any]] = {}
    for module in _modules():
        for name, item, is_of_mapper in _members(module):
            own = name.rpartition(".")[2]
            if own.startswith("_") or not callable(item):
                continue
            if inspect.iscoroutinefunction(item) or inspect.isclass(item):
                continue
            if is_of_mapper or NAMES.match(own):
                key = f"{module.__name__.removeprefix('services.')}.{name}"
                found[key] = item
    return found


READERS = _readers()
TRIED = sorted(READERS.keys() - NOT_FOREIGN.keys())


def _by_annotation(name: str, annotation: str) -> st.SearchStrategy[Any] | None:
    strategy = STRATEGIES.get(annotation)
    kinds = [kind for start, kind in KINDS.items() if name.startswith(start)]
    if not kinds:
        return strategy
    if annotation in RECORDS:
        return st.one_of(odd.broken(kinds[0]), strategy)
    if annotation in LISTS:
        return st.lists(odd.broken(kinds[0]) | odd.anything, max_size=3)
    return strategy


def _arguments(name: str) -> st.SearchStrategy[dict[str, Any]]:
    """Values for a reader's parameters; those that have a default and no strategy keep it."""
    chosen = {}
    for parameter in inspect.signature(READERS[name]).parameters.values():
        strategy = NARROWER.get(
            f"{name}.{parameter.name}", _by_annotation(name, parameter.annotation)
        )
        if parameter.name == "self":
            continue
        if strategy is None and parameter.default is not parameter.empty:
            continue
        assert strategy is not None, (
            f"{name}: no strategy for {parameter.name}: {parameter.annotation}; "
            "add one here, or the reason why it reads nothing foreign"
        )
        chosen[parameter.name] = strategy
    return st.fixed_dictionaries(chosen)


def _call(name: str, arguments: dict[str, Any]) -> Any:
    reader = READERS[name]
    if "self" in inspect.signature(reader).parameters:
        module, kind, _ = f"services.{name}".rsplit(".", 2)
        reader = getattr(
            getattr(importlib.import_module(module), kind)(), reader.__name__
        )
    result = reader(**arguments)
    return list(result) if isinstance(result, Iterator) else result


def _documented(name: str) -> tuple[type[Exception], ...]:
    """What a reader may raise: our own errors, and ValueError if it says so."""
    is_documented = "ValueError:" in (READERS[name].__doc__ or "")
    return (BitByLawError, ValueError) if is_documented else (BitByLawError,)


def test_what_is_left_out_exists() -> None:
    assert NOT_FOREIGN.keys() <= READERS.keys()


@pytest.mark.parametrize("name", TRIED)
def test_a_reader_survives_anything(name: str) -> None:
    allowed = _documented(name)

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(arguments=_arguments(name))
    def survives(arguments: dict[str, Any]) -> None:
        with suppress(allowed):
            _call(name, arguments)

    survives()


def test_json_nested_without_end_is_refused() -> None:
    for text in ("[" * 200_000, '{"a":' * 200_000, "[" * 101 + "]" * 101):
        with pytest.raises(ValueError, match=r"nested|Expecting"):
            read_json(text)


@pytest.mark.parametrize(
    "odd_expiry",
    [
        {"expires_in": "²"},
        {"expires_in": "9" * 5000},
        {"expires_in": 10**30},
        {"expires_in": -1},
        {"expiration_utc": "0001-01-01T00:00:00Z"},
        {"expiration_utc": "9999-12-31T23:59:59-14:00"},
        {"expiration_utc": ["x"], "expires_in": {}},
    ],
)
def test_a_token_with_an_odd_expiry_is_used_for_the_configured_time(
    odd_expiry: dict[str, Any],
) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    token = read_token({"access_token": "t", **odd_expiry}, now, 55)
    assert token.usable_until == now + timedelta(minutes=55) - EXPIRY_MARGIN
