"""State and stream functions and the state trigger, on every engine."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from engine_harness import CallError, NewWorker, eventually
from engines_under_test import EngineUnderTest


async def test_values_are_set_read_replaced_and_deleted(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    worker = await new_worker(target).start()
    place = {"scope": "s", "key": "k"}
    assert await worker.call("state::get", place) is None
    assert await worker.call(
        "state::set", {**place, "value": {"b": 1, "a": "\0ü"}}
    ) == {
        "old_value": None,
        "new_value": {"b": 1, "a": "\0ü"},
    }
    assert await worker.call("state::get", place) == {"b": 1, "a": "\0ü"}
    assert await worker.call("state::set", {**place, "data": [1.0]}) == {
        "old_value": {"b": 1, "a": "\0ü"},
        "new_value": [1.0],
    }
    assert await worker.call("state::delete", place) == [1.0]
    assert await worker.call("state::delete", place) is None
    assert await worker.call("state::get", place) is None


async def test_a_scope_is_listed_in_order_of_insertion_and_groups_are_sorted(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    worker = await new_worker(target).start()
    for scope, key in (("b", "2"), ("b", "1"), ("a", "1"), ("b", "2")):
        await worker.call(
            "state::set", {"scope": scope, "key": key, "value": scope + key}
        )
    assert await worker.call("state::list", {"scope": "b"}) == ["b2", "b1"]
    assert await worker.call("state::list", {"scope": "none"}) == []
    assert await worker.call("state::list_groups", {}) == {"groups": ["a", "b"]}


@pytest.mark.parametrize(
    ("before", "operations", "after"),
    [
        (None, [{"type": "set", "path": "a", "value": 1}], {"a": 1}),
        ({"a": 1}, [{"type": "set", "path": "a.b", "value": 2}], {"a": 1, "a.b": 2}),
        ({"a": 1}, [{"type": "set", "path": "a"}], {"a": None}),
        ({"a": 1}, [{"type": "set", "path": "", "value": [1]}], [1]),
        (
            {"a": 1, "b": 1},
            [{"type": "merge", "value": {"b": 2, "c": 3}}],
            {"a": 1, "b": 2, "c": 3},
        ),
        ({"a": {}}, [{"type": "merge", "path": "a", "value": {"b": 2}}], {"a": {}}),
        ({"a": 1}, [{"type": "merge", "path": "", "value": 5}], {"a": 1}),
        ({"n": 1}, [{"type": "increment", "path": "n", "by": 2}], {"n": 3}),
        ({}, [{"type": "increment", "path": "n", "by": 2}], {"n": 2}),
        ({"n": "x"}, [{"type": "increment", "path": "n", "by": 2}], {"n": 2}),
        ({"n": True}, [{"type": "increment", "path": "n", "by": 2}], {"n": 2}),
        ({"n": 1}, [{"type": "decrement", "path": "n", "by": 3}], {"n": -2}),
        ({}, [{"type": "decrement", "path": "n", "by": 3}], {"n": -3}),
        ({"n": 1.5}, [{"type": "decrement", "path": "n", "by": 3}], {"n": 0}),
        (
            {"a": 1, "b": 2},
            [{"type": "remove", "path": "a"}, {"type": "remove", "path": "x"}],
            {"b": 2},
        ),
        (
            [1],
            [{"type": "set", "path": "a", "value": 1}, {"type": "remove", "path": "a"}],
            [1],
        ),
        ("text", [{"type": "increment", "path": "a", "by": 1}], "text"),
        ({"a": 1}, [], {"a": 1}),
    ],
)
async def test_update_operations(
    target: EngineUnderTest,
    new_worker: NewWorker,
    before: Any,
    operations: list[Any],
    after: Any,
) -> None:
    worker = await new_worker(target).start()
    place = {"scope": "s", "key": "k"}
    if before is not None:
        await worker.call("state::set", {**place, "value": before})
    result = await worker.call("state::update", {**place, "ops": operations})
    assert result == {"old_value": before, "new_value": after}
    assert await worker.call("state::get", place) == after


@pytest.mark.parametrize("by", [1.5, True, "1", 2**63])
async def test_a_step_that_is_no_64_bit_integer_is_refused(
    target: EngineUnderTest, new_worker: NewWorker, by: Any
) -> None:
    worker = await new_worker(target).start()
    operation = {"type": "increment", "path": "n", "by": by}
    with pytest.raises(CallError) as failure:
        await worker.call(
            "state::update", {"scope": "s", "key": "k", "ops": [operation]}
        )
    assert failure.value.code == "deserialization_error"


async def test_concurrent_updates_are_all_counted(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    worker = await new_worker(target).start()
    update = {
        "scope": "s",
        "key": "k",
        "ops": [{"type": "increment", "path": "n", "by": 1}],
    }
    await asyncio.gather(*(worker.call("state::update", update) for _ in range(40)))
    assert await worker.call("state::get", {"scope": "s", "key": "k"}) == {"n": 40}


async def test_streams_live_beside_the_state(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    worker = await new_worker(target).start()
    item = {"stream_name": "s", "group_id": "g", "item_id": "i"}
    assert await worker.call("stream::set", {**item, "data": {"n": 1}}) == {
        "old_value": None,
        "new_value": {"n": 1},
    }
    operations = [{"type": "increment", "path": "n", "by": 1}]
    assert await worker.call("stream::update", {**item, "ops": operations}) == {
        "old_value": {"n": 1},
        "new_value": {"n": 2},
    }
    assert await worker.call("stream::get", item) == {"n": 2}
    assert await worker.call("stream::list", {"stream_name": "s", "group_id": "g"}) == [
        {"n": 2}
    ]
    assert await worker.call("stream::list_groups", {"stream_name": "s"}) == ["g"]
    assert await worker.call("state::list_groups", {}) == {"groups": []}
    assert await worker.call("stream::delete", item) == {"old_value": {"n": 2}}
    assert await worker.call("stream::get", item) is None


async def test_state_triggers_see_changes_in_order_and_obey_filters_and_conditions(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    observed: list[tuple[str, Any, Any]] = []
    filtered: list[str] = []

    async def note(event: Any) -> None:
        observed.append((event["event_type"], event["old_value"], event["new_value"]))

    async def note_filtered(event: Any) -> None:
        filtered.append(event["key"])

    async def other() -> list[str]:
        return filtered

    async def not_two(event: Any) -> bool:
        return bool(event["new_value"] != 2)

    worker = (
        new_worker(target)
        .on("all", note)
        .on("some", note_filtered)
        .on("condition", not_two)
    )
    worker.trigger("state", "all", {"condition_function_id": "condition"})
    await worker.trigger("state", "some", {"scope": "other"}).start()
    place = {"scope": "s", "key": "k"}
    for value in (1, 2, None):
        await worker.call("state::set", {**place, "value": value})
    await worker.call("state::set", {"scope": "other", "key": "x", "value": 1})
    await worker.call("state::delete", place)

    async def events() -> int:
        return len(observed)

    await eventually(events, lambda count: count == 4)
    expected = [
        ("state:created", None, 1),
        ("state:updated", 2, None),
        ("state:created", None, 1),
        ("state:deleted", None, None),
    ]
    if target.differs("state_events_out_of_order"):
        assert sorted(observed, key=repr) == sorted(expected, key=repr)
    else:
        assert observed == expected
    await eventually(other, lambda keys: keys == ["x"])
