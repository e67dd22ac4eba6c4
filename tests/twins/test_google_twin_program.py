"""The Google twin as a program of its own: its key file, and its data over a restart."""

from __future__ import annotations

import asyncio
import json
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from google_calls import at_nine, calendar_service, call
from ports import unused_port

PROJECT_ROOT = Path(__file__).parents[2]
START_SECONDS = 30


@asynccontextmanager
async def program(port: int, *arguments: str) -> AsyncIterator[str]:
    """Run the twin until it says that it listens; yields its URL and ends it in an orderly way."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "sandbox.google.app",
        "--port",
        str(port),
        *arguments,
        cwd=PROJECT_ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        ready = json.loads(
            await asyncio.wait_for(process.stdout.readline(), START_SECONDS)
        )
        assert ready["ready"] == "google"
        yield ready["url"]
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), START_SECONDS)


def read(path: Path) -> Any:
    return json.loads(path.read_text())


async def test_the_key_and_the_data_survive_a_restart(tmp_path: Path) -> None:
    key_path = tmp_path / "keys" / "service-account.json"
    options = (
        "--service-account-file",
        str(key_path),
        "--state-file",
        str(tmp_path / "google.state"),
    )
    port = unused_port()

    async with program(port, *options) as url:
        key_file = read(key_path)
        assert key_file["token_uri"] == f"{url}/token"
        service = calendar_service(url, key_file)
        calendar = (await call(service.calendars().insert(body={"summary": "AW-SB"})))[
            "id"
        ]
        event = await call(service.events().insert(calendarId=calendar, body=at_nine()))
        sync_token = (await call(service.events().list(calendarId=calendar)))[
            "nextSyncToken"
        ]

    async with program(port, *options) as again:
        assert again == url
        assert read(key_path) == key_file
        service = calendar_service(url, key_file)
        assert (
            await call(service.events().get(calendarId=calendar, eventId=event["id"]))
            == event
        )
        assert (
            await call(service.events().list(calendarId=calendar, syncToken=sync_token))
        )["items"] == []


async def test_the_key_survives_without_the_data(tmp_path: Path) -> None:
    key_path, port = tmp_path / "service-account.json", unused_port()
    async with program(port, "--service-account-file", str(key_path)):
        key_file = read(key_path)

    async with program(port, "--service-account-file", str(key_path)) as url:
        assert read(key_path) == key_file
        assert (await call(calendar_service(url, key_file).calendarList().list()))[
            "kind"
        ] == "calendar#calendarList"


async def test_a_key_file_for_another_port_is_replaced(tmp_path: Path) -> None:
    key_path = tmp_path / "service-account.json"
    async with program(0, "--service-account-file", str(key_path)):
        first = read(key_path)
    async with program(0, "--service-account-file", str(key_path)) as url:
        second = read(key_path)
        answer = await call(calendar_service(url, second).calendarList().list())

    assert second["token_uri"] == f"{url}/token"
    assert second["private_key_id"] != first["private_key_id"]
    assert answer["kind"] == "calendar#calendarList"


async def test_the_key_file_is_for_its_owner_only(tmp_path: Path) -> None:
    key_path = tmp_path / "service-account.json"
    async with program(0, "--service-account-file", str(key_path)):
        assert stat.S_IMODE(key_path.stat().st_mode) == 0o600
