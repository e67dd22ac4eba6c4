"""`bitbylaw keys`: a key is shown once, and what goes into the settings is its hash."""

from __future__ import annotations

import json
import re

import pytest
from typer.testing import CliRunner

from cli.main import app
from config import get_settings, key_of, load_settings

KEYS = re.compile(r"shown only now: (\S+)\n.*\(comma-separated\): (\S+)\n")


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["keys", *arguments])
    return result.exit_code, result.output


def test_a_new_key_is_admitted_by_the_line_that_is_printed_with_it() -> None:
    status, output = run(
        *("new", "diary", "--rights", "calendar"),
        *("--rights", "GET-PUT@api/v1/advonet/Termine"),
    )

    assert status == 0
    found = KEYS.search(output)
    assert found is not None
    key, entry = found.groups()
    assert key not in entry
    settings = load_settings({"BITBYLAW_NAMED_KEYS": entry})
    named = key_of(key, settings.service.accepted_keys)
    assert named is not None
    assert named[:2] == ("diary", ("calendar", "GET-PUT@api/v1/advonet/Termine"))


@pytest.mark.parametrize(
    "arguments",
    [
        ("a b", "--rights", "GET"),
        ("a,b", "--rights", "GET"),
        ("a", "--rights", "PATCH"),
        ("a", "--rights", "GET@../x"),
        ("a", "--rights", "GET,all"),
        ("a",),
    ],
)
def test_a_key_without_name_or_rights_is_not_made(arguments: tuple[str, ...]) -> None:
    status, output = run("new", *arguments)

    assert status != 0
    assert "shown only now" not in output


def test_the_list_shows_names_and_rights_and_no_hash(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    digest = "0" * 64
    monkeypatch.setenv("BITBYLAW_ENV_FILE", "")
    monkeypatch.setenv("BITBYLAW_NAMED_KEYS", f"diary:GET+calendar:{digest}")
    get_settings.cache_clear()
    try:
        assert run("list") == (0, "diary: GET calendar\n")
    finally:
        get_settings.cache_clear()


@pytest.mark.parametrize(
    ("variable", "value", "warned"),
    [
        ("BITBYLAW_API_KEYS", "0123456789abcdef01234567", True),
        ("BITBYLAW_NAMED_KEYS", f"diary:GET:{'0' * 64}", False),
    ],
)
def test_the_doctor_warns_about_keys_in_plain_text(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, warned: bool
) -> None:
    monkeypatch.setenv("BITBYLAW_ENV_FILE", "")
    monkeypatch.setenv("POSTGRES_HOST", "127.0.0.1")
    monkeypatch.setenv("POSTGRES_PORT", "1")
    monkeypatch.setenv(variable, value)
    get_settings.cache_clear()
    try:
        output = CliRunner().invoke(app, ["doctor", "--json"]).stdout
    finally:
        get_settings.cache_clear()
    names = {check["name"]: check["status"] for check in json.loads(output)["checks"]}
    assert names.get("API keys") == ("warning" if warned else None)
    assert value not in output
