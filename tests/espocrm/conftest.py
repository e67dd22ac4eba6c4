"""The twin, and a real EspoCRM with our extension, given by the environment; without one, it is skipped.

``ESPOCRM_TEST_URL`` (its address, without ``/api/v1``), ``ESPOCRM_TEST_ADMIN_USER``, ``ESPOCRM_TEST_ADMIN_PASSWORD``.
``ESPOCRM_TEST_RUN_JOB``: a command that runs the job whose name is appended (``php command.php run-job``); what needs
EspoCRM to deliver its webhooks is skipped without. The tests make records, users and webhooks: never name a live one.
"""

from __future__ import annotations

import asyncio
import os
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
from espocrm_rest import NAMES, Espo, Events, Rest

from sandbox.control import running
from sandbox.espocrm.access import SYNC_ID
from sandbox.espocrm.app import EspoCRMTwin
from services.espocrm_setup.schema import ENTITIES

ROLE = "bitbylaw-sync"
#: whose events there are; the twin has none of CAdressen
EVENTS_OF = {False: tuple(ENTITIES), True: tuple(ENTITIES)}
ADMIN_KEY, SYNC_KEY = "espocrm-admin-key", "espocrm-demo-key"


@pytest.fixture(params=["real", "twin"])
async def espo(request: pytest.FixtureRequest) -> AsyncIterator[Espo]:
    """An administrator, who plays the person, and an API user with the role of the sync."""
    opened = real() if request.param == "real" else twin()
    async with opened as found:
        yield found


@asynccontextmanager
async def twin() -> AsyncIterator[Espo]:
    """What our own tests take for EspoCRM."""
    async with (
        running(EspoCRMTwin(empty=True, webhook_interval=0)) as url,
        Rest.with_key(url, ADMIN_KEY) as person,
        Rest.with_key(url, SYNC_KEY) as sync,
    ):
        await person.request(
            "POST", "../../__sandbox__/settings", {"duplicate_check": ["CBeteiligte"]}
        )
        yield Espo(
            person=person,
            sync=sync,
            sync_user_id=SYNC_ID,
            sync_key=SYNC_KEY,
            is_twin=True,
        )


@asynccontextmanager
async def real() -> AsyncIterator[Espo]:
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
            yield Espo(
                person=person,
                sync=sync,
                sync_user_id=added["id"],
                sync_key=added["apiKey"],
            )
        await person.request("DELETE", f"User/{added['id']}")


@pytest.fixture
async def events(espo: Espo) -> AsyncIterator[Events]:
    """What EspoCRM delivers to webhooks for all events of our entities."""
    command = os.environ.get("ESPOCRM_TEST_RUN_JOB", "")
    if not command and not espo.is_twin:
        pytest.skip("EspoCRM's webhooks cannot be delivered: set ESPOCRM_TEST_RUN_JOB")

    async def run_job(name: str) -> None:
        if espo.is_twin:
            await espo.person.request("POST", "../../__sandbox__/webhooks/process")
            return
        process = await asyncio.create_subprocess_exec(*shlex.split(command), name)
        assert await process.wait() == 0

    async with Events.listening(run_job) as listening:
        added = [
            await espo.person.post(
                "Webhook",
                {"event": f"{entity}.{action}", "url": listening.url, "isActive": True},
            )
            for entity in EVENTS_OF[espo.is_twin]
            for action in ("create", "update", "delete")
        ]
        yield listening
        for webhook in added:
            await espo.person.request("DELETE", f"Webhook/{webhook['id']}")
