"""`.env` keeps every line that is not the program's to change, whatever people have written there."""

from __future__ import annotations

import io
import os
import stat
import tempfile
from pathlib import Path

import pytest
from dotenv import dotenv_values

from cli.env_file import EnvFile, unread_notice
from config import ConfigurationError, load_settings

SETTINGS = {"ESPOCRM_MARVIN_API_KEY": "neu-0123", "VMH_TASK_ASSIGNED_USER_ID": "6b07"}


def changed(tmp_path: Path, text: str, settings: dict[str, str] | None = None) -> str:
    path = tmp_path / ".env"
    path.write_bytes(text.encode())
    EnvFile(path, tmp_path / "none").change(SETTINGS if settings is None else settings)
    return path.read_bytes().decode()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "# Kanzlei Müller\nA=1\nA_KEY=x\n",
            "# Kanzlei Müller\nA=1\nA_KEY=x\nKEY=neu\n",
        ),
        ("KEY=alt\nB=2\n", "KEY=neu\nB=2\n"),
        (
            "\n\n# davor\nexport KEY = alt # warum\nB=2",
            "\n\n# davor\nexport KEY =neu # warum\nB=2",
        ),
        ("KEY=\r\nB=2\r\n", "KEY=neu\r\nB=2\r\n"),
        ('KEY="alt # kein Kommentar"\nB="a\nb"\n', 'KEY=neu\nB="a\nb"\n'),
        ("KEY=alt\nKEY=zuletzt\n", "KEY=alt\nKEY=neu\n"),
        ("#KEY=alt\nKEY", "#KEY=alt\nKEY=neu"),
        ("B='KEY=alt'", "B='KEY=alt'\nKEY=neu\n"),
        ("dies ist keine Zeile!\nKEY=alt\n", "dies ist keine Zeile!\nKEY=neu\n"),
    ],
)
def test_only_the_line_that_counts_is_changed(
    tmp_path: Path, before: str, after: str
) -> None:
    assert changed(tmp_path, before, {"KEY": "neu"}) == after
    assert dotenv_values(stream=io.StringIO(after))["KEY"] == "neu"


@pytest.mark.parametrize(
    "value", ["a b", "a#b", "it's", "x\\y", "", "$HOME", "ä,ö:ü", "a=b"]
)
def test_a_value_is_read_as_it_was_written(tmp_path: Path, value: str) -> None:
    text = changed(tmp_path, "KEY=alt # warum\n", {"KEY": value, "NEU": value})
    found = dotenv_values(stream=io.StringIO(text), interpolate=False)
    assert found["KEY"] == value
    assert found.get("NEU", "") == value


def test_what_is_so_already_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("KEY = 'neu'\n")
    before = path.stat()
    assert EnvFile(path, tmp_path / "none").change({"KEY": "neu", "LEER": ""}) == []
    assert path.stat() == before


def test_the_file_is_private_a_link_stays_a_link_and_nothing_lies_around(
    tmp_path: Path,
) -> None:
    target, link = tmp_path / "settings", tmp_path / ".env"
    target.write_text("KEY=alt\n")
    target.chmod(0o644)
    link.symlink_to(target)
    assert EnvFile(link, tmp_path / "none").change({"KEY": "neu"}) == ["KEY"]
    assert link.is_symlink()
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == [".env", "settings"]


def test_the_new_file_is_made_beside_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "another file system"))
    assert changed(tmp_path, "KEY=alt\n", {"KEY": "neu"}) == "KEY=neu\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_the_service_that_owns_the_file_goes_on_owning_it(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("KEY=alt\n")
    os.chown(path, 12345, 12346)
    EnvFile(path, tmp_path / "none").change({"KEY": "neu"})
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 12346)


def test_a_missing_file_begins_as_the_example(tmp_path: Path) -> None:
    example = tmp_path / ".env.example"
    example.write_text("# was es ist\nKEY=\n")
    env = EnvFile(tmp_path / ".env", example)
    assert env.values() == {"KEY": ""}
    env.change({"KEY": "neu"})
    assert (tmp_path / ".env").read_text() == "# was es ist\nKEY=neu\n"
    assert example.read_text() == "# was es ist\nKEY=\n"


def test_a_file_that_is_no_text_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_bytes(b"KEY=\xff\xfe\n")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        EnvFile(path, tmp_path / "none").change({"KEY": "neu"})
    assert path.read_bytes() == b"KEY=\xff\xfe\n"


def test_a_change_that_fails_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / ".env"
    path.write_text("KEY=alt\n")

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cli.env_file.os.fsync", full)
    with pytest.raises(ConfigurationError, match="cannot be written"):
        EnvFile(path, tmp_path / "none").change({"KEY": "neu"})
    assert path.read_text() == "KEY=alt\n"
    assert [found.name for found in tmp_path.iterdir()] == [".env"]


@pytest.mark.parametrize(
    "unread",
    ["BITBYLAW_READONLY", "bitbylaw_readonly", "ADVOWARE_WRITEPROTECTION"],
)
@pytest.mark.parametrize("place", ["file", "environment"])
def test_a_switch_that_is_misspelled_is_named_where_the_system_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unread: str, place: str
) -> None:
    path = tmp_path / ".env"
    text = "PUBLIC_NAME=a\nBITBYLAW_READ_ONLY=true\nBITBYLAW_HTTP_PORT=1\nvmh_cron_limit=5\n"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert unread_notice(load_settings(env_file=path), path) == []
    if place == "environment":
        monkeypatch.setenv(unread, "geheim")
    else:
        path.write_text(f"{text}{unread}=geheim\n")

    (notice,) = unread_notice(load_settings(env_file=path), path)

    assert f" {unread};" in notice
    assert "geheim" not in notice


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    assert changed(tmp_path, "\ufeffKEY=alt\nB=2\n", {"KEY": "neu"}) == "KEY=neu\nB=2\n"
