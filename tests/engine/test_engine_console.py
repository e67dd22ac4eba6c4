"""The console's API of the embedded engine: the paths and shapes that the pages of the real console 0.10.0 ask for."""

from __future__ import annotations

from typing import Any

import pytest
from engine_harness import NewWorker, Recorder, Target, console, eventually, request

QUEUE = {"maxRetries": 0, "backoffDelayMs": 1}


async def dead_letters(target: Target, count: int) -> list[Any]:
    """The dead letters of topic a/b, once there are so many."""

    async def listed() -> Any:
        page = {"offset": 0, "limit": 50}
        answer = await console(target, "POST", "dlq/a%2Fb/messages", page)
        assert answer["topic"] == "a/b"
        return answer["messages"]

    found: list[Any] = await eventually(listed, lambda letters: len(letters) == count)
    return found


async def test_the_status_bar_and_the_config_page(
    target: Target, new_worker: NewWorker
) -> None:
    health = await request(target, "GET", "/_console/health")
    assert (health.status, health.json["status"]) == (503, "degraded")
    await new_worker(target).queue("t", Recorder()).start()
    health = await request(target, "GET", "/_console/health")
    assert (health.status, health.json["status"]) == (200, "healthy")
    assert health.json["components"]["logs"].keys() == {"status", "details"}
    status = await console(target, "GET", "status")
    assert (status["status"], status["workers"]) == ("running", 1)
    answer = await console(target, "GET", "adapters")
    assert answer["count"] == len(answer["adapters"])
    known = {(entry["type"], entry["id"]) for entry in answer["adapters"]}
    assert known == {
        ("module", "queue"),
        ("trigger", "queue"),
        ("module", "devtools"),
        ("module", "observability"),
        ("worker_pool", "python"),
    }


async def test_the_queues_page(target: Target, new_worker: NewWorker) -> None:
    handler = Recorder()
    await new_worker(target).queue("a/b", handler).start()
    answer = await console(target, "GET", "queues")
    assert answer["queues"] == [
        {"name": "a/b", "broker_type": "builtin", "subscriber_count": 1}
    ]
    published = await console(
        target, "POST", "queues/a%2Fb/publish", {"data": {"n": 1}}
    )
    assert published == {"message": "Message published", "topic": "a/b"}
    assert await handler.wait(1) == [{"n": 1}]
    detail = await console(target, "GET", "queues/a%2Fb")
    assert (detail["topic"], detail["stats"]["consumer_count"]) == ("a/b", 1)
    assert detail["stats"].keys() == {"depth", "consumer_count", "dlq_depth", "config"}


async def test_the_dead_letters_page(target: Target, new_worker: NewWorker) -> None:
    handler = Recorder(failures=2)
    worker = await new_worker(target).queue("a/b", handler, queue_config=QUEUE).start()
    await worker.enqueue("a/b", 1)
    await dead_letters(target, 1)
    await worker.enqueue("a/b", 2)
    second, first = await dead_letters(target, 2)
    assert (await console(target, "GET", "dlq"))["topics"] == [
        {"topic": "a/b", "broker_type": "builtin", "message_count": 2}
    ]
    place = f"dlq/a%2Fb/messages/{first['id']}"
    gone = await console(target, "DELETE", f"{place}/discard")
    assert gone == {"queue": "a/b", "message_id": first["id"], "redriven": 1}
    assert (await console(target, "POST", f"{place}/redrive", {}))["redriven"] == 0
    place = f"dlq/a%2Fb/messages/{second['id']}"
    assert (await console(target, "POST", f"{place}/redrive", {}))["redriven"] == 1
    assert (await handler.wait(3))[2] == 2
    assert await console(target, "POST", "dlq/a%2Fb/redrive", {}) == {
        "queue": "a/b",
        "redriven": 0,
    }


async def test_the_states_page(target: Target) -> None:
    item = {"key": "k", "value": {"id": "k"}}
    assert await console(target, "POST", "states/my%20scope/item", item) == {
        "old_value": None,
        "new_value": {"id": "k"},
    }
    assert await console(target, "GET", "states/groups") == {
        "groups": [{"id": "my scope", "count": 1}],
        "count": 1,
    }
    assert await console(target, "POST", "states/group", {"scope": "my scope"}) == {
        "items": [{"id": "k"}],
        "count": 1,
    }
    await console(target, "DELETE", "states/my%20scope/item/k")
    assert (await console(target, "GET", "states/groups"))["groups"] == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("states/s/item", {"key": "k"}),
        ("states/s/item", {"value": 1}),
        ("states/group", {}),
        ("otel/traces/tree", {}),
        ("dlq/t/messages", {"limit": "many"}),
    ],
)
async def test_a_request_that_lacks_something_is_refused(
    target: Target, path: str, body: Any
) -> None:
    answer = await request(target, "POST", f"/_console/{path}", json_body=body)
    assert (answer.status, bool(answer.json["error"])) == (400, True)


