"""The files of deploy/ and the steps fit the real engine: its configuration (specification 04, 7.1) and its gaps."""

from __future__ import annotations

import configparser
import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import time
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from ports import unused_port

from cli.engines import find_iii
from cli.supervisor import StartFailed
from local_engine.http_port import api as http_api
from services.api import proxy_request

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
FILE_BASED = [ROOT / "iii-config.yaml", DEPLOY / "iii-config.single.yaml"]
CLUSTER = DEPLOY / "iii-config.cluster.yaml"
ENGINE = shutil.which(os.environ.get("III_ENGINE_BIN") or "iii")

STORE = {"store_method", "file_path", "save_interval_ms"}
OTEL = {
    *(
        "enabled",
        "service_name",
        "service_version",
        "service_namespace",
        "exporter",
        "endpoint",
        "sampling_ratio",
    ),
    *(
        "memory_max_spans",
        "metrics_enabled",
        "metrics_exporter",
        "metrics_retention_seconds",
        "metrics_max_count",
    ),
    *(
        "logs_enabled",
        "logs_exporter",
        "logs_max_count",
        "logs_retention_seconds",
        "logs_console_output",
    ),
    *("level", "format"),
}
#: Modules and their keys, as the engine knows them; an unknown one keeps it from starting.
MODULES = {
    "modules::api::RestApiModule": {
        "host",
        "port",
        "default_timeout",
        "concurrency_request_limit",
        "cors",
    },
    "modules::queue::QueueModule": {"adapter"},
    "modules::cron::CronModule": {"adapter"},
    "modules::state::StateModule": {"adapter"},
    "modules::observability::OtelModule": OTEL,
    "modules::telemetry::TelemetryModule": {"enabled"},
}
ADAPTERS = {
    "modules::queue::BuiltinQueueAdapter": {
        *STORE,
        *("max_attempts", "backoff_ms", "concurrency", "poll_interval_ms", "mode"),
    },
    "modules::queue::RabbitMQAdapter": {
        "amqp_url",
        "max_attempts",
        "prefetch_count",
        "queue_mode",
    },
    "modules::cron::KvCronAdapter": {"lock_ttl_ms", "lock_index"},
    "modules::cron::RedisCronAdapter": {"redis_url"},
    "modules::state::adapters::KvStore": STORE,
    "modules::state::adapters::RedisAdapter": {"redis_url"},
}


def read_config(path: Path, **variables: str) -> dict[str, Any]:
    """The subset of YAML that these files are written in; fails on everything else.

    ``${NAME:default}`` is replaced as the engine does, in the text.
    """
    text = re.sub(
        r"\$\{([^}:]+)(?::([^}]*))?\}",
        lambda found: (
            variables[found[1]]
            if found[2] is None
            else variables.get(found[1], found[2])
        ),
        path.read_text(),
    )
    lines = [re.sub(r"(^|\s+)#.*", "", line).rstrip() for line in text.splitlines()]
    value, rest = read_block([line for line in lines if line], 0)
    assert rest == []
    assert isinstance(value, dict)
    return value


def read_block(lines: list[str], indent: int) -> tuple[Any, list[str]]:
    """The mapping or sequence at this indent, and the lines after it."""
    items: list[Any] = []
    mapping: dict[str, Any] = {}
    while lines and len(lines[0]) - len(lines[0].lstrip()) == indent:
        line = lines[0].strip()
        if line.startswith("- "):
            item, lines = read_block(
                [" " * (indent + 2) + line[2:], *lines[1:]], indent + 2
            )
            items.append(item)
            continue
        key, separator, text = line.partition(":")
        assert separator, line
        assert text.startswith(" ") or not text, line
        assert key not in mapping, key
        lines = lines[1:]
        if text:
            mapping[key] = read_scalar(text.strip())
        else:
            mapping[key], lines = read_block(
                lines, len(lines[0]) - len(lines[0].lstrip())
            )
    assert not (items and mapping)
    return items or mapping, lines


def read_scalar(text: str) -> Any:
    """JSON, or a plain word."""
    try:
        return json.loads(text)
    except ValueError:
        assert re.fullmatch(r"[A-Za-z0-9_./:@-]+", text), text
        return text


