"""HTTP routes: patterns with ``:name`` segments, static segments before parameters.

The last registration of a method and path wins; when it goes, an earlier one that is still registered serves again.
Matching works on the raw path: nothing is percent-decoded and a trailing slash counts. Two patterns that differ only in
the names of their parameters (v0.8.3 cannot build its router then) share one place.
"""

from __future__ import annotations

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


def _segments(path: str) -> tuple[str, ...]:
    return tuple(path.split("/"))


def _shape(path: str) -> tuple[bool, ...]:
    """Sort key: False (static) before True (parameter), position by position."""
    return tuple(segment.startswith(":") for segment in _segments(path))


def _params(pattern: str, path: str) -> dict[str, str] | None:
    """Return the parameters if the path fits the pattern."""
    params: dict[str, str] = {}
    for expected, actual in zip(_segments(pattern), _segments(path), strict=True):
        if expected.startswith(":") and actual:
            params[expected[1:]] = actual
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
        remaining = [
            known for known in self._routes.get(key, []) if known is not trigger
        ]
        if remaining:
            self._routes[key] = remaining
            return
        self._routes.pop(key, None)
        if owner_lost:
            self._gone.add(key)

    def match(self, method: str, raw_path: str) -> Match | NoMatch:
        """Find the route for a raw request path (with its leading slash, without query)."""
        path = raw_path.removeprefix("/")
        found = self._best(self._routes, path)
        if not found:
            gone = any(known == method for known, _, _ in self._best(self._gone, path))
            return NoMatch("gone" if gone else "unknown")
        for known, pattern, params in found:
            if known == method:
                return Match(self._routes[known, pattern][-1], pattern, params)
        if any(known == method for known, _, _ in self._best(self._gone, path)):
            return NoMatch("gone")
        return NoMatch("method", frozenset(known for known, _, _ in found))

    @staticmethod
    def _best(
        keys: dict[tuple[str, str], list[Trigger]] | set[tuple[str, str]], path: str
    ) -> list[tuple[str, str, dict[str, str]]]:
        """Return method, pattern and parameters of the most specific patterns that fit the path."""
        count = path.count("/")
        fitting = []
        for method, pattern in keys:
            if pattern.count("/") != count:
                continue
            params = _params(pattern, path)
            if params is not None:
                fitting.append((method, pattern, params))
        if not fitting:
            return []
        best = min(_shape(pattern) for _, pattern, _ in fitting)
        return [entry for entry in fitting if _shape(entry[1]) == best]
