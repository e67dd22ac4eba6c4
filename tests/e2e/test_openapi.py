"""The running system does what /openapi.json says: schemathesis sends what fits and what does not, to each endpoint.

The twins stand behind it, so nothing needs a key but the buttons, whose requests are signed as EspoCRM signs them.
Checks of schemathesis that are not made, and why:

* ``positive_data_acceptance``: a well-formed id need not exist in EspoCRM, nor a path in Advoware.
* ``negative_data_rejection``: webhooks take what they can use of a batch, so that EspoCRM does not drop all of it.
* ``not_a_server_error``: Advoware's failures are passed on as 502; each 5xx that is not described fails all the same.
* ``ignored_auth``, ``missing_required_header``: refusals are slowed down; tests/unit/test_access.py has them.
* ``unsupported_method``, ``use_after_free``, ``ensure_resource_availability``: the engine's matter, or none here.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from outside import ACTION_SECRET as SECRET
from outside import Outside
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS

from services.api.access import action_signature, php_json
from services.api.openapi import document
from services.core.operation.pause import Scope, pause, resume
from services.core.resources import Resources

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("e2e")]

ALL_CALENDARS = Scope("topic", "calendar_sync_all")
#: Requests to each of 17 endpoints.
EXAMPLES = 10
CHECKED = (
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
OPERATIONS = [
    (method.upper(), path)
    for path, methods in document()["paths"].items()
    for method in methods
]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def described(shared: Outside) -> AsyncIterator[Outside]:
    """A system that does not sync all calendars each time a generated request asks for it."""
    async with Resources(shared.system.settings) as resources:
        await pause(resources, ALL_CALENDARS, reason="generated requests", who="tests")
        yield shared
        await shared.audit.execute("DELETE FROM paused_job")
        await resume(resources, ALL_CALENDARS, who="tests")


def signed(case: Any) -> dict[str, str]:
    """The headers with which EspoCRM's server sends what a user has pressed."""
    if "/actions/" not in case.path:
        return {}
    timestamp = str(int(time.time()))
    # What is no JSON never becomes a body.
    is_json = isinstance(case.body, dict | list | str | int | float | bool)
    body = php_json(case.body if is_json else None)
    signature = action_signature(SECRET, timestamp, "POST", case.path, body)
    return {"X-Bitbylaw-Timestamp": timestamp, "X-Bitbylaw-Signature": signature}


def send_examples(url: str, method: str, path: str) -> int:
    """Send so many requests and check their answers; returns how many were sent."""
    schema = schemathesis.openapi.from_dict(document())
    checks = CHECKS.get_by_names(list(CHECKED))
    sent = 0

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=_cases(schema[path][method]))
    def send(case: Any) -> None:
        nonlocal sent
        sent += 1
        case.call_and_validate(
            base_url=url, headers=signed(case), checks=checks, timeout=30
        )

    send()
    return sent


def _cases(operation: Any) -> Any:
    """What fits the description, and where there is anything to get wrong, what does not."""
    right = operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
    if not operation.body and not operation.query:
        return right
    return right | operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
async def test_each_endpoint_answers_as_it_is_described(
    described: Outside, method: str, path: str
) -> None:
    url = described.system.http_url
    assert await asyncio.to_thread(send_examples, url, method, path) > 0


async def test_the_description_is_served_as_it_is(described: Outside) -> None:
    status, body = await described.call("GET", "/openapi.json")
    assert status == 200
    assert body == json.loads(json.dumps(document()))