def modules(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The modules' settings by class."""
    return {entry["class"]: entry.get("config", {}) for entry in config["modules"]}


CLUSTER_VARIABLES = {
    "AMQP_URL": "amqp://user:secret@host:5672",
    "ENGINE_REDIS_URL": "redis://:secret@host:6379/3",
}


@pytest.mark.parametrize("path", [*FILE_BASED, CLUSTER], ids=lambda path: path.name)
def test_the_engine_knows_every_class_and_key(path: Path) -> None:
    config = read_config(path, **CLUSTER_VARIABLES)
    assert set(config) == {"port", "modules"}
    assert isinstance(config["port"], int)
    assert len(config["modules"]) == len(modules(config))
    for entry in config["modules"]:
        assert set(entry) <= {"class", "config"}
        assert set(entry["config"]) <= MODULES[entry["class"]], entry["class"]
        adapter = entry["config"].get("adapter")
        if adapter is not None:
            assert set(adapter) <= {"class", "config"}
            assert set(adapter.get("config", {})) <= ADAPTERS[adapter["class"]], (
                adapter["class"]
            )
    assert set(modules(config)) == set(MODULES)


@pytest.mark.parametrize("path", [*FILE_BASED, CLUSTER], ids=lambda path: path.name)
def test_nothing_is_reported_to_strangers_or_kept_in_memory_only(path: Path) -> None:
    config = modules(read_config(path, **CLUSTER_VARIABLES))
    assert config["modules::telemetry::TelemetryModule"] == {"enabled": False}
    assert config["modules::observability::OtelModule"]["exporter"] == "memory"
    queue, state = (
        config[f"modules::{name}"]["adapter"]
        for name in ("queue::QueueModule", "state::StateModule")
    )
    for adapter in (queue, state):
        if "redis_url" not in adapter["config"] and "amqp_url" not in adapter["config"]:
            assert adapter["config"]["store_method"] == "file_based"
            assert adapter["config"]["save_interval_ms"] <= 500


@pytest.mark.parametrize("path", [*FILE_BASED, CLUSTER], ids=lambda path: path.name)
def test_no_page_but_the_console_on_this_machine_may_read_answers(path: Path) -> None:
    config = modules(read_config(path, **CLUSTER_VARIABLES))
    cors = config["modules::api::RestApiModule"]["cors"]
    # For the engine an empty list, and a missing one, means all users.
    names, ports = ("localhost", "127.0.0.1"), (3113, 3114)
    console = {f"http://{name}:{port}" for name in names for port in ports}
    assert set(cors["allowed_origins"]) == console
    assert set(cors["allowed_methods"]) == {"GET", "POST", "PUT", "DELETE"}


@pytest.mark.parametrize("path", [*FILE_BASED, CLUSTER], ids=lambda path: path.name)
def test_the_engines_retries_are_those_that_the_sync_steps_ask_for(path: Path) -> None:
    queue = modules(read_config(path, **CLUSTER_VARIABLES))[
        "modules::queue::QueueModule"
    ]["adapter"]["config"]
    asked = [retries for retries in step_attribute("RETRIES") if retries]
    assert asked
    for retries in asked:
        assert queue["max_attempts"] == retries["max_retries"] + 1
        assert (
            queue.get("backoff_ms", retries["backoff_delay_ms"])
            == retries["backoff_delay_ms"]
        )


@pytest.mark.parametrize("path", [*FILE_BASED, CLUSTER], ids=lambda path: path.name)
def test_no_query_gets_into_log_or_traces(path: Path) -> None:
    """From info on the engine keeps the query of each request, and with it a webhook's token."""
    config = modules(read_config(path, **CLUSTER_VARIABLES))
    assert config["modules::observability::OtelModule"]["level"] == "warn"


@pytest.mark.skipif(
    ENGINE is None, reason="no real engine: set III_ENGINE_BIN, or put iii on PATH"
)
@pytest.mark.parametrize("path", FILE_BASED, ids=lambda path: path.name)
def test_the_real_engine_starts_with_it(path: Path, tmp_path: Path) -> None:
    ports = [unused_port(), unused_port()]
    text = (
        path.read_text()
        .replace("port: 49134", f"port: {ports[0]}")
        .replace("port: 3111", f"port: {ports[1]}")
    )
    text = text.replace(
        "level: warn", "level: info"
    )  # only then it reports what is asked for below
    (tmp_path / "config.yaml").write_text(text)
    environment = {
        **os.environ,
        "BITBYLAW_WORKER_PORT": str(ports[0]),
        "BITBYLAW_HTTP_PORT": str(ports[1]),
        "BITBYLAW_DATA": str(tmp_path),
        "ENGINE_DATA": str(tmp_path),
    }
    assert ENGINE is not None
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - the engine that was named
            [ENGINE, "--config", "config.yaml"],
            cwd=tmp_path,
            env=environment,
            stdout=log,
        )
        try:
            deadline = time.monotonic() + 20
            while not all(listens(port) for port in ports):
                assert process.poll() is None, (tmp_path / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.05)
        finally:
            process.terminate()
            assert process.wait(20) == 0
    assert "Anonymous telemetry disabled" in (tmp_path / "log").read_text()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def steps() -> list[Any]:
    """The modules of all steps."""
    found = []
    for path in sorted((ROOT / "steps").rglob("*_step.py")):
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found.append(module)
    return found


