"""Setting up a real EspoCRM, taking the extension away again, and what our looks leave behind there."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from espocrm_rest import NAMES, Rest

from config import PROJECT_ROOT, load_settings
from services.espocrm_setup.doctor import diagnose
from services.espocrm_setup.schema import ENTITIES, EXTENSION_VERSION, ROLE_ID

OUR_URL = "http://127.0.0.1:9"
LISTS = (
    "tabList",
    "globalSearchEntityList",
    "quickCreateList",
    "streamEmailNotificationsEntityList",
)


@dataclass
class Site:
    """A real EspoCRM and its administrator, and the machine that is set up with it."""

    url: str
    user: str
    password: str
    admin: Rest
    env: Path

    async def set_up(self) -> tuple[int, str]:
        """Exit status and output of the command."""
        plain = {
            name: os.environ[name]
            for name in ("PATH", "HOME", "TMPDIR")
            if name in os.environ
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "cli.main", "espocrm", "setup", "--admin-user", self.user, "--task-user", self.user,
            "--url", OUR_URL, "--espocrm-url", self.url,
            cwd=PROJECT_ROOT,
            env={**plain, "BITBYLAW_ENV_FILE": str(self.env), "ESPOCRM_ADMIN_PASSWORD": self.password},
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        output, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, output.decode()

    async def uninstall(self) -> None:
        (installed,) = [
            row
            for row in (await self.admin.get("Extension"))["list"]
            if row["isInstalled"]
        ]
        assert (
            await self.admin.post("Extension/action/uninstall", {"id": installed["id"]})
            is True
        )

    async def logged(self, path: str) -> int:
        """How many rows of the login log report a request for this path."""
        where = {"type": "endsWith", "attribute": "requestUrl", "value": path}
        query = urlencode({f"where[0][{name}]": value for name, value in where.items()})
        return int((await self.admin.get(f"AuthLogRecord?maxSize=1&{query}"))["total"])


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """What was set up by the test is taken away, but for the extension and the API user."""
    url, user, password = (os.environ.get(name, "") for name in NAMES)
    if not (url and user and password):
        pytest.skip(f"no real EspoCRM: set {', '.join(NAMES)}")
    env = tmp_path / ".env"
    env.write_text("# Kanzlei\n")
    async with Rest.as_user(url, user, password) as admin:
        yield Site(url, user, password, admin, env)
        for webhook_id in load_settings({}, env_file=env).espocrm.webhook_keys:
            await admin.request("DELETE", f"Webhook/{webhook_id}")


async def test_one_command_sets_espocrm_up_and_a_second_one_changes_nothing(
    site: Site,
) -> None:
    _, output = await site.set_up()
    settings = load_settings({}, env_file=site.env)
    checks = {check.name: check for check in await diagnose(settings, OUR_URL)}
    must_be_well = ("key", "extension", *ENTITIES, "Task", "role", "task user", "PHP")
    assert {name: checks[name].status for name in must_be_well} == dict.fromkeys(
        must_be_well, "ok"
    ), output
    assert (
        len(
            [
                name
                for name, check in checks.items()
                if name.startswith("webhook ") and check.status == "ok"
            ]
        )
        >= 6
    )
    assert (await site.admin.get("App/user"))["appParams"]["bitbylaw"][
        "actions"
    ] is True
    assert (await site.admin.get("Settings"))["bitByLawUrl"] == OUR_URL
    before = site.env.stat()

    _, output = await site.set_up()
    assert {line.split()[0] for line in output.partition("\n\n")[0].splitlines()} == {
        "kept"
    }, output
    assert site.env.stat() == before


async def test_uninstalling_takes_back_what_would_lead_nowhere_and_keeps_records(
    site: Site,
) -> None:
    await site.set_up()
    record = await site.admin.post("CBeteiligte", {"lastName": "Bleibt"})
    kept = await site.admin.get("Settings")
    await site.admin.put("Settings", _with_our_entities(kept))
    try:
        await site.uninstall()
        settings = await site.admin.get("Settings")
        found = [settings.get(name) for name in (*LISTS, "dashboardLayout")]
        assert not any(name in str(found) for name in (*ENTITIES, "BitByLaw"))
        assert {"Task", "Case"} <= set(settings["streamEmailNotificationsEntityList"])
        assert [
            dashlet["name"]
            for tab in settings["dashboardLayout"]
            for dashlet in tab["layout"]
        ] == ["Stream"]
        assert (
            not {"bitByLawUrl", "bitByLawSecret"} & settings.keys()
        )  # who may read a setting, the extension says
        assert ROLE_ID in {
            role["id"] for role in (await site.admin.get("Role"))["list"]
        }
    finally:
        await site.set_up()
    assert (await site.admin.get(f"CBeteiligte/{record['id']}"))["lastName"] == "Bleibt"
    assert (await site.admin.get("Settings"))["tabList"][0] == "CBeteiligte"
    names = (*LISTS, "dashboardLayout", "dashletsOptions")
    await site.admin.put(
        "Settings", {name: kept[name] for name in names if name in kept}
    )


def _with_our_entities(settings: dict[str, Any]) -> dict[str, Any]:
    """What administrators do with our entities: a group, a notification, dashlets for all users."""
    group = {
        "type": "group",
        "id": "987654",
        "text": "Kanzlei",
        "itemList": ["CBeteiligte", "CAdressen", "Task"],
    }
    dashlets = [{"id": f"d{number}", "name": name, "x": 0, "y": number * 4, "width": 2, "height": 4} for number, name
                in enumerate(("BitByLawBeteiligte", "Records", "Stream"))]  # fmt: skip
    return {
        "tabList": [*settings["tabList"], group],
        "streamEmailNotificationsEntityList": ["Case", "CBankverbindungen", "Task"],
        "dashboardLayout": [{"name": "Kanzlei", "layout": dashlets}],
        "dashletsOptions": {"d1": {"title": "Alle", "entityType": "CBeteiligte"}},
    }


async def test_an_upgrade_keeps_what_an_administrator_has_changed(site: Site) -> None:
    await site.set_up()
    kept = await site.admin.get("Settings")
    await site.admin.put(
        "Settings", {"tabList": ["Task", "CBeteiligte"], "quickCreateList": ["Task"]}
    )
    role = await site.admin.get(f"Role/{ROLE_ID}")
    lacking = {**role["data"], "Task": False, "Account": {"read": "all"}}
    await site.admin.put(f"Role/{ROLE_ID}", {"data": lacking})

    (
        _,
        output,
    ) = (
        await site.set_up()
    )  # the role lacks something, so the extension is installed again

    assert (
        f"version {EXTENSION_VERSION} installed; version {EXTENSION_VERSION} was there"
        in output
    )
    settings, completed = (
        await site.admin.get("Settings"),
        await site.admin.get(f"Role/{ROLE_ID}"),
    )
    assert (settings["tabList"], settings["quickCreateList"]) == (
        ["Task", "CBeteiligte"],
        ["Task"],
    )
    assert completed["data"]["Task"] == role["data"]["Task"]
    assert completed["data"]["Account"]["read"] == "all"
    await site.admin.put(
        "Settings", {name: kept[name] for name in ("tabList", "quickCreateList")}
    )
    await site.admin.put(f"Role/{ROLE_ID}", {"data": role["data"]})


async def test_a_look_without_a_key_leaves_no_row_in_the_login_log(site: Site) -> None:
    before = await site.logged("/api/v1/Settings")
    for _ in range(5):
        async with site.admin.session.get(
            f"{site.url}/api/v1/Settings", headers={"Authorization": ""}
        ) as answer:
            assert answer.status == 200
    assert await site.logged("/api/v1/Settings") == before