async def test_the_streams_and_flow_pages(
    target: Target, new_worker: NewWorker
) -> None:
    worker = await new_worker(target).start()
    place = {"stream_name": "s", "group_id": "g", "item_id": "i"}
    await worker.call("stream::set", {**place, "data": 1})
    answer = await console(target, "GET", "streams/list")
    assert (answer["count"], answer["websocket_port"]) == (1, 3112)
    assert answer["streams"][0]["id"] == "s"
    assert answer["streams"][0]["groups"] == ["g"]
    flow = {"id": "vmh", "config": {"step": {"x": 1, "y": 2}}}
    empty = {"id": "vmh", "config": {}}
    assert await console(target, "GET", "flows/config/vmh") == empty
    await console(target, "POST", "flows/config/vmh", flow)
    assert await console(target, "GET", "flows/config/vmh") == flow
    place = {"scope": "__console.flowConfigs", "key": "vmh"}
    assert await worker.call("state::get", place) == flow


async def test_functions_are_listed_with_their_metadata(
    target: Target, new_worker: NewWorker
) -> None:
    worker = await new_worker(target).start()
    metadata = {"name": "Step", "flows": ["vmh"], "filePath": "steps/x_step.py"}
    await worker.send({"type": "registerfunction", "id": "f", "metadata": metadata})
    await worker.call("state::list_groups", {})
    listed = (await console(target, "GET", "functions"))["functions"]
    [entry] = [known for known in listed if known["function_id"] == "f"]
    assert entry["metadata"] == metadata
    hidden = {known["function_id"] for known in listed}
    everything = await console(target, "GET", "functions?include_internal=true")
    shown = {known["function_id"] for known in everything["functions"]}
    assert {"engine::queue::stats"} <= shown - hidden


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ({}, ["GET /b", "GET /a"]),
        ({"sort_order": "asc"}, ["GET /a", "GET /b"]),
        ({"sort_by": "name"}, ["GET /b", "GET /a"]),
        ({"name": "/A"}, ["GET /a"]),
        ({"name": "nothing", "search_all_spans": True}, []),
        ({"name": "/a", "search_all_spans": True}, ["GET /a"]),
        ({"status": "error"}, ["GET /b"]),
        ({"service_name": "ENGINE"}, ["GET /b", "GET /a"]),
        ({"service_name": "worker"}, []),
        ({"attributes": [["http.status_code", "200"]]}, ["GET /a"]),
        ({"attributes": [["http.status_code", "2"]]}, []),
        ({"min_duration_ms": 100_000}, []),
        ({"max_duration_ms": 100_000}, ["GET /b", "GET /a"]),
        ({"end_time": 1}, []),
        ({"start_time": 1}, ["GET /b", "GET /a"]),
        ({"include_internal": True}, ["GET /_console/alerts", "GET /b", "GET /a"]),
        ({"offset": 1, "limit": 1}, ["GET /a"]),
    ],
)
async def test_traces_are_filtered_and_sorted(
    target: Target, new_worker: NewWorker, wanted: Any, names: list[str]
) -> None:
    async def fine(_data: Any) -> Any:
        return {"body": 1}

    worker = new_worker(target).http("GET", "a", fine).http("GET", "b", fine)
    function_id = "engine::console::alerts_list"
    settings = {"api_path": "_console/alerts", "http_method": "GET"}
    worker.on(function_id, fine).trigger("http", function_id, settings)
    worker.on("http GET b", Recorder(failures=1))
    await worker.start()
    for path in ("/a", "/b", "/_console/alerts"):
        await request(target, "GET", path)
    answer = await console(target, "POST", "otel/traces", wanted)
    assert [span["name"] for span in answer["spans"]] == names


async def test_a_path_of_the_console_that_is_unknown_goes_to_the_worker_that_has_it(
    target: Target, new_worker: NewWorker
) -> None:
    path = "/_console/alerts"
    assert (await request(target, "GET", path)).status == 404

    async def alerts(_data: Any) -> Any:
        return {"status_code": 200, "headers": [], "body": {"alerts": []}}

    async def wrong(_data: Any) -> Any:
        raise AssertionError("the engine's own endpoint comes first")

    worker = new_worker(target).http("GET", "_console/alerts", alerts)
    await worker.http("GET", "_console/queues/:topic", wrong).start()
    answer = await request(target, "GET", path)
    assert (answer.status, answer.json) == (200, {"alerts": []})
    assert (await console(target, "GET", "queues/t"))["topic"] == "t"
    for headers in ({"Origin": "http://evil.example"}, {"X-Forwarded-For": "1.2.3.4"}):
        assert (await request(target, "GET", path, headers=headers)).status == 403
