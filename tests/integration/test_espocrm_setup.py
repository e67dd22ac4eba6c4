"""Setting EspoCRM up: webhooks are installed once and stay right; the doctor finds what is wrong and says the fix."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from config import PROJECT_ROOT, Settings
from sandbox.espocrm.app import EspoCRMTwin
from services.core.operation.pause import Scope, pause
from services.core.resources import Resources
from services.espocrm_setup.doctor import RUNNING, diagnose
from services.espocrm_setup.schema import WEBHOOKS
from services.espocrm_setup.webhooks import Check, SetupFailed, install_webhooks

PUBLIC_URL = "https://bitbylaw.example"
TOKEN = "geheim&token-0123456789ab"  # noqa: S105 - invented
NEW_TOKEN = "neu-0123456789abcdef0123"  # noqa: S105 - invented
EDIT = ("create", "read", "edit")
RIGHTS = {
    **dict.fromkeys(
        ("CBeteiligte", "CAdressen", "CBankverbindungen", "CVmhErstgespraech", "Task"),
        EDIT,
    ),
    "User": ("read",),
    "Webhook": (*EDIT, "delete"),
}
#: Unlike an EspoCRM as it comes.
WELL_RUN = {
    "preferred_countries": ["de", "at"],
    "address_format": 2,
    "logs_api_access": False,
    "webhook_event_portion": 200,
}
#: What only administrators see, unless the extension reports it.
UNTOLD = ["cron", "PHP", "login log", "webhook portion"]
PERMISSIONS = {
    "assignment_permission": "all",
    "user_permission": "all",
    "mention_permission": "all",
}


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(ESPOCRM_WEBHOOK_TOKEN=TOKEN)


class Crm:
    """What an administrator does in EspoCRM."""

    def __init__(self, twin: EspoCRMTwin, session: aiohttp.ClientSession) -> None:
        self._twin, self._session = twin, session

    async def webhooks(self) -> list[dict[str, Any]]:
        answer = await self._ask("GET", "__sandbox__/webhooks")
        found: list[dict[str, Any]] = answer["webhooks"]
        return sorted(found, key=lambda webhook: webhook["id"])

    async def settings(self, **changes: Any) -> None:
        await self._ask("POST", "__sandbox__/settings", changes)

    async def api_user(self, key: str, **options: Any) -> None:
        await self._ask(
            "POST",
            "__sandbox__/api-users",
            {"api_key": key, "user_name": key, **options},
        )

    async def webhook(
        self, method: str, path: str, body: Any = None, key: str = "espocrm-demo-key"
    ) -> Any:
        return await self._ask(
            method, f"api/v1/Webhook{path}", body, {"X-Api-Key": key}
        )

    async def _ask(
        self, method: str, path: str, body: Any = None, headers: Any = None
    ) -> Any:
        async with self._session.request(
            method, f"{self._twin.url}/{path}", json=body, headers=headers
        ) as answer:
            expected = 201 if (method, path) == ("POST", "api/v1/Webhook") else 200
            assert answer.status == expected, await answer.text()
            return await answer.json()


@pytest.fixture(autouse=True)
async def crm(espocrm: EspoCRMTwin, control: aiohttp.ClientSession) -> Crm:
    """An EspoCRM that is run as it should be."""
    crm = Crm(espocrm, control)
    await crm.settings(**WELL_RUN)
    return crm


async def install(settings: Settings, url: str = PUBLIC_URL) -> list[str]:
    return [step.action async for step in install_webhooks(settings, url)]


async def failures(settings: Settings, url: str | None = None) -> list[Check]:
    """What the doctor wants mended, but that nothing takes the webhooks here; each with its remedy."""
    checks = [
        check
        for check in await diagnose(settings, url)
        if check.status != "ok" and check.name != RUNNING
    ]
    assert all(check.fix for check in checks)
    return checks


async def bitbylaw(
    settings: Settings, *arguments: str, **environment: str
) -> tuple[int, str]:
    """Exit status and standard output of the command, run as a user runs it. Logs go to the other output."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cli.main", *arguments,
        cwd=PROJECT_ROOT,
        env={**os.environ, **settings.environment(), "BITBYLAW_ENV_FILE": "", **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    async with asyncio.timeout(60):
        output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


# -- webhooks -----------------------------------------------------------------------------------------------------


async def test_six_webhooks_are_installed_once_with_token_and_without_our_own_events(
    settings: Settings, crm: Crm
) -> None:
    assert await install(settings) == ["created"] * 6
    first = await crm.webhooks()
    assert {row["event"]: row["url"] for row in first} == {
        event: f"{PUBLIC_URL}{path}?token=geheim%26token-0123456789ab"
        for event, path in WEBHOOKS.items()
    }
    assert all(row["isActive"] and row["skipOwn"] for row in first)

    assert await install(settings) == ["kept"] * 6
    assert await crm.webhooks() == first


async def test_secrets_are_given_out_when_a_webhook_is_created_and_never_again(
    settings: Settings, crm: Crm
) -> None:
    created = [step async for step in install_webhooks(settings, PUBLIC_URL)]
    secrets = {
        step.webhook_id: step.secret.get_secret_value()
        for step in created
        if step.secret
    }
    assert secrets == {row["id"]: row["secretKey"] for row in await crm.webhooks()}
    assert all(secret not in repr(created) for secret in secrets.values())
    assert all(
        [step.secret is None async for step in install_webhooks(settings, PUBLIC_URL)]
    )


async def test_a_new_address_or_token_changes_the_webhooks_and_keeps_their_secrets(
    settings: Settings, make_settings: Callable[..., Settings], crm: Crm
) -> None:
    await install(settings)
    before = await crm.webhooks()

    other = make_settings(ESPOCRM_WEBHOOK_TOKEN=NEW_TOKEN)
    assert await install(other, "https://other.example/crm/") == ["updated"] * 6

    after = await crm.webhooks()
    assert [(row["id"], row["secretKey"]) for row in after] == [
        (row["id"], row["secretKey"]) for row in before
    ]
    assert {row["url"] for row in after} == {
        f"https://other.example/crm{path}?token={NEW_TOKEN}"
        for path in WEBHOOKS.values()
    }


async def test_a_webhook_that_is_off_is_switched_on_and_of_several_only_the_known_one_is_left(
    settings: Settings, make_settings: Callable[..., Settings], crm: Crm
) -> None:
    await install(settings)
    url = f"{PUBLIC_URL}{WEBHOOKS['CBeteiligte.create']}"
    known = await crm.webhook("POST", "", {"event": "CBeteiligte.create", "url": url})
    off = next(
        row for row in await crm.webhooks() if row["event"] == "CBeteiligte.delete"
    )
    await crm.webhook("PUT", f"/{off['id']}", {"isActive": False})
    with_secret = make_settings(
        ESPOCRM_WEBHOOK_TOKEN=TOKEN,
        ESPOCRM_WEBHOOK_SECRETS=f"{known['id']}:{known['secretKey']}",
    )

    actions = await install(with_secret)

    assert sorted(actions) == ["kept"] * 4 + ["removed"] + ["updated"] * 2
    left = await crm.webhooks()
    assert [row["id"] for row in left if row["event"] == "CBeteiligte.create"] == [
        known["id"]
    ]
    assert all(row["isActive"] for row in left)


async def test_webhooks_are_installed_also_while_the_sync_is_paused(
    settings: Settings,
) -> None:
    async with Resources(settings) as resources:
        await pause(resources, Scope("all"), reason="Umstellung", who="cli:anna")
    assert await install(settings) == ["created"] * 6


async def test_webhooks_of_others_are_left_alone(settings: Settings, crm: Crm) -> None:
    foreign = await crm.webhook(
        "POST", "", {"event": "CBeteiligte.create", "url": "https://shop.example/hook"}
    )
    await install(settings)
    assert await install(settings) == ["kept"] * 6
    assert foreign["id"] in {row["id"] for row in await crm.webhooks()}


async def test_an_espocrm_that_cannot_skip_our_own_events_gets_webhooks_all_the_same(
    settings: Settings, crm: Crm
) -> None:
    await crm.settings(version="8.4")
    assert await install(settings) == ["created"] * 6
    assert await install(settings) == ["kept"] * 6
    assert [check.name for check in await failures(settings, PUBLIC_URL)] == []


@pytest.mark.parametrize(
    "url",
    [
        "bitbylaw.example",
        "ftp://bitbylaw.example",
        "https://",
        "https://x.example/?a=b",
        "http://bitbylaw.example",
    ],
)
async def test_an_address_that_espocrm_cannot_call_is_refused(
    settings: Settings, crm: Crm, url: str
) -> None:
    with pytest.raises(SetupFailed, match="--url"):
        await install(settings, url)
    assert await crm.webhooks() == []


async def test_a_refused_key_and_a_missing_right_are_reported_with_the_remedy(
    make_settings: Callable[..., Settings],
) -> None:
    with pytest.raises(SetupFailed, match="ESPOCRM_MARVIN_API_KEY"):
        await install(make_settings(ESPOCRM_MARVIN_API_KEY="falsch"))
    with pytest.raises(SetupFailed, match="BitByLaw Sync"):
        await install(make_settings(ESPOCRM_MARVIN_API_KEY="espocrm-limited-key"))


async def test_the_command_shows_secrets_once(settings: Settings, crm: Crm) -> None:
    arguments = ("espocrm", "install-webhooks", "--url", PUBLIC_URL)
    status, output = await bitbylaw(settings, *arguments)
    assert status == 0
    keys = {
        row["event"]: f"{row['id']}:{row['secretKey']}" for row in await crm.webhooks()
    }
    assert output.splitlines()[-1] == ",".join(keys[event] for event in WEBHOOKS)
    assert TOKEN not in output

    status, output = await bitbylaw(settings, *arguments)
    assert (status, output.count("kept")) == (0, 6)
    assert not any(row["secretKey"] in output for row in await crm.webhooks())

    status, output = await bitbylaw(
        settings, *arguments, ESPOCRM_MARVIN_API_KEY="falsch"
    )
    assert status == 1
    assert "ESPOCRM_MARVIN_API_KEY" in output


# -- doctor -------------------------------------------------------------------------------------------------------


async def test_an_espocrm_that_is_set_up_is_well(settings: Settings) -> None:
    await install(settings)
    assert await failures(settings, PUBLIC_URL) == []
    assert await failures(settings) == []


async def test_what_the_role_does_not_allow_is_named(
    make_settings: Callable[..., Settings],
) -> None:
    found = {
        check.name: check
        for check in await failures(
            make_settings(ESPOCRM_MARVIN_API_KEY="espocrm-limited-key")
        )
    }
    assert found["role"].status == "failed"
    for missing in (
        "CBeteiligte: edit is no instead of all",
        "Webhook: not enabled",
        "mentionPermission is no",
    ):
        assert missing in found["role"].message
    assert found["extension"].status == "failed"
    assert found["next call"].status == "warning"


async def test_a_user_whose_edits_count_as_those_of_a_person_is_found(
    make_settings: Callable[..., Settings], crm: Crm
) -> None:
    await crm.api_user("other-key", rights=RIGHTS, **PERMISSIONS)
    settings = make_settings(ESPOCRM_MARVIN_API_KEY="other-key")
    await install(settings)
    check, *others = await failures(settings)
    assert (check.name, check.status) == ("extension", "failed")
    assert "dirty" in check.message
    assert [other.name for other in others] == UNTOLD


async def test_an_extension_without_the_write_action_is_warned_of(
    settings: Settings, crm: Crm
) -> None:
    await install(settings)
    await crm.settings(extension="1.0.0")
    check, *others = await failures(settings)
    assert (check.name, check.status) == ("extension", "warning")
    assert "comes back as a webhook" in check.message
    assert [other.name for other in others] == UNTOLD


async def test_rights_that_nothing_needs_and_the_rights_of_a_person_are_warned_of(
    make_settings: Callable[..., Settings], crm: Crm
) -> None:
    generous = {**RIGHTS, "CBeteiligte": (*EDIT, "delete")}
    await crm.api_user("generous-key", sync=True, rights=generous, **PERMISSIONS)
    settings = make_settings(ESPOCRM_MARVIN_API_KEY="generous-key")
    await install(settings)
    (check,) = await failures(settings)
    assert (check.name, check.status) == ("role", "warning")
    assert "CBeteiligte" in check.message

    of_admin = await failures(make_settings(ESPOCRM_MARVIN_API_KEY="espocrm-admin-key"))
    assert ("key", "warning") in {(check.name, check.status) for check in of_admin}


async def test_an_entity_that_the_role_does_not_show_and_a_task_without_our_parents_are_found(
    make_settings: Callable[..., Settings], crm: Crm
) -> None:
    rights = {
        scope: actions for scope, actions in RIGHTS.items() if scope != "CAdressen"
    }
    await crm.api_user("narrow-key", sync=True, rights=rights, **PERMISSIONS)
    await crm.settings(task_parents=["Account", "CBeteiligte", "CAdressen"])
    settings = make_settings(ESPOCRM_MARVIN_API_KEY="narrow-key")
    await install(settings)
    found = {check.name: check.message for check in await failures(settings)}
    assert found.keys() == {"CAdressen", "Task", "role"}
    assert found["Task"] == "A Task cannot be linked with CAdressen, CBankverbindungen."


async def test_webhooks_that_are_missing_off_double_elsewhere_or_without_token_are_found(
    settings: Settings, make_settings: Callable[..., Settings], crm: Crm
) -> None:
    assert len(await failures(settings)) == 6
    await install(settings)
    rows = {row["event"]: row for row in await crm.webhooks()}
    await crm.webhook(
        "PUT", f"/{rows['CBeteiligte.create']['id']}", {"isActive": False}
    )
    await crm.webhook(
        "POST",
        "",
        {"event": "CBeteiligte.update", "url": rows["CBeteiligte.update"]["url"]},
    )
    elsewhere = rows["CBeteiligte.delete"]["url"].replace(
        "bitbylaw.example", "old.example"
    )
    await crm.webhook("PUT", f"/{rows['CBeteiligte.delete']['id']}", {"url": elsewhere})
    bare = rows["CBankverbindungen.create"]["url"].partition("?")[0]
    await crm.webhook(
        "PUT", f"/{rows['CBankverbindungen.create']['id']}", {"url": bare}
    )
    await crm.webhook(
        "PUT", f"/{rows['CBankverbindungen.update']['id']}", {"skipOwn": False}
    )
    await crm.webhook("DELETE", f"/{rows['CBankverbindungen.delete']['id']}")

    found = {
        check.name.removeprefix("webhook "): check
        for check in await failures(settings, PUBLIC_URL)
    }
    assert found.keys() == WEBHOOKS.keys()
    messages = {event: check.message.split(",")[0] for event, check in found.items()}
    assert messages == {
        "CBeteiligte.create": "It is switched off.",
        "CBeteiligte.update": "It is registered 2 times",
        "CBeteiligte.delete": "It leads to https://old.example/vmh/webhook/beteiligte/delete",
        "CBankverbindungen.create": "Its address does not carry ESPOCRM_WEBHOOK_TOKEN.",
        "CBankverbindungen.update": "It also reports what we change ourselves.",
        "CBankverbindungen.delete": "The API user has no such webhook (one that an administrator made by hand is "
        "not visible to us).",
    }
    assert found["CBankverbindungen.update"].status == "warning"
    assert all(TOKEN not in f"{check.message}{check.fix}" for check in found.values())

    await install(settings)
    assert await failures(settings, PUBLIC_URL) == []


async def test_a_secret_that_does_not_fit_is_found_and_not_shown(
    settings: Settings, make_settings: Callable[..., Settings], crm: Crm
) -> None:
    await install(settings)
    first, *others = await crm.webhooks()
    right = ",".join(f"{row['id']}:{row['secretKey']}" for row in others)

    wrong = make_settings(
        ESPOCRM_WEBHOOK_TOKEN=TOKEN,
        ESPOCRM_WEBHOOK_SECRETS=f"{right},{first['id']}:alt-0123456789abcdef0123",
    )
    (check,) = await failures(wrong)
    assert check.name == f"webhook {first['event']}"
    assert first["secretKey"] not in f"{check.message}{check.fix}"

    whole = make_settings(
        ESPOCRM_WEBHOOK_TOKEN=TOKEN,
        ESPOCRM_WEBHOOK_SECRETS=f"{right},{first['id']}:{first['secretKey']}",
    )
    assert await failures(whole) == []


async def test_the_exit_status_distinguishes_well_unwell_and_unknown(
    settings: Settings, espocrm: EspoCRMTwin
) -> None:
    async def doctor(*arguments: str, **environment: str) -> tuple[int, dict[str, str]]:
        status, output = await bitbylaw(
            settings, "doctor", "--json", *arguments, **environment
        )
        found = {
            check["name"]: check["status"] for check in json.loads(output)["checks"]
        }
        # Google is not configured here; see test_calendar_doctor.
        assert found.pop("google account", "warning") == "warning"
        assert found.pop(RUNNING, "warning") == "warning"  # nor does BitByLaw run
        assert found.pop("old system", "ok") == "ok"  # see test_takeover_signs
        return status, found

    await install(settings)
    status, checks = await doctor("--url", PUBLIC_URL)
    assert (status, set(checks.values())) == (0, {"ok"})
    assert {
        "key",
        "extension",
        "CBeteiligte",
        "CAdressen",
        "CBankverbindungen",
        "Task",
        "role",
    } <= checks.keys()

    assert (await doctor("--url", "https://other.example"))[0] == 1
    assert await doctor(ESPOCRM_MARVIN_API_KEY="falsch") == (2, {"key": "unchecked"})
    unused = "http://127.0.0.1:9/api/v1"
    twins = f"{settings.service.twins},{unused}"
    assert await doctor(ESPOCRM_API_BASE_URL=unused, BITBYLAW_TWINS=twins) == (
        2,
        {"key": "unchecked"},
    )
    assert await doctor(ESPOCRM_API_BASE_URL=espocrm.url) == (2, {"key": "unchecked"})
    assert await doctor(ESPOCRM_API_BASE_URL="") == (2, {"configuration": "unchecked"})
    assert await doctor(ESPOCRM_WEBHOOK_SECRETS="x") == (
        2,
        {"configuration": "unchecked"},
    )


async def test_for_people_each_failure_comes_with_its_remedy(
    settings: Settings,
) -> None:
    status, output = await bitbylaw(settings, "doctor")
    assert status == 1
    assert "ok role: " in output
    assert output.count("    -> Run: bitbylaw espocrm install-webhooks") == 6
