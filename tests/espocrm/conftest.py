"""A real EspoCRM with our extension, given by the environment; without one, these tests are skipped.

``ESPOCRM_TEST_URL`` (its address, without ``/api/v1``), ``ESPOCRM_TEST_ADMIN_USER``, ``ESPOCRM_TEST_ADMIN_PASSWORD``.
``ESPOCRM_TEST_RUN_JOB``: a command that runs the job whose name is appended (``php command.php run-job``); what needs
EspoCRM to deliver its webhooks is skipped without. The tests make records, users and webhooks: never name a live one.
"""

from __future__ import annotations

import asyncio
import os
import shlex
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from espocrm_rest import Espo, Events, Rest

from services.espocrm_schema import ENTITIES

NAMES = ("ESPOCRM_TEST_URL", "ESPOCRM_TEST_ADMIN_USER", "ESPOCRM_TEST_ADMIN_PASSWORD")
ROLE = "bitbylaw-sync"


@pytest.fixture
async def espo() -> AsyncIterator[Espo]:
    """An administrator, who plays the person, and a new API user with the role of the sync."""
    url, user, password = (os.environ.get(name, "") for name in NAMES)
    if not (url and user and password):
        pytest.skip(f"no real EspoCRM: set {', '.join(NAMES)}")
    async with Rest.as_user(url, user, password) as person:
        added = await person.post(
            "User",
            {
                "type": "api",
                "userName": f"sync{uuid4().hex[:12]}",
                "lastName": "BitByLaw",
                "authMethod": "ApiKey",
                "rolesIds": [ROLE],
            },
        )
        async with Rest.with_key(url, added["apiKey"]) as sync:
            yield Espo(person=person, sync=sync, sync_user_id=added["id"])
        await person.request("DELETE", f"User/{added['id']}")


@pytest.fixture
async def events(espo: Espo) -> AsyncIterator[Events]:
    """What EspoCRM delivers to webhooks for all events of our entities."""
    command = os.environ.get("ESPOCRM_TEST_RUN_JOB")
    if not command:
        pytest.skip("EspoCRM's webhooks cannot be delivered: set ESPOCRM_TEST_RUN_JOB")

    async def run_job(name: str) -> None:
        process = await asyncio.create_subprocess_exec(*shlex.split(command), name)
        assert await process.wait() == 0

    async with Events.listening(run_job) as listening:
        added = [
            await espo.person.post("Webhook", {"event": f"{entity}.{action}", "url": listening.url, "isActive": True})
            for entity in ENTITIES
            for action in ("create", "update", "delete")
        ]
        yield listening
        for webhook in added:
            await espo.person.request("DELETE", f"Webhook/{webhook['id']}")
