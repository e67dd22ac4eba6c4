"""The writes of the three clients, as the code has them: a new operation is among them without being named here."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from config import PROJECT_ROOT
from services.advoware_service import AdvowareService
from services.espocrm import EspoCRMAPI
from services.google_calendar import GoogleCalendarAPI

#: All that is not named here is taken for a write.
READS: dict[type, set[str]] = {
    AdvowareService: {"ask_termine"},
    EspoCRMAPI: {"search_entities", "shows_what_is_stored", "write_offer"},
    GoogleCalendarAPI: set(),
}
READ_PREFIXES = ("get_", "list_", "find_")

Operation = tuple[str, Callable[..., Awaitable[Any]]]


def write_operations(client: Any) -> Iterator[Operation]:
    """The public operations of a client, or of its class, that are not known to read."""
    kind = client if isinstance(client, type) else type(client)
    for name, method in inspect.getmembers(client, inspect.iscoroutinefunction):
        is_read = name.startswith(READ_PREFIXES) or name in READS[kind]
        if not name.startswith("_") and not is_read:
            yield name, method


def all_write_operations() -> set[str]:
    """The names of the write operations of all clients."""
    return {name for client in READS for name, _ in write_operations(client)}


def write_sites() -> set[str]:
    """Where services call a write operation, such as ``services/adressen_sync.py _post: create_adresse``."""
    names = all_write_operations()
    sites = set()
    for path in sorted((PROJECT_ROOT / "services").rglob("*.py")):
        if path == PROJECT_ROOT / "services/espocrm.py":
            continue  # one operation by way of another
        for function, called in _calls(path):
            if called in names:
                sites.add(site_name(str(path), function, called))
    return sites


def site_name(path: str, function: str, operation: str) -> str:
    """How a site is named; ``path`` is absolute."""
    return f"{Path(path).relative_to(PROJECT_ROOT)} {function}: {operation}"


def _calls(path: Path) -> Iterator[tuple[str, str]]:
    """The functions of a module with the names of the methods of clients that they call.

    A client is held in a name such as ``self._espocrm``, ``google`` or ``api``.
    """
    for function in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(function, ast.AsyncFunctionDef):
            continue
        for node in _own_nodes(function):
            if _is_client_call(node):
                assert isinstance(node, ast.Call)
                assert isinstance(node.func, ast.Attribute)
                yield function.name, node.func.attr


def _own_nodes(function: ast.AsyncFunctionDef) -> Iterator[ast.AST]:
    """The nodes of a function without those of functions inside it."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.AsyncFunctionDef):
            continue
        yield node
        waiting += ast.iter_child_nodes(node)


def _is_client_call(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    holder = node.func.value
    name = getattr(holder, "attr", getattr(holder, "id", ""))
    return name.lstrip("_") in {"advoware", "espocrm", "google", "api"}
