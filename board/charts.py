"""Geometry of the drawings that the server makes; templates turn it into SVG. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

from services.operate.flows import Count
from services.operate.overview import Hour
from services.operate.sources import Step
from services.operate.telemetry import SpanBar

CHART_WIDTH = 1200
CHART_HEIGHT = 120
NODE_WIDTH = 268
NODE_HEIGHT = 34
GAP_X = 64
GAP_Y = 12
MAX_LAYERS = 8
WATERFALL_WIDTH = 100.0


@dataclass(frozen=True)
class Bar:
    """One hour: the height of what was done, and above it that of what failed."""

    begins: datetime
    x: float
    width: float
    done: int
    failed: int
    done_height: float
    failed_height: float


@dataclass(frozen=True)
class Node:
    """A box of the graph. ``kind`` is http, cron, step or topic; ``address``: where its last runs are."""

    name: str
    kind: str
    x: int
    y: int
    address: str | None


@dataclass(frozen=True)
class Edge:
    """A line between two boxes. ``count``: what came through it from a topic to its step in the last hour."""

    x1: int
    y1: int
    x2: int
    y2: int
    count: Count | None = None


@dataclass(frozen=True)
class Graph:
    """The graph of one flow."""

    flow: str
    nodes: list[Node]
    edges: list[Edge]
    width: int
    height: int


@dataclass(frozen=True)
class WaterfallBar:
    """A span as percentages of the trace's length."""

    span: SpanBar
    left: float
    width: float


def hour_bars(hours: Sequence[Hour]) -> list[Bar]:
    """One bar for each hour; the highest fills the chart."""
    largest = max((hour.done + hour.failed for hour in hours), default=0) or 1
    step = CHART_WIDTH / max(1, len(hours))
    bars = []
    for number, hour in enumerate(hours):
        bars.append(
            Bar(
                begins=hour.begins,
                x=round(number * step, 1),
                width=round(step - 3, 1),
                done=hour.done,
                failed=hour.failed,
                done_height=round(hour.done / largest * CHART_HEIGHT, 1),
                failed_height=round(hour.failed / largest * CHART_HEIGHT, 1),
            ),
        )
    return bars


def flow_graphs(steps: Iterable[Step], counts: Mapping[str, Count]) -> list[Graph]:
    """One graph for each flow."""
    by_flow: dict[str, list[Step]] = {}
    for step in steps:
        by_flow.setdefault(step.flow, []).append(step)
    return [_graph(flow, members, counts) for flow, members in by_flow.items()]


Key = tuple[str, str]  # kind, name


def _links(steps: Sequence[Step]) -> list[tuple[Key, Key]]:
    links: list[tuple[Key, Key]] = []
    for step in steps:
        box = ("step", step.name)
        links += [(("http", path), box) for path in step.http]
        links += [(("cron", expression), box) for expression in step.crons]
        links += [(("topic", topic), box) for topic in step.topics]
        links += [(box, ("topic", topic)) for topic in step.enqueues]
    return links


def _layers(links: Sequence[tuple[Key, Key]]) -> dict[Key, int]:
    """The column of each box: one behind what leads to it. A circle ends at the last column."""
    layers: dict[Key, int] = {}
    for source, target in links:
        layers.setdefault(source, 0)
        layers.setdefault(target, 0)
    for _ in range(MAX_LAYERS):
        for source, target in links:
            wanted = min(MAX_LAYERS - 1, layers[source] + 1)
            layers[target] = max(layers[target], wanted)
    return layers


def _graph(flow: str, steps: Sequence[Step], counts: Mapping[str, Count]) -> Graph:
    links = _links(steps)
    layers = _layers(links)
    rows: dict[int, int] = {}
    places: dict[Key, tuple[int, int]] = {}
    for key, layer in layers.items():
        row = rows.get(layer, 0)
        rows[layer] = row + 1
        places[key] = (layer * (NODE_WIDTH + GAP_X), row * (NODE_HEIGHT + GAP_Y))
    addresses = _addresses(steps)
    nodes = [
        Node(key[1], key[0], x, y, addresses.get(key)) for key, (x, y) in places.items()
    ]
    edges = [
        _edge(places[source], places[target], _count(source, counts))
        for source, target in links
    ]
    width = (max(rows, default=0) + 1) * (NODE_WIDTH + GAP_X) - GAP_X
    height = max(rows.values(), default=1) * (NODE_HEIGHT + GAP_Y) - GAP_Y
    return Graph(flow, nodes, edges, width, height)


def _addresses(steps: Sequence[Step]) -> dict[Key, str]:
    """Where the runs of steps and topics are; a step that no topic starts has none."""
    addresses: dict[Key, str] = {}
    for step in steps:
        for topic in step.topics:
            addresses[("topic", topic)] = runs_address(topic)
            addresses[("step", step.name)] = runs_address(topic, step.name)
    return addresses


def runs_address(topic: str, step: str = "") -> str:
    """The page with the last runs of a topic, or of its step; the calendar's are those of the employees."""
    if topic.startswith("calendar_sync"):
        return "/calendars"
    return f"/flows/{quote(step or topic)}"


def _count(source: Key, counts: Mapping[str, Count]) -> Count | None:
    kind, name = source
    if kind != "topic":
        return None
    return counts.get(name)


def _edge(
    source: tuple[int, int],
    target: tuple[int, int],
    count: Count | None,
) -> Edge:
    middle = NODE_HEIGHT // 2
    begin = source[0] + NODE_WIDTH
    return Edge(begin, source[1] + middle, target[0], target[1] + middle, count)


def waterfall(spans: Sequence[SpanBar]) -> list[WaterfallBar]:
    """The spans of a trace, each at its time; the shortest is still visible."""
    end = max((span.start_ms + span.duration_ms for span in spans), default=0) or 1
    bars = []
    for span in spans:
        left = min(span.start_ms / end * WATERFALL_WIDTH, WATERFALL_WIDTH - 0.6)
        width = max(0.6, span.duration_ms / end * WATERFALL_WIDTH)
        bars.append(
            WaterfallBar(
                span,
                round(left, 2),
                round(min(width, WATERFALL_WIDTH - left), 2),
            ),
        )
    return bars
