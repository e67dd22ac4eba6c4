"""The description of our endpoints is complete: each HTTP step, each error, an example for each body."""

from __future__ import annotations

import importlib.util
import json
import re

import pytest

from config import PROJECT_ROOT
from services.api.errors import ANSWERS, GATEWAY_ANSWERS
from services.api.openapi import document

DOCUMENT = document()
OPERATIONS = {
    (method.upper(), path): operation
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}


def registered() -> set[tuple[str, str]]:
    """Method and path of each HTTP trigger of the steps."""
    found = set()
    for path in (PROJECT_ROOT / "steps").rglob("*_step.py"):
        name = re.sub(r"\W", "_", path.stem)
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for trigger in module.config["triggers"]:
            if trigger.type == "http":
                found.add((trigger.method, trigger.path))
    return found


def test_every_http_step_is_described_and_nothing_else() -> None:
    assert set(OPERATIONS) == registered()


def test_every_error_of_the_table_is_described() -> None:
    text = json.dumps(DOCUMENT["paths"])
    for row in (*ANSWERS, *GATEWAY_ANSWERS):
        assert row.error in text or f'"{row.reason}"' in text, row


@pytest.mark.parametrize(("method", "path"), sorted(OPERATIONS))
def test_bodies_have_examples_and_answers_have_schemas(method: str, path: str) -> None:
    operation = OPERATIONS[method, path]
    for status, answer in operation["responses"].items():
        (content,) = answer["content"].values()
        assert content["schema"], status
        is_error = status[0] in "45" and path not in ("/health", "/hello")
        assert not is_error or "examples" in content or status == "4XX"
    for content in operation.get("requestBody", {}).get("content", {}).values():
        schema = content["schema"]
        name = schema.get("$ref", schema.get("items", {}).get("$ref", ""))
        model = name.rpartition("/")[2]
        is_free = path == "/advoware/proxy"  # any JSON that Advoware takes
        assert is_free or DOCUMENT["components"]["schemas"][model]["examples"]


def test_every_reference_leads_somewhere() -> None:
    names = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(DOCUMENT)))
    assert names
    assert names <= DOCUMENT["components"]["schemas"].keys()


def test_endpoints_of_tools_describe_their_refusals_and_webhooks_no_429() -> None:
    for (_, path), operation in OPERATIONS.items():
        is_for_tools = {"apiKey": []} in operation["security"]
        answers = operation["responses"]
        assert ("429" in answers) is is_for_tools, path
        if is_for_tools:
            assert {"401", "403"} <= answers.keys()
            assert answers["429"]["headers"]["Retry-After"]["required"]