def step_attribute(name: str) -> list[Any]:
    """A module-level value of each step, None where it has none."""
    return [getattr(step, name, None) for step in steps()]


def test_no_step_relies_on_what_the_real_engine_does_not_do() -> None:
    triggers = [
        trigger for config in step_attribute("config") for trigger in config["triggers"]
    ]
    assert len(triggers) > 20
    assert [trigger for trigger in triggers if trigger.condition is not None] == []
    assert {trigger.type for trigger in triggers} == {"http", "queue", "cron"}
    for trigger in triggers:
        if trigger.type == "http":
            assert ":" not in trigger.path
        if trigger.type == "cron":
            assert len(trigger.expression.split()) == 6
    topics = Counter(trigger.topic for trigger in triggers if trigger.type == "queue")
    assert [topic for topic, count in topics.items() if count > 1] == []


def sections(text: str) -> dict[str, str]:
    """The services of the compose file as text, by name."""
    body = text.partition("\nservices:\n")[2].partition("\nnetworks:\n")[0]
    parts = re.split(r"^  ([a-z0-9-]+):\n", body, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


COMPOSE = (DEPLOY / "docker-compose.yml").read_text()


def test_every_image_is_pinned_and_the_engine_is_the_one_that_was_tested() -> None:
    images = re.findall(r"^\s*image: (\S+)", COMPOSE, flags=re.M)
    assert "iiidev/iii:0.10.0" in images
    for image in images:
        assert image.startswith("bitbylaw-") or re.search(
            r":\d+\.\d+(\.\d+)?$", image
        ), image
    for file in ("Dockerfile", "console.Dockerfile"):
        assert "latest" not in (DEPLOY / file).read_text()


def test_the_compose_file_holds_no_secret_and_demands_each() -> None:
    for name in ("POSTGRES_PASSWORD", "REDIS_PASSWORD", "RABBITMQ_PASSWORD"):
        assert f"${{{name}:?}}" in COMPOSE
    for key, value in re.findall(
        r"^\s*([A-Z_]*(?:PASS|PASSWORD|AUTH|KEY|TOKEN)): (\S+)", COMPOSE, flags=re.M
    ):
        assert value.startswith("${"), key
    assert re.findall(r"://[^$:\s]*:[^$@\s]+@", COMPOSE) == []


def test_only_the_reverse_proxy_is_open_to_others() -> None:
    services = sections(COMPOSE)
    expected = {
        "caddy",
        "engine-1",
        "worker-1",
        "engine-2",
        "worker-2",
        "board",
        "console",
        "postgres",
        "redis",
        "rabbitmq",
    }
    assert set(services) == expected
    for name, text in services.items():
        published = re.findall(r"ports: \[(.*?)\]", text)
        assert (
            all(
                port.startswith('"127.0.0.1:')
                for port in ", ".join(published).split(", ")
                if port
            )
            or name == "caddy"
        )
        assert "49134:" not in ", ".join(published)
    assert "inside: {internal: true}" in COMPOSE


def test_each_worker_has_an_engine_of_its_own() -> None:
    """On the real engine a second worker takes everything, and its end takes it from both (engine_differences)."""
    urls = re.findall(
        r"III_URL: ws://(\S+):49134\n\s+BITBYLAW_ENGINE_HTTP_URL: http://(\S+):3111",
        COMPOSE,
    )
    assert [ws for ws, http in urls if ws != http] == []
    assert len({ws for ws, _ in urls}) == len(urls) == 2
    engines = re.search(r"\{\$ENGINES:(.*?)\}", (DEPLOY / "Caddyfile").read_text())
    assert engines is not None
    assert engines[1].split() == [f"{ws}:3111" for ws, _ in urls]


@pytest.mark.parametrize("file", ["Dockerfile", "console.Dockerfile"])
def test_no_image_of_the_project_runs_as_root(file: str) -> None:
    users = re.findall(r"^USER (\S+)$", (DEPLOY / file).read_text(), flags=re.M)
    assert users
    assert int(users[-1]) > 0


def test_the_workers_image_has_every_package() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"][
        "setuptools"
    ]["packages"]
    for package in {package.partition(".")[0] for package in packages} | {"steps"}:
        assert f"COPY {package} ./{package}\n" in text
    for file in ("requirements.lock", "pyproject.toml", "config.py", "iii-config.yaml"):
        assert file in text
    assert "HEALTHCHECK" in text


