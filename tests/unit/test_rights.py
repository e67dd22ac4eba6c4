"""What a key permits: methods and paths of the proxy, and the other endpoints."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config import ConfigurationError, NamedKey, key_of, load_settings, new_key
from services.api.access import require_api_key
from services.api.errors import AccessDenied, NotPermitted
from services.api.rights import Caller, loggable
from services.values.advoware_protocol import endpoint_url

TERMINE = "api/v1/advonet/Termine"
BASE = "https://advoware.example/"
OLD = "0123456789abcdef01234567"


def permits(rights: str, method: str, endpoint: str) -> bool:
    try:
        Caller("tool", tuple(rights.split("+"))).require_proxy(method, endpoint)
    except NotPermitted:
        return False
    return True


@pytest.mark.parametrize(
    ("rights", "method", "endpoint", "permitted"),
    [
        ("all", "DELETE", "api/v1/anything", True),
        ("GET", "GET", "api/v1/anything", True),
        ("GET", "POST", "api/v1/anything", False),
        ("GET-PUT", "PUT", "x", True),
        ("GET-PUT", "DELETE", "x", False),
        (f"GET@{TERMINE}", "GET", TERMINE, True),
        (f"GET@{TERMINE}", "GET", f"/{TERMINE}/12", True),
        (f"GET@{TERMINE}", "GET", f"{TERMINE}?from=2026-01-01&x=/../", True),
        (f"GET@{TERMINE}", "PUT", TERMINE, False),
        (f"GET@{TERMINE}", "GET", "api/v1/advonet/Beteiligte", False),
        (f"GET@{TERMINE}", "GET", "api/v1/advonet", False),
        (f"GET@{TERMINE}+PUT@api/v1/advonet/Akten", "PUT", f"{TERMINE}/1", False),
        (
            f"GET@{TERMINE}+PUT@api/v1/advonet/Akten",
            "PUT",
            "api/v1/advonet/Akten",
            True,
        ),
        ("calendar+nextcall", "GET", "x", False),
    ],
)
def test_a_right_holds_for_its_methods_and_its_path(
    rights: str, method: str, endpoint: str, permitted: bool
) -> None:
    assert permits(rights, method, endpoint) is permitted


@pytest.mark.parametrize(
    "path",
    [
        f"{TERMINE}/../Beteiligte",
        f"{TERMINE}/%2e%2e/Beteiligte",
        f"{TERMINE}/%252e%252e/Beteiligte",
        f"{TERMINE}/.%2E/Beteiligte",
        f"{TERMINE}/..;/Beteiligte",
        f"{TERMINE}%2f..%2fBeteiligte",
        f"{TERMINE}/..\\Beteiligte",
        f"{TERMINE}/..%5cBeteiligte",
        f"{TERMINE}/..%c0%afBeteiligte",
        f"{TERMINE}/\uff0e\uff0e/Beteiligte",
        f"{TERMINE}/\u2025/Beteiligte",
        f"{TERMINE}//Beteiligte",
        f"//{TERMINE}",
        f"///{TERMINE}",
        f"{TERMINE}/.",
        f"./{TERMINE}",
        f"{TERMINE}X",
        f"{TERMINE}.json",
        f"{TERMINE};x=1",
        f"{TERMINE}%00",
        f"{TERMINE}\x00/1",
        f"{TERMINE}/1#/",
        f"{TERMINE}/1\n",
        TERMINE.lower(),
        TERMINE.upper(),
        "api%2fv1/advonet/Termine",
        "api/v1/advonet/Termin%65",
        "https://evil.example/" + TERMINE,
        f"Beteiligte?/{TERMINE}",
        "",
        "/",
    ],
)
def test_no_trick_with_a_path_leads_out_of_the_right(path: str) -> None:
    assert not permits(f"GET@{TERMINE}", "GET", path)


@given(
    st.lists(
        st.sampled_from(
            [
                *("api", "Termine", "Beteiligte", "/", "//", "..", ".", "\\", ";", "?"),
                *("%2e", "%2f", "%", "%25", "5c", "#", "@", ":", "ä", "2e"),
            ]
        ),
        max_size=14,
    )
)
def test_what_is_permitted_is_what_the_client_asks(parts: list[str]) -> None:
    """The path that was compared is, letter by letter, that of the URL that goes to Advoware."""
    endpoint = "api/v1/advonet/Termine" + "".join(parts)
    if permits(f"GET@{TERMINE}", "GET", endpoint):
        path = endpoint_url(BASE, endpoint.partition("?")[0]).raw_path
        assert path == f"/{TERMINE}" or path.startswith(f"/{TERMINE}/")
        assert "Beteiligte" not in path or path.split("/")[4] == "Termine"


def test_a_key_is_found_by_its_hash_and_counts_with_its_rights_only() -> None:
    (reader, reader_digest), (writer, writer_digest) = new_key(), new_key()
    entries = (
        f"reader:GET:{reader_digest}, writer:GET-PUT@{TERMINE}+calendar:{writer_digest}"
    )
    settings = load_settings({"BITBYLAW_NAMED_KEYS": entries, "BITBYLAW_API_KEYS": OLD})

    assert require_api_key({"x-api-key": reader}, settings) == Caller(
        "reader", ("GET",)
    )
    found = require_api_key({"authorization": f"bearer {writer}"}, settings)
    assert found == Caller("writer", (f"GET-PUT@{TERMINE}", "calendar"))
    assert (found.may_use("calendar"), found.may_use("nextcall")) == (True, False)
    assert require_api_key({"x-api-key": OLD}, settings) == Caller(
        "unnamed-1", ("all",)
    )
    for entry in (reader, writer, OLD):
        assert entry == OLD or entry not in repr(settings.environment())


@pytest.mark.parametrize(
    "forge", ["digest", "name", "entry", "upper", "cut", "doubled"]
)
def test_nothing_that_stands_in_the_settings_is_a_key(forge: str) -> None:
    key, digest = new_key()
    entry = f"reader:all:{digest}"
    given = {
        "digest": digest,
        "name": "reader",
        "entry": entry,
        "upper": key.swapcase(),
        "cut": key[:-1],
        "doubled": f"{key}, {key}",  # what two headers of one name become
    }[forge]
    settings = load_settings({"BITBYLAW_NAMED_KEYS": entry})
    for headers in ({"x-api-key": given}, {"authorization": f"Bearer {given}"}):
        with pytest.raises(AccessDenied):
            require_api_key(headers, settings)


@pytest.mark.parametrize(
    "entry",
    [
        "reader:{digest}",
        "reader::{digest}",
        "reader:get:{digest}",
        "reader:PATCH:{digest}",
        "reader:GET@:{digest}",
        "reader:GET@/api:{digest}",
        "reader:GET@api/../x:{digest}",
        "reader:GET@api/..:{digest}",
        "reader:GET@api/.+GET:{digest}",
        "reader:GET@api//x:{digest}",
        "reader:GET@api%2fx:{digest}",
        "reader:GET+:{digest}",
        "reader:everything:{digest}",
        "read er:GET:{digest}",
        "reader:GET:{digest}0",
        "reader:GET:plain-text-key-in-the-settings",
        "a:GET:{digest},a:GET:{digest}",
    ],
)
def test_an_entry_that_is_none_is_refused_without_quoting_it(entry: str) -> None:
    _, digest = new_key()
    with pytest.raises(ConfigurationError, match="BITBYLAW_NAMED_KEYS") as caught:
        load_settings({"BITBYLAW_NAMED_KEYS": entry.format(digest=digest)})
    assert digest not in str(caught.value)
    assert "plain-text" not in str(caught.value)


def test_odd_texts_are_no_keys_and_break_nothing() -> None:
    keys = [NamedKey("a", ("all",), new_key()[1])]
    for given_key in ("", "\ud800", "\udcff", "\x00", "x" * 10**6):
        assert key_of(given_key, keys) is None


def test_a_path_is_logged_without_names() -> None:
    assert loggable("api/v1/advonet/Beteiligte/12/x?name=Muster") == (
        "api/v1/advonet/Beteiligte/12/-"
    )
    assert loggable("api/v1/advonet/Erika Muster") == "api/v1/advonet/-"
