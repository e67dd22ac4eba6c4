"""Several twins as one program: those whose port is given, and their data over a restart."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from sandbox.advoware.app import AdvowareTwin
from sandbox.advoware.credentials import Credentials

PROJECT_ROOT = Path(__file__).parents[2]
START_SECONDS = 30
TERMIN = {"text": "Bleibt", "datum": "2026-12-01", "anwalt": "SB"}


@asynccontextmanager
async def program(folder: Path) -> AsyncIterator[dict[str, str]]:
    """Run Advoware's and Google's twin until they say that they listen; yields their URLs, and ends them in order."""
    arguments = ("--folder", str(folder), "--advoware", "0", "--google", "0")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sandbox.twins", *arguments),
        cwd=PROJECT_ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(START_SECONDS):
            yield json.loads(await process.stdout.readline())["urls"]
    finally:
        process.terminate()
        async with asyncio.timeout(START_SECONDS):
            assert await process.wait() == 0


async def test_twins_in_one_program_keep_their_data_apart_and_over_a_restart(
    tmp_path: Path,
) -> None:
    async with program(tmp_path) as urls, aiohttp.ClientSession() as session:
        assert urls.keys() == {"advoware", "google"}
        for name, url in urls.items():
            async with session.get(f"{url}/__sandbox__/identity") as answer:
                assert await answer.json() == {"twin": name}
        url = f"{urls['advoware']}/__sandbox__/termine"
        async with session.post(url, json=TERMIN) as answer:
            number = (await answer.json())["frNr"]
    account = json.loads((tmp_path / "google-service-account.json").read_text())
    assert account["token_uri"].startswith(urls["google"])
    async with (
        program(tmp_path) as urls,
        aiohttp.ClientSession(urls["advoware"]) as session,
        session.get("/__sandbox__/state") as answer,
    ):
        termine = (await answer.json())["termine"]
    assert number in [termin["frNr"] for termin in termine]


async def test_data_of_a_twin_that_was_a_program_of_its_own_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then its module was called ``__main__``, and its login's class was in it."""
    monkeypatch.setattr(Credentials, "__module__", "__main__")
    monkeypatch.setattr(
        sys.modules["__main__"], "Credentials", Credentials, raising=False
    )
    twin = AdvowareTwin()
    (tmp_path / "advoware.state").write_bytes(twin.dump())
    assert b"__main__" in (tmp_path / "advoware.state").read_bytes()
    async with (
        program(tmp_path) as urls,
        aiohttp.ClientSession(urls["advoware"]) as session,
        session.get("/__sandbox__/state") as answer,
    ):
        assert (await answer.json())["termine"] == twin.state()["termine"]
