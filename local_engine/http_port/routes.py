"""HTTP routes: patterns with ``:name`` segments, static segments before parameters.

The last registration of a method and path wins; when it goes, an earlier one that is still registered serves again.
Matching works on the raw path: nothing is percent-decoded and a trailing slash counts. Two patterns that differ only in
the names of their parameters (v0.8.3 cannot build its router then) share one place.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from local_engine.worker_port.triggers import Trigger, TriggerRejectedError

METHODS = frozenset({"GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"})


@dataclass(frozen=True)
class Match:
    """The route of a request."""

    trigger: Trigger
    path: str
    path_params: dict[str, str]


@dataclass(frozen=True)
class NoMatch:
    """Why no route serves a request.

    ``unknown``: no such path; ``gone``: the route was there until its worker was lost; ``method``: other methods only.
    """

    reason: Literal["unknown", "gone", "method"]
    allowed: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True)
class _Fitting:
    """A pattern that fits a path."""

    method: str
    pattern: str
    params: dict[str, str]


def _segments(path: str) -> tuple[str, ...]:
    return tuple(path.split("/"))


def _shape(path: str) -> tuple[bool, ...]:
    """Sort key: False (static) before True (parameter), position by position."""
    return tuple(segment.startswith(":") for segment in _segments(path))


def _params(pattern: str, path: str) -> dict[str, str] | None:
    """Return the parameters if the path fits the pattern."""
    params: dict[str, str] = {}
    for expected, actual in zip(_segments(pattern), _segments(path), strict=True):
        is_parameter = expected.startswith(":")
        if is_parameter and actual:
            name = expected.removeprefix(":")
            params[name] = actual
        elif expected != actual:
            return None
    return params


class Routes:
    """The trigger type ``http``."""

    def __init__(self) -> None:
        #: Registered triggers by method and path, in the order of registration.
        self._routes: dict[tuple[str, str], list[Trigger]] = {}
        self._gone: set[tuple[str, str]] = set()

    @staticmethod
    def _key(trigger: Trigger) -> tuple[str, str]:
        path = trigger.text("api_path")
        method = (trigger.text("http_method") or "GET").upper()
        if path is None:
            raise TriggerRejectedError("api_path is missing")
        if method not in METHODS:
            raise TriggerRejectedError("unknown http_method")
        return method, path.lstrip("/")

    def register(self, trigger: Trigger) -> None:
        """Add a route. Raises TriggerRejectedError for a missing path or an unknown method."""
        key = self._key(trigger)
        self._routes.setdefault(key, []).append(trigger)
        self._gone.discard(key)

    def unregister(self, trigger: Trigger, *, owner_lost: bool) -> None:
        """Remove a route; one whose worker was lost is remembered as gone, not as unknown."""
        key = self._key(trigger)
        known = self._routes.get(key, [])
        remaining = [other for other in known if other is not trigger]
        if remaining:
            self._routes[key] = remaining
            return
        self._routes.pop(key, None)
        if owner_lost:
            self._gone.add(key)

    def match(self, method: str, raw_path: str) -> Match | NoMatch:
        """Find the route for a raw request path (with its leading slash, without query)."""
        path = raw_path.removeprefix("/")
        found = _best(self._routes, path)
        for fitting in found:
            if fitting.method == method:
                triggers = self._routes[method, fitting.pattern]
                return Match(triggers[-1], fitting.pattern, fitting.params)
        if _allows(_best(self._gone, path), method):
            return NoMatch("gone")
        if not found:
            return NoMatch("unknown")
        allowed = frozenset(fitting.method for fitting in found)
        return NoMatch("method", allowed)


def _allows(found: list[_Fitting], method: str) -> bool:
    return any(fitting.method == method for fitting in found)


def _best(keys: Iterable[tuple[str, str]], path: str) -> list[_Fitting]:
    """Return the most specific patterns that fit the path."""
    count = path.count("/")
    found: list[_Fitting] = []
    for method, pattern in keys:
        if pattern.count("/") != count:
            continue
        params = _params(pattern, path)
        if params is not None:
            found.append(_Fitting(method, pattern, params))
    if len(found) < 2:
        return found
    best = min(_shape(fitting.pattern) for fitting in found)
    return [fitting for fitting in found if _shape(fitting.pattern) == best]
