"""The worker protocol on every engine: registration, invocation, errors, loss of connections."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import UUID, uuid4

import pytest
from engine_harness import CallError, NewWorker, eventually, open_channel, request
from engines_under_test import EngineUnderTest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus


async def echo(data: Any) -> Any:
    """Return the input."""
    return data


async def hang(_data: Any) -> None:
    """Never answer."""
    await asyncio.Event().wait()


async def test_a_connection_begins_with_the_workers_id(target: EngineUnderTest) -> None:
    async with connect(target.ws, proxy=None) as socket:
        first = json.loads(await socket.recv())
    assert first["type"] == "workerregistered"
    assert str(UUID(first["worker_id"])) == first["worker_id"]


async def test_ping_is_answered_with_pong(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    worker = await new_worker(target).start()
    await worker.send({"type": "ping"})

    async def others() -> list[Any]:
        return worker.other

    assert await eventually(others, bool) == [{"type": "pong"}]


async def test_a_function_of_another_worker_is_called_with_the_callers_id_and_trace(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    await new_worker(target).on("twice", echo).start()
    caller = await new_worker(target).start()
    result = await caller.call("twice", {"a": None, "b": [1.5, "ü", {"c": False}]})
    assert result == {
        "a": None,
        "b": [1.5, "ü", {"c": False}],
        "_caller_worker_id": caller.id,
    }
    assert await caller.call("twice", [1, None]) == [1, None]
    assert await caller.call("twice", 0) == 0


async def test_a_function_without_result_returns_null(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    async def nothing(_data: Any) -> None:
        return None

    worker = await new_worker(target).on("nothing", nothing).start()
    assert await worker.call("nothing", {}) is None


async def test_errors_travel_back_to_the_caller(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    async def fail(_data: Any) -> None:
        raise CallError("invocation_failed", "no")

    worker = await new_worker(target).on("fail", fail).start()
    for function_id, code in (
        ("fail", "invocation_failed"),
        ("unknown", "function_not_found"),
    ):
        with pytest.raises(CallError) as failure:
            await worker.call(function_id, {})
        assert failure.value.code == code


async def test_wrong_input_of_a_built_in_function_is_a_deserialization_error(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    worker = await new_worker(target).start()
    for function_id, data in (
        ("enqueue", {"topic": "t"}),
        ("state::get", {"scope": 1}),
        ("state::set", "text"),
    ):
        with pytest.raises(CallError) as failure:
            await worker.call(function_id, data)
        assert failure.value.code == "deserialization_error"
        assert f"Failed to deserialize input for {function_id}" in str(failure.value)


async def test_a_call_without_id_is_executed_and_not_answered(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    worker = await new_worker(target).on("note", echo).start()
    await worker.send(
        {"type": "invokefunction", "function_id": "note", "data": {"n": 1}}
    )

    async def calls() -> list[Any]:
        return worker.received

    received = await eventually(calls, bool)
    assert received == [("note", {"n": 1, "_caller_worker_id": worker.id})]
    assert await worker.call("note", 2) == 2


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "   ",
        "no json",
        "[]",
        '"text"',
        "null",
        '{"type":"unknown"}',
        '{"type":"registerfunction"}',
        '{"type":"registerfunction","id":7}',
        '{"type":"invokefunction","function_id":"echo"}',
        '{"type":"invokefunction","function_id":"echo","data":1,"invocation_id":"no uuid"}',
        '{"type":"registertrigger","id":"t","trigger_type":"http","function_id":"f"}',
        '{"type":"registertrigger","id":"t","trigger_type":"http","function_id":"f","config":null}',
        '{"type":"registertrigger","id":"t","trigger_type":"http","function_id":"f","config":{}}',
        '{"type":"registertrigger","id":"t","trigger_type":"cron","function_id":"f","config":{"expression":"* * *"}}',
        '{"type":"registertrigger","id":"t","trigger_type":"queue","function_id":"f","config":{"topic":""}}',
        '{"type":"registertrigger","id":"t","trigger_type":"nope","function_id":"f","config":{}}',
        '{"type":"unregistertrigger","id":"unknown"}',
        '{"type":"registerservice","id":"s","parent_service_id":null}',
        '{"type":"unregistertriggertype","id":"x"}',
        "[" * 100_000,
        b"\xff\xfe",
        b"OTLPnot json",
        b'LOGS{"resourceLogs":7}',
        b'MTRC{"resourceMetrics":[]}',
        b'{"type":"ping"}',
    ],
)
async def test_a_message_that_makes_no_sense_is_dropped_and_the_connection_lives(
    target: EngineUnderTest, new_worker: NewWorker, frame: str | bytes
) -> None:
    worker = await new_worker(target).on("echo", echo).start()
    await worker.socket.send(frame)
    assert await worker.call("echo", 1) == 1


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(st.text(max_size=10), children, max_size=3)
    ),
    max_leaves=8,
)


MESSAGE_TYPES = [
    "registerfunction",
    "unregisterfunction",
    "registertrigger",
    "unregistertrigger",
    "registertriggertype",
    "unregistertriggertype",
    "triggerregistrationresult",
    "registerservice",
    "invokefunction",
    "invocationresult",
    "ping",
]


MESSAGES = st.fixed_dictionaries(
    {"type": st.sampled_from(MESSAGE_TYPES)},
    optional={
        "id": st.text(max_size=5) | JSON_VALUES,
        "trigger_type": st.sampled_from(
            ["http", "queue", "cron", "state", "stream", "x"]
        )
        | JSON_VALUES,
        "function_id": st.sampled_from(
            ["enqueue", "state::update", "engine::functions::list", "f"]
        )
        | JSON_VALUES,
        "config": st.dictionaries(
            st.sampled_from(
                [
                    "api_path",
                    "http_method",
                    "topic",
                    "queue_config",
                    "expression",
                    "scope",
                ]
            ),
            JSON_VALUES,
        )
        | JSON_VALUES,
        "data": JSON_VALUES,
        "invocation_id": st.uuids().map(str) | JSON_VALUES,
        "result": JSON_VALUES,
        "error": JSON_VALUES,
        "description": JSON_VALUES,
        "name": JSON_VALUES,
        "traceparent": JSON_VALUES,
    },
).map(json.dumps)


FRAMES = st.lists(MESSAGES | st.text(max_size=50) | st.binary(max_size=50), max_size=8)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(frames=FRAMES)
async def test_no_sequence_of_frames_takes_the_engine_down(
    target: EngineUnderTest, frames: list[str | bytes]
) -> None:
    async with connect(target.ws, proxy=None) as socket:
        await socket.recv()
        for frame in frames:
            await socket.send(frame)
    async with connect(target.ws, proxy=None) as socket:
        await socket.recv()
        call = {
            "type": "invokefunction",
            "function_id": "state::list_groups",
            "data": {},
        }
        await socket.send(json.dumps({**call, "invocation_id": str(uuid4())}))
        assert "groups" in json.loads(await socket.recv())["result"]


async def test_a_lost_worker_stops_its_invocations(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    executor = await new_worker(target).on("hang", hang).start()
    caller = await new_worker(target).start()
    call = asyncio.create_task(caller.call("hang", {}))

    async def calls() -> list[Any]:
        return executor.received

    await eventually(calls, bool)
    await executor.crash()
    with pytest.raises(CallError) as failure:
        await call
    assert failure.value.code == "invocation_stopped"


async def test_a_late_result_of_an_old_invocation_is_ignored(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    worker = await new_worker(target).on("echo", echo).start()
    late = {
        "type": "invocationresult",
        "invocation_id": str(uuid4()),
        "function_id": "echo",
        "result": 7,
    }
    await worker.send(late)
    assert await worker.call("echo", 1) == 1


async def test_a_result_with_nan(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    async def not_a_number(_data: Any) -> float:
        return float("nan")

    worker = await new_worker(target).on("nan", not_a_number).on("echo", echo).start()
    call = asyncio.create_task(worker.call("nan", {}))
    if target.differs("nan_is_never_answered"):
        await asyncio.wait({call}, timeout=0.5)
        assert await worker.call("echo", 1) == 1
        assert not call.done()
        call.cancel()
        return
    with pytest.raises(CallError) as failure:
        await call
    assert failure.value.code == "invalid_payload"


async def test_a_message_too_large_for_a_worker(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    async def large(_data: Any) -> str:
        return "x" * 2**20

    worker = await new_worker(target).on("echo", echo).on("large", large).start()
    assert await worker.call("echo", "x" * 1_000_000) == "x" * 1_000_000
    if target.differs("no_size_limit"):
        call = asyncio.create_task(worker.call("large", {}))
        await asyncio.wait_for(worker.closed.wait(), 60)
        call.cancel()
        return
    for function_id, data in (("echo", "x" * (2**20 - 50)), ("large", {})):
        with pytest.raises(CallError) as failure:
            await worker.call(function_id, data)
        assert failure.value.code == "payload_too_large"
    assert await worker.call("echo", 1) == 1


async def test_the_last_registration_of_a_function_wins_until_it_goes(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    async def first(_data: Any) -> str:
        return "first"

    async def second(_data: Any) -> str:
        return "second"

    caller = await new_worker(target).on("f", first).start()
    newer = await new_worker(target).on("f", second).start()
    assert await caller.call("f", {}) == "second"
    await newer.crash()

    async def answer() -> Any:
        try:
            return await caller.call("f", {})
        except CallError as error:
            return error.code

    gone = target.differs("teardown_by_id")
    await eventually(
        answer, lambda result: result == ("function_not_found" if gone else "first")
    )


async def test_two_workers_with_the_same_route_of_which_one_ends(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    async def answer(_data: Any) -> Any:
        return {"body": 1}

    staying = await new_worker(target).http("GET", "f", answer).start()
    leaving = await new_worker(target).http("GET", "f", answer).start()
    await leaving.crash()

    async def workers() -> int:
        return len((await staying.call("engine::workers::list", {}))["workers"])

    await eventually(workers, lambda count: count == 1)
    assert (await request(target, "GET", "/f")).status == (
        404 if target.differs("teardown_by_id") else 200
    )


async def test_a_worker_that_reconnects_before_its_old_connection_is_gone(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    old = (
        await new_worker(target)
        .on("f", echo)
        .trigger("http", "f", {"api_path": "f"}, "same-id")
        .start()
    )
    new = (
        await new_worker(target)
        .on("f", echo)
        .trigger("http", "f", {"api_path": "f"}, "same-id")
        .start()
    )
    await old.crash()

    async def workers() -> int:
        return len((await new.call("engine::workers::list", {}))["workers"])

    await eventually(workers, lambda count: count == 1)
    assert (await request(target, "GET", "/f")).status == (
        500 if target.differs("teardown_by_id") else 200
    )


async def test_a_worker_that_reconnects_registers_everything_again(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    for _ in range(3):
        worker = (
            new_worker(target)
            .on("f", echo)
            .trigger("http", "f", {"api_path": "f"}, "same-id")
        )
        await worker.trigger(
            "cron", "f", {"expression": "0 0 0 1 1 *"}, "cron-id"
        ).start()
        assert (await request(target, "GET", "/f")).status == 200
        listed = await worker.call("engine::triggers::list", {})
        assert sorted(entry["id"] for entry in listed["triggers"]) == [
            "cron-id",
            "same-id",
        ]
        await worker.crash()
        watcher = await new_worker(target).start()

        async def workers(watcher: Any = watcher) -> int:
            return len((await watcher.call("engine::workers::list", {}))["workers"])

        await eventually(workers, lambda count: count == 1)
        await watcher.crash()


async def test_functions_and_triggers_of_a_lost_worker_are_gone(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    watcher = await new_worker(target).start()
    worker = (
        await new_worker(target)
        .on("f", echo)
        .trigger("cron", "f", {"expression": "0 0 0 1 1 *"})
        .start()
    )
    listed = await watcher.call("engine::functions::list", {})
    assert "f" in {entry["function_id"] for entry in listed["functions"]}
    assert not [
        entry
        for entry in listed["functions"]
        if entry["function_id"].startswith("engine::")
    ]
    await worker.crash()

    async def triggers() -> Any:
        return (await watcher.call("engine::triggers::list", {}))["triggers"]

    await eventually(triggers, lambda found: found == [])
    with pytest.raises(CallError):
        await watcher.call("f", {})


async def test_unregistered_functions_and_triggers_are_gone(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    worker = (
        await new_worker(target)
        .on("f", echo)
        .trigger("http", "f", {"api_path": "f"}, "t")
        .start()
    )
    await worker.send({"type": "unregistertrigger", "id": "t"})
    await worker.send({"type": "unregisterfunction", "id": "f"})
    with pytest.raises(CallError) as failure:
        await worker.call("f", {})
    assert failure.value.code == "function_not_found"
    assert (await request(target, "GET", "/f")).status == 404


async def test_workers_are_listed_with_what_they_reported(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    worker = await new_worker(target).on("f", echo).start()
    listed = await worker.call("engine::workers::list", {"worker_id": worker.id})
    assert [(entry["name"], entry["functions"]) for entry in listed["workers"]] == [
        ("scripted", ["f"])
    ]


async def test_a_trigger_type_of_a_worker_is_forwarded_to_it(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    owner = await new_worker(target).start()
    await owner.send(
        {"type": "registertriggertype", "id": "sms", "description": "texts"}
    )
    await owner.call("engine::triggers::list", {})
    user = (
        await new_worker(target)
        .on("f", echo)
        .trigger("sms", "f", {"number": 1}, "t")
        .start()
    )

    async def forwarded() -> list[Any]:
        return owner.other

    expected = {
        "id": "t",
        "trigger_type": "sms",
        "function_id": "f",
        "config": {"number": 1},
    }
    assert await eventually(forwarded, bool) == [
        {"type": "registertrigger", **expected}
    ]
    await user.crash()
    messages = await eventually(forwarded, lambda observed: len(observed) == 2)
    assert messages[1]["type"] == "unregistertrigger"


@pytest.mark.parametrize(
    "trigger_type",
    ["stream", "stream:join", "subscribe", "log", "engine::functions-available"],
)
async def test_trigger_types_that_never_fire_here_are_accepted(
    target: EngineUnderTest, new_worker: NewWorker, trigger_type: str
) -> None:
    worker = (
        await new_worker(target)
        .on("f", echo)
        .trigger(trigger_type, "f", {"stream_name": "s"})
        .start()
    )
    listed = await worker.call("engine::triggers::list", {})
    assert [entry["trigger_type"] for entry in listed["triggers"]] == [trigger_type]


async def test_a_worker_that_reads_nothing_does_not_hold_up_others(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    stalled = await connect(target.ws, proxy=None, max_queue=1)
    await stalled.recv()
    await stalled.send(json.dumps({"type": "registerfunction", "id": "stalled"}))
    worker = await new_worker(target).on("echo", echo).start()

    async def listed() -> set[str]:
        functions = (await worker.call("engine::functions::list", {}))["functions"]
        return {entry["function_id"] for entry in functions}

    await eventually(listed, lambda functions: "stalled" in functions)
    payload = "x" * 900_000
    calls = [asyncio.create_task(worker.call("stalled", payload)) for _ in range(100)]
    assert await worker.call("echo", 1) == 1
    stalled.transport.abort()
    failures = await asyncio.gather(*calls, return_exceptions=True)
    codes = {failure.code for failure in failures if isinstance(failure, CallError)}
    assert codes <= {"invocation_stopped", "function_not_found", "channel_send_failed"}
    unanswered = len(
        [failure for failure in failures if isinstance(failure, TimeoutError)]
    )
    assert len(codes) > 0
    assert unanswered == 0 or target.differs("call_dies_with_worker")


async def test_channels_carry_text_and_bytes_between_workers(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    worker = await new_worker(target).start()
    channel = await worker.call("engine::channels::create", {"buffer_size": None})
    writer = await open_channel(target.ws, channel["writer"])
    reader = await open_channel(target.ws, channel["reader"])
    await writer.send("text")
    await writer.send(b"x" * 100_000)
    await writer.close()
    assert await reader.recv() == "text"
    pieces = [piece async for piece in reader if isinstance(piece, bytes)]
    assert b"".join(pieces) == b"x" * 100_000


async def test_a_channel_end_is_taken_once_and_needs_its_key(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    worker = await new_worker(target).start()
    channel = await worker.call("engine::channels::create", {"buffer_size": 1})
    await open_channel(target.ws, channel["writer"])
    second = await open_channel(target.ws, channel["writer"])
    with pytest.raises(ConnectionClosed):
        await second.recv()
    for wrong in ({"access_key": str(uuid4())}, {"channel_id": str(uuid4())}):
        with pytest.raises(InvalidStatus) as refusal:
            await open_channel(target.ws, {**channel["reader"], **wrong})
        assert refusal.value.response.status_code == 404
        assert refusal.value.response.body == b"Channel not found"
