"""The board's JSON: the same values as the pages, and the OpenAPI document that describes them."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from board.pages.table import PAGES, Page

API_VERSION = "1"
_PATH_PARAMETER = re.compile(r"{(\w+)}")


@cache
def _adapter(view: Any) -> TypeAdapter[Any]:
    return TypeAdapter(view)


def to_json(page: Page, view: Any) -> Any:
    """A page's view as JSON values: times are ISO 8601."""
    return _adapter(page.view).dump_python(view, mode="json")


@cache
def document() -> dict[str, Any]:
    """The OpenAPI document (3.1)."""
    inputs: list[Any] = [
        (page.name, "serialization", _adapter(page.view)) for page in PAGES
    ]
    schemas, definitions = TypeAdapter.json_schemas(
        inputs,
        ref_template="#/components/schemas/{model}",
    )
    paths = {}
    for page in PAGES:
        schema = schemas[(page.name, "serialization")]
        paths[page.api_path] = {"get": _operation(page, schema)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "BitByLaw board",
            "version": API_VERSION,
            "description": "What the board's pages show. Ids and numbers only.",
        },
        "paths": paths,
        "components": {
            "schemas": definitions.get("$defs", {}),
            "securitySchemes": {
                "session": {"type": "apiKey", "in": "cookie", "name": "bitbylaw_board"},
            },
        },
        "security": [{"session": []}, {}],
    }


def _operation(page: Page, schema: Any) -> dict[str, Any]:
    in_path = set(_PATH_PARAMETER.findall(page.path))
    parameters = [
        {
            "name": name,
            "in": "path" if name in in_path else "query",
            "required": name in in_path,
            "schema": {"type": "integer" if name == "page" else "string"},
        }
        for name in page.parameters
    ]
    return {
        "operationId": page.name,
        "parameters": parameters,
        "responses": {
            "200": {
                "description": "What the page shows.",
                "content": {"application/json": {"schema": schema}},
            },
            "401": {"description": "A login is needed."},
            "403": {"description": "The request is not for this machine's name."},
        },
    }
