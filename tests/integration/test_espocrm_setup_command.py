"""``bitbylaw espocrm setup``: one command from an empty EspoCRM to a doctor that is content; and it may be repeated."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from dotenv import dotenv_values

from config import PROJECT_ROOT, Settings, load_settings
from sandbox.espocrm.admin import ADMIN_PASSWORD
from sandbox.espocrm.app import EspoCRMTwin
from services.api.access import require_webhook_sender
from services.api.errors import AccessDenied
from services.espocrm_setup.doctor import RUNNING, Check, diagnose
from services.espocrm_setup.schema import EXTENSION_VERSION, WEBHOOKS

OUR_URL = "https://bitbylaw.example"
WELL_RUN = {
    "preferred_countries": ["de"],
    "address_format": 2,
    "logs_api_access": False,
    "webhook_event_portion": 200,
}
SECRETS = ("ESPOCRM_MARVIN_API_KEY", "ESPOCRM_WEBHOOK_TOKEN", "BITBYLAW_API_KEYS")


class Place:
    """A machine with an empty `.env`, and an EspoCRM as it comes."""

    def __init__(
        self, twin: EspoCRMTwin, session: aiohttp.ClientSession, directory: Path
    ) -> None:
        self.twin, self._session, self.env = twin, session, directory / ".env"
        self.env.write_text("# Kanzlei\nVMH_NEXTCALL_ENTITY=CBeteiligte\n")

    async def settings(self, **changes: Any) -> None:
        await self.control("POST", "settings", changes)

    async def control(self, method: str, path: str, body: Any = None) -> Any:
        async with self._session.request(
            method, f"{self.twin.url}/__sandbox__/{path}", json=body
        ) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def run(
        self, *arguments: str, stdin: str | None = None, **environment: str
    ) -> tuple[int, str]:
        """Exit status and output of the command, with nothing in the environment but what is given."""
        plain = {
            name: os.environ[name]
            for name in ("PATH", "HOME", "TMPDIR")
            if name in os.environ
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "cli.main", "espocrm", "setup", "--admin-user", "admin", *arguments,
            cwd=PROJECT_ROOT,
            env={
                **plain,
                "BITBYLAW_ENV_FILE": str(self.env),
                "BITBYLAW_TWINS": self.twin.url,
                "ESPOCRM_ADMIN_PASSWORD": ADMIN_PASSWORD,
                **environment,
            },
            stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        async with asyncio.timeout(60):
            output, _ = await process.communicate(
                None if stdin is None else stdin.encode()
            )
        assert process.returncode is not None
        return process.returncode, output.decode()

    async def set_up(self, *arguments: str, **options: Any) -> tuple[int, str]:
        return await self.run(
            "--url", OUR_URL, "--espocrm-url", self.twin.url, *arguments, **options
        )

    def values(self) -> dict[str, str]:
        return {name: value or "" for name, value in dotenv_values(self.env).items()}

    def loaded(self, **changes: Any) -> Settings:
        return load_settings(
            {"BITBYLAW_TWINS": self.twin.url, **changes}, env_file=self.env
        )

    async def webhooks(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.control("GET", "webhooks"))[
            "webhooks"
        ]
        return found


@pytest.fixture
async def place(
    espocrm: EspoCRMTwin, control: aiohttp.ClientSession, tmp_path: Path
) -> Place:
    place = Place(espocrm, control, tmp_path)
    await place.settings(extension="", **WELL_RUN)
    return place


def actions(output: str) -> list[str]:
    """The first word of each step, before the doctor speaks."""
    steps = output.partition("\n\n")[0].splitlines()
    return [line.split()[0] for line in steps]


async def test_one_command_sets_everything_up_and_a_second_one_changes_nothing(
    place: Place,
) -> None:
    status, output = await place.set_up("--task-user", "admin")

    assert status == 0, output
    assert "kept" not in actions(output)
    assert "Restart BitByLaw" in output
    assert (await place.control("GET", "settings"))["extension"] == EXTENSION_VERSION
    assert place.env.read_text().startswith(
        "# Kanzlei\nVMH_NEXTCALL_ENTITY=CBeteiligte\n"
    )
    assert stat.S_IMODE(place.env.stat().st_mode) == 0o600
    assert [path.name for path in place.env.parent.iterdir()] == [".env"]
    values = place.values()
    assert all(len(values[name]) >= 24 for name in SECRETS)
    assert place.loaded().espocrm.webhook_keys == {
        row["id"]: row["secretKey"] for row in await place.webhooks()
    }
    assert not any(values[name] in output for name in SECRETS)
    assert ADMIN_PASSWORD not in output + place.env.read_text()
    checks = {
        check.name: check.status for check in await diagnose(place.loaded(), OUR_URL)
    }
    assert {name for name, found in checks.items() if found != "ok"} == {RUNNING}

    before, webhooks = place.env.stat(), await place.webhooks()
    status, output = await place.set_up()
    assert status == 0, output
    assert set(actions(output)) == {"kept"}
    assert "Nothing was changed" in output
    assert place.env.stat() == before
    assert await place.webhooks() == webhooks


async def test_nothing_is_set_up_while_everything_is_read_only(place: Place) -> None:
    place.env.write_text(place.env.read_text() + "BITBYLAW_READ_ONLY=true\n")
    status, output = await place.set_up("--task-user", "admin")
    assert status != 0
    assert "BITBYLAW_READ_ONLY" in output
    assert await place.webhooks() == []


async def test_the_session_of_the_administrator_ends(place: Place) -> None:
    await place.set_up("--task-user", "admin")
    routes = [entry["route"] for entry in place.twin.journal]
    assert "/api/v1/App/destroyAuthToken" in routes


@pytest.mark.parametrize(
    "struck", ["/Extension/action/install$", "/User$", "/Webhook$", "/api/v1/User/"]
)
async def test_a_run_that_breaks_off_anywhere_is_completed_by_the_next(
    place: Place, struck: str
) -> None:
    fault = {
        "path": struck,
        "method": "POST|GET",
        "status": 500,
        "when": "after",
        "count": 2,
    }
    await place.control("POST", "faults", fault)
    status, output = await place.set_up("--task-user", "admin")
    broken = status

    await place.control("DELETE", "faults")
    status, output = await place.set_up("--task-user", "admin")

    assert (broken, status) in {(1, 0), (0, 0)}, output
    assert "Traceback" not in output
    assert sorted(row["event"] for row in await place.webhooks()) == sorted(WEBHOOKS)
    checks = {
        check.name: check.status for check in await diagnose(place.loaded(), OUR_URL)
    }
    assert {name for name, found in checks.items() if found != "ok"} == {RUNNING}
    users = (await place.control("GET", "state"))["records"]["User"]
    assert [user["userName"] for user in users].count("bitbylaw") == 1


async def test_what_was_lost_or_taken_away_is_completed(place: Place) -> None:
    await place.set_up("--task-user", "admin")
    text = place.env.read_text()
    for name in ("ESPOCRM_MARVIN_API_KEY", "ESPOCRM_WEBHOOK_SECRETS"):
        text = "\n".join(
            f"{name}=" if line.startswith(f"{name}=") else line
            for line in text.splitlines()
        )
    place.env.write_text(text)

    status, output = await place.set_up()

    assert status == 0, output
    assert [line for line in output.splitlines() if line.startswith("done")] == [
        "done     .env: ESPOCRM_MARVIN_API_KEY",
        "done     .env: ESPOCRM_WEBHOOK_SECRETS",
    ]


async def test_secrets_of_webhooks_that_are_gone_do_not_pile_up_and_those_made_by_hand_stay(
    place: Place,
) -> None:
    await place.set_up("--task-user", "admin")
    first, *_ = await place.webhooks()
    by_hand = await place.control(
        "POST", "records/Webhook", {"event": "Task.create", "url": "https://x.example"}
    )
    pairs = f"weg:0123456789abcdef01234567,{by_hand['id']}:{by_hand['secretKey']}"
    text = place.env.read_text().replace(
        "WEBHOOK_SECRETS=", f"WEBHOOK_SECRETS={pairs},"
    )
    place.env.write_text(text)
    await place.control("DELETE", f"records/Webhook/{first['id']}")

    await place.set_up()

    keys = place.loaded().espocrm.webhook_keys
    assert keys == {row["id"]: row["secretKey"] for row in await place.webhooks()}
    assert by_hand["id"] in keys


async def test_webhooks_of_others_that_lead_to_us_too_are_named_and_left_alone(
    place: Place,
) -> None:
    await place.set_up("--task-user", "admin")
    event, path = next(iter(WEBHOOKS.items()))
    double = await place.control(
        "POST", "records/Webhook", {"event": event, "url": f"{OUR_URL}{path}?token=x"}
    )
    elsewhere = await place.control(
        "POST", "records/Webhook", {"event": event, "url": f"https://x.example{path}"}
    )

    _, output = await place.set_up()

    assert (
        f"by hand  webhooks: events come twice by {double['id']}: remove them" in output
    )
    assert {double["id"], elsewhere["id"]} <= {
        row["id"] for row in await place.webhooks()
    }


async def test_the_user_whose_key_we_have_is_completed_whatever_his_name(
    place: Place,
) -> None:
    await place.settings(extension=EXTENSION_VERSION)
    place.env.write_text("ESPOCRM_MARVIN_API_KEY=espocrm-limited-key\n")
    _, output = await place.set_up("--task-user", "admin")
    assert "readonly: rolesIds corrected" in output
    assert place.values()["ESPOCRM_MARVIN_API_KEY"] == "espocrm-limited-key"
    users = (await place.control("GET", "state"))["records"]["User"]
    assert "bitbylaw" not in {user["userName"] for user in users}


async def test_an_older_extension_is_upgraded_and_a_newer_one_stays(
    place: Place,
) -> None:
    await place.settings(extension="1.0.0")
    _, output = await place.set_up("--task-user", "admin")
    assert f"version {EXTENSION_VERSION} installed; version 1.0.0 was there" in output
    await place.settings(extension="1.1.0", may_install=False)
    status, output = await place.set_up()
    assert status == 0
    assert "adminUpgradeDisabled" in output
    assert "php command.php extension" in output
    assert "warning extension: Version 1.1.0 is installed" in output


async def test_the_extension_is_installed_again_where_its_role_is_missing(
    place: Place,
) -> None:
    await place.settings(extension=EXTENSION_VERSION)
    _, output = await place.set_up("--task-user", "admin")
    assert (
        f"version {EXTENSION_VERSION} installed; version {EXTENSION_VERSION} was there"
        in output
    )
    assert "ok role" in output


async def test_without_an_extension_that_may_be_installed_the_way_by_hand_is_shown(
    place: Place,
) -> None:
    await place.settings(may_install=False)
    status, output = await place.set_up("--task-user", "admin")
    assert status == 1
    assert "Administration > Extensions" in output
    assert await place.webhooks() == []


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        ((), {"ESPOCRM_ADMIN_PASSWORD": "falsch"}, "wrong name, password or code"),
        ((), {"ESPOCRM_ADMIN_PASSWORD": ""}, "--password-stdin"),
        (("--espocrm-url", "http://crm.example"), {}, "--espocrm-url: plain http://"),
        (("--url", "http://bitbylaw.example"), {}, "--url: plain http://"),
        (("--espocrm-url", "crm.example"), {}, "--espocrm-url: must be an address"),
        (("--espocrm-url", "http://127.0.0.1:9"), {}, "cannot be reached"),
        (
            ("--task-user", "niemand"),
            {},
            "EspoCRM has no active user niemand. It has: admin",
        ),
        (("--package", "/dev/null"), {}, "this makes no package of the extension"),
        ((), {"BITBYLAW_ENV_FILE": ""}, "there is no file to write"),
    ],
)
async def test_what_cannot_work_is_reported_in_a_sentence(
    place: Place, arguments: tuple[str, ...], environment: dict[str, str], message: str
) -> None:
    status, output = await place.set_up(*arguments, **environment)
    assert status == 1
    assert message in output
    assert "Traceback" not in output


async def test_the_password_may_come_from_stdin_and_who_gets_tasks_may_be_given_later(
    place: Place,
) -> None:
    status, output = await place.set_up(
        "--password-stdin", stdin=f"{ADMIN_PASSWORD}\n", ESPOCRM_ADMIN_PASSWORD=""
    )
    assert status == 1  # the doctor
    assert "Add --task-user NAME" in output
    assert "failed task user: No one gets the tasks" in output


async def test_a_setting_in_the_environment_that_overrules_the_file_is_reported(
    place: Place,
) -> None:
    _, output = await place.set_up(
        "--task-user", "admin", VMH_TASK_ASSIGNED_USER_ID="another"
    )
    assert "VMH_TASK_ASSIGNED_USER_ID is also set in the environment" in output


async def test_buttons_of_the_extension_learn_where_we_are_and_keep_their_secret(
    place: Place,
) -> None:
    await place.settings(extension_settings=["bitByLawUrl", "bitByLawSecret"])
    _, output = await place.set_up("--task-user", "admin")
    assert f"done     buttons: EspoCRM calls {OUR_URL}" in output
    secret = place.values()["ESPOCRM_ACTION_SECRET"]
    assert len(secret) >= 24
    assert secret not in output

    _, output = await place.set_up()
    assert "kept     buttons" in output
    assert place.values()["ESPOCRM_ACTION_SECRET"] == secret
    assert await _buttons(place.loaded()) == ["ok"]
    assert await _buttons(place.loaded(ESPOCRM_ACTION_SECRET="")) == ["failed"]


async def test_buttons_that_lead_nowhere_are_warned_of(place: Place) -> None:
    access = {
        "ESPOCRM_API_BASE_URL": f"{place.twin.url}/api/v1",
        "ESPOCRM_MARVIN_API_KEY": "espocrm-demo-key",
    }
    await place.settings(extension=EXTENSION_VERSION)
    assert await _buttons(place.loaded(**access)) == [], "an extension without buttons"
    await place.settings(extension_settings=["bitByLawUrl", "bitByLawSecret"])
    assert await _buttons(place.loaded(**access)) == ["warning"]


async def _buttons(settings: Settings) -> list[str]:
    return [
        check.status for check in await diagnose(settings) if check.name == "buttons"
    ]


# -- the BitByLaw that runs ---------------------------------------------------------------------------------------


class Running:
    """A BitByLaw that was started with some settings: it takes webhooks as the steps do."""

    def __init__(self) -> None:
        self.settings: Settings | None = None
        self.status = 400
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        assert self.settings is not None
        headers = {name.lower(): value for name, value in request.headers.items()}
        body = json.loads(await request.read())
        assert body == []
        try:
            require_webhook_sender(headers, dict(request.query), body, self.settings)
        except AccessDenied:
            return web.Response(status=401)
        return web.Response(status=self.status)


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    running = Running()
    app = web.Application()
    app.router.add_post("/vmh/webhook/{entity}/{action}", running.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    running.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield running
    await runner.cleanup()


async def test_a_bitbylaw_that_was_started_before_its_secrets_changed_is_found(
    place: Place, running: Running
) -> None:
    arguments = (
        "--url",
        running.url,
        "--espocrm-url",
        place.twin.url,
        "--task-user",
        "admin",
    )
    await place.run(*arguments)

    async def found(**changes: Any) -> Check:
        running.settings = place.loaded(**changes)
        return next(
            check
            for check in await diagnose(place.loaded(), running.url)
            if check.name == RUNNING
        )

    assert (await found()).status == "ok"
    one, *others = place.values()["ESPOCRM_WEBHOOK_SECRETS"].split(",")
    for older in (
        {"ESPOCRM_WEBHOOK_TOKEN": "alt-0123456789abcdef0123456"},
        {"ESPOCRM_WEBHOOK_SECRETS": ",".join(others)},
        {"ESPOCRM_WEBHOOK_SECRETS": f"{one}0,{','.join(others)}"},
        {"ESPOCRM_WEBHOOK_SECRETS": ""},
    ):
        check = await found(**older)
        assert (check.status, check.fix.split(":")[0]) == (
            "failed",
            "Restart BitByLaw",
        ), older
    running.status = 502
    check = await found()
    assert check.status == "failed"
    assert "answers 502" in check.message
    assert place.values()["ESPOCRM_WEBHOOK_TOKEN"] not in f"{check.message}{check.fix}"


# -- how EspoCRM is run -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "name", "status", "message"),
    [
        ({"cron_seconds_ago": None}, "cron", "failed", "ever run"),
        ({"cron_seconds_ago": 3600}, "cron", "failed", "60 minutes ago"),
        (
            {"php_version": "8.2.36"},
            "PHP",
            "failed",
            "runs on PHP 8.2.36 and needs 8.3.0",
        ),
        ({"php_version": "8.4.1-1+ubuntu"}, "PHP", "ok", "8.4.1-1+ubuntu"),
        ({"php_version": "9"}, "PHP", "ok", "PHP 9"),
        ({"php_version": "unbekannt"}, "PHP", "warning", "not known"),
        ({"logs_api_access": True}, "login log", "warning", "each request"),
        (
            {"webhook_event_portion": None},
            "webhook portion",
            "warning",
            "sends 20 events",
        ),
        ({"webhook_event_portion": 0}, "webhook portion", "warning", "sends 20 events"),
        ({"preferred_countries": ["us", "de"]}, "phone numbers", "failed", "+1"),
        ({"preferred_countries": []}, "phone numbers", "failed", "+1"),
        (
            {"preferred_countries": ["us"], "phone_number_international": False},
            "phone numbers",
            "ok",
            "as they were typed",
        ),
        ({"address_format": 1}, "address format", "warning", "format 1"),
        ({"extension": "1.1.0"}, "extension", "warning", "this BitByLaw has"),
    ],
)
async def test_how_espocrm_is_run_is_looked_at(
    place: Place, change: dict[str, Any], name: str, status: str, message: str
) -> None:
    await place.settings(extension=EXTENSION_VERSION)
    await place.settings(**change)
    settings = place.loaded(
        ESPOCRM_API_BASE_URL=f"{place.twin.url}/api/v1",
        ESPOCRM_MARVIN_API_KEY="espocrm-demo-key",
    )
    check = next(check for check in await diagnose(settings) if check.name == name)
    assert check.status == status
    assert message in check.message
    assert bool(check.fix) == (status != "ok")


@pytest.mark.parametrize(
    ("user", "message"),
    [
        ("", "No one gets the tasks"),
        ("6b0473a32660ab999", "does not know the user"),
        ("6b04744e3b3103de6", "no person (type api)"),
        ("6b0473a32660abbbb", "is not active"),
    ],
)
async def test_whoever_cannot_see_tasks_must_not_get_them(
    place: Place, user: str, message: str
) -> None:
    await place.settings(extension=EXTENSION_VERSION)
    left = {
        "id": "6b0473a32660abbbb",
        "userName": "frueher",
        "name": "F",
        "type": "regular",
        "isActive": False,
    }
    await place.control("POST", "records/User", left)
    settings = place.loaded(
        ESPOCRM_API_BASE_URL=f"{place.twin.url}/api/v1",
        ESPOCRM_MARVIN_API_KEY="espocrm-demo-key",
        VMH_TASK_ASSIGNED_USER_ID=user,
    )
    check = next(
        check for check in await diagnose(settings) if check.name == "task user"
    )
    assert check.status == "failed"
    assert message in check.message
    assert "--task-user" in check.fix