@pytest.mark.parametrize(
    "name", ["bitbylaw-engine", "bitbylaw-worker", "bitbylaw-board"]
)
def test_the_units_start_what_exists_again_and_again(name: str) -> None:
    unit = configparser.ConfigParser(interpolation=None, strict=True)
    unit.optionxform = str  # type: ignore[method-assign,assignment]
    unit.read_string((DEPLOY / "systemd" / f"{name}.service").read_text())
    service = unit["Service"]
    assert service["Restart"] == "always"
    assert service.get("User", "another") != "root"
    assert service.get("DynamicUser") == "yes" or "User" in service
    for path in re.findall(r"/opt/bitbylaw/(deploy/\S+)", service["ExecStart"]):
        assert (ROOT / path).is_file()
    if name == "bitbylaw-engine":
        assert (service["IPAddressDeny"], service["IPAddressAllow"]) == (
            "any",
            "localhost",
        )
    else:
        command = name.replace("-", " ")
        assert service["ExecStart"].endswith(command)


def test_the_reverse_proxy_opens_only_endpoints_that_exist() -> None:
    text = (DEPLOY / "Caddyfile").read_text()
    opened = re.search(r"@open path (.*)", text)
    assert opened is not None
    endpoints = {
        trigger.path
        for config in step_attribute("config")
        for trigger in config["triggers"]
        if trigger.type == "http"
    }
    for path in opened[1].split():
        assert path in endpoints or any(
            endpoint.startswith(path.rstrip("*"))
            for endpoint in endpoints
            if path.endswith("*")
        ), path
    limit = re.search(r"max_size (\d+)KB", text)
    assert limit is not None
    assert int(limit[1]) * 1000 < 2**20


def test_the_reverse_proxy_hands_over_the_target_as_the_embedded_engine_does() -> None:
    """Only there are repeated query parameters (engine_differences: no_request_target)."""
    (line,) = re.findall(r"header_up (\S+) (.*)", (DEPLOY / "Caddyfile").read_text())
    assert (line[0].lower(), line[1]) == (
        proxy_request.TARGET_HEADER,
        "{http.request.orig_uri}",
    )
    assert http_api.TARGET_HEADER == proxy_request.TARGET_HEADER


def test_the_reverse_proxy_logs_no_token_and_no_key() -> None:
    """Tried with Caddy 2.11: a request whose engine hangs up is logged with its address and its headers."""
    options, _, _ = (DEPLOY / "Caddyfile").read_text().partition("{$PUBLIC_NAME")
    fields = re.search(
        r"format filter \{\s+wrap json\s+fields \{(.*)\}\s+\}\s+\}\s+\}\s*$",
        options,
        flags=re.S,
    )
    assert fields is not None
    for field in (
        r"request>uri query \{\s+replace token REDACTED\s+\}",
        "request>headers>X-Api-Key delete",
        "request>headers>Authorization delete",
    ):
        assert re.search(field, fields[1]), field


def test_an_engine_that_cannot_run_the_steps_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = tmp_path / "iii"
    monkeypatch.setenv("III_ENGINE_BIN", str(engine))
    with pytest.raises(StartFailed, match="There is no engine"):
        find_iii()
    for output, refusal in (
        ("0.11.0", "is version 0.11.0"),
        ("0.8.2", "is version 0.8.2"),
        ("hello", "no iii engine"),
    ):
        engine.write_text(f"#!/bin/sh\necho {output}\n")
        engine.chmod(0o755)
        with pytest.raises(StartFailed, match=refusal):
            find_iii()
    engine.write_text("#!/bin/sh\necho 0.10.0\n")
    assert find_iii() == str(engine)
