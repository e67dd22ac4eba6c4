"""What the proxy sends to Advoware, and what it makes of answers, byte for byte, on each engine that there is.

The real engine runs when III_ENGINE_BIN names it, or iii is on PATH.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import pytest
import pytest_asyncio
from outside import KEY, TRIAL, Outside, outside
from wire import Wire, wire
from yarl import URL

from cli.engines import EngineKind

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.xdist_group("processes"),
]

ENGINES = [EngineKind.EMBEDDED]
if shutil.which(os.environ.get("III_ENGINE_BIN") or "iii"):
    ENGINES.append(EngineKind.III)

PATH = "api/v1/x"
JSON = "application/json"


@dataclass
class Proxy:
    """The proxy of a running system, as callers reach it: through the reverse proxy in front of a real engine."""

    system: Outside
    wire: Wire
    engine: EngineKind

    async def call(
        self, method: str, query: str = f"endpoint={PATH}", **options: Any
    ) -> tuple[int, Any]:
        """A request with a query as it is; status and body."""
        status, body, _ = await self.exchange(method, query, **options)
        return status, body

    async def exchange(
        self, method: str, query: str, **options: Any
    ) -> tuple[int, Any, dict[str, str]]:
        """A request with a query as it is; status, body and headers (names in lower case)."""
        url = URL(f"{self.system.system.http_url}/advoware/proxy?{query}", encoded=True)
        headers = {"X-Api-Key": KEY, **options.pop("headers", {})}
        if self.engine is EngineKind.III:
            headers = {
                "X-Forwarded-Uri": url.raw_path_qs,
                **headers,
            }  # as deploy/Caddyfile says
        async with self.system.session.request(
            method, url, headers=headers, skip_auto_headers=["Content-Type"], **options
        ) as response:
            body = await response.json(content_type=None)
            return (
                response.status,
                body,
                {name.lower(): value for name, value in response.headers.items()},
            )


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=ENGINES, ids=str)
async def proxy(request: pytest.FixtureRequest) -> AsyncIterator[Proxy]:
    """A system whose Advoware is a wire."""
    async with (
        wire() as line,
        outside(
            engine=request.param,
            ADVOWARE_API_BASE_URL=line.url,
            ADVOWARE_API_TIMEOUT_SECONDS="6",
            **TRIAL,
        ) as system,
    ):
        yield Proxy(system, line, request.param)


def sent_query(proxy: Proxy) -> list[tuple[str, str]]:
    return parse_qsl(
        proxy.wire.requests[-1].target.partition("?")[2],
        keep_blank_values=True,
        errors="strict",
    )


# -- what goes out ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "pairs"),
    [
        ("a=1&a=2", [("a", "1"), ("a", "2")]),
        (
            "ids[]=2&ids[]=1&x=&ids%5B%5D=2",
            [("ids[]", "2"), ("ids[]", "1"), ("x", ""), ("ids[]", "2")],
        ),
        ("b=1&a=2&b=3", [("b", "1"), ("a", "2"), ("b", "3")]),
        ("q=%C3%A4+b%2Bc%26d%3D%25", [("q", "ä b+c&d=%")]),
        ("q=%EF%BF%BD", [("q", "\ufffd")]),
    ],
)
async def test_parameters_reach_advoware_as_they_came(
    proxy: Proxy, query: str, pairs: list[tuple[str, str]]
) -> None:
    proxy.wire.will_answer(b"[]", JSON)

    assert (await proxy.call("GET", f"{query}&endpoint={PATH}"))[0] == 200

    assert sent_query(proxy) == pairs


@pytest.mark.parametrize(
    ("endpoint", "pairs"),
    [
        ("x%3Fy=%C3%A4%20b", [("y", "ä b")]),  # the caller encoded once
        (
            "x%3Fy%3D%25C3%25A4%2520b",
            [("y", "ä b")],
        ),  # the caller encoded the endpoint's query, then the endpoint
        ("x?y=1%26y=2", [("y", "1"), ("y", "2")]),
        ("x?y=100%25", [("y", "100%")]),
        ("x?y=a%5Cb", [("y", "a\\b")]),
    ],
)
async def test_a_query_inside_the_endpoint_is_encoded_once(
    proxy: Proxy, endpoint: str, pairs: list[tuple[str, str]]
) -> None:
    proxy.wire.will_answer(b"[]", JSON)

    assert (await proxy.call("GET", f"endpoint={endpoint}&y=3"))[0] == 200

    assert sent_query(proxy) == [*pairs, ("y", "3")]


@pytest.mark.parametrize(
    "query",
    [
        f"endpoint={PATH}&q=%ff",
        f"endpoint={PATH}&q=%C3",
        f"endpoint={PATH}&%ff=1",
        "endpoint=api/%ff",
        "endpoint=x?q=%25ff",
        "endpoint=x?q=1%0A",
        f"endpoint={PATH}&endpoint=other",
    ],
)
async def test_a_query_that_cannot_be_read_is_400_and_never_sent(
    proxy: Proxy, query: str
) -> None:
    proxy.wire.will_answer(b"[]", JSON)

    status, body = await proxy.call("GET", query)

    assert (status, proxy.wire.requests) == (400, [])
    assert body["error"] == "Invalid request"


@pytest.mark.parametrize(
    ("content_type", "body", "sent"),
    [
        ("application/json", b'{"a": "\xc3\xa4"}', {"a": "ä"}),
        ("Application/JSON; charset=UTF-8", b'{"a": [1]}', {"a": [1]}),
        ("application/merge-patch+json", b'{"a": null}', {"a": None}),
        ("application/json", b"null", None),
        ("APPLICATION/JSON", b"null\n", None),
        ("application/json", b"false", False),
        ("application/json", b'""', ""),
    ],
)
async def test_a_json_body_arrives_as_json(
    proxy: Proxy, content_type: str, body: bytes, sent: Any
) -> None:
    proxy.wire.will_answer(b"{}", JSON)

    status, answer = await proxy.call(
        "POST", data=body, headers={"Content-Type": content_type}
    )

    assert (status, answer) == (200, {"result": {}})
    (request,) = proxy.wire.requests
    assert (request.headers["content-type"], json.loads(request.body)) == (
        "application/json",
        sent,
    )


async def test_a_large_body_of_another_json_type_arrives_whole(proxy: Proxy) -> None:
    proxy.wire.will_answer(b"{}", JSON)
    record = {"notiz": "x" * 700_000}

    status, _ = await proxy.call(
        "PUT", data=json.dumps(record), headers={"Content-Type": "application/x+json"}
    )

    assert status == 200
    assert json.loads(proxy.wire.requests[0].body) == record


async def test_a_body_that_breaks_off_is_never_sent(proxy: Proxy) -> None:
    proxy.wire.will_answer(b"{}", JSON)
    base = URL(proxy.system.system.http_url)
    reader, writer = await asyncio.open_connection(base.host, base.port)
    head = f"POST /advoware/proxy?endpoint={PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/x+json\r\n"
    writer.write(f"{head}Content-Length: 10\r\n\r\n12".encode())
    writer.write_eof()

    async with asyncio.timeout(20):
        answer = await reader.read()
    writer.close()
    assert (await proxy.call("PUT"))[
        0
    ] == 200  # by then the other one would have been sent

    assert b" 200 " not in answer
    assert [request.method for request in proxy.wire.requests] == ["PUT"]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
async def test_a_request_without_body_goes_out_without_content_type(
    proxy: Proxy, method: str
) -> None:
    proxy.wire.will_answer(b"{}", JSON)

    assert (await proxy.call(method))[0] == 200

    (request,) = proxy.wire.requests
    assert "content-type" not in request.headers
    assert request.body == b""


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("application/json", b"{broken", 400),
        ("Application/Json", b"{broken", 400),
        ("application/x+json", b"NaN", 400),
        ("application/x+json", b'{"a": "\xe4"}', 400),
        ("application/x+json", b'"' + b"x" * 1_000_000 + b'"', 413),
        ("text/plain", b"{}", 400),
        ("", b"{}", 400),
    ],
)
async def test_a_body_that_is_no_json_is_refused_and_never_sent(
    proxy: Proxy, content_type: str, body: bytes, status: int
) -> None:
    proxy.wire.will_answer(b"{}", JSON)
    headers = {"Content-Type": content_type} if content_type else {}

    answered, _ = await proxy.call("POST", data=body, headers=headers)

    assert (answered, proxy.wire.requests) == (status, [])


# -- what comes back --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    ("body", "content_type", "result"),
    [
        (b"", None, None),
        (b"  \r\n", JSON, None),
        (b"\xef\xbb\xbf", JSON, None),
        (b"<h1>Gr\xc3\xbc\xc3\x9fe</h1>", "text/html; charset=utf-8", "<h1>Grüße</h1>"),
        (
            b"Gespeichert: M\xfcller",
            "text/plain; charset=iso-8859-1",
            "Gespeichert: Müller",
        ),
        (
            b"Gespeichert: Wa\xb3\xeasa",
            "text/plain; charset=iso-8859-2",
            "Gespeichert: Wałęsa",
        ),
        (b"Gespeichert: M\xfcller", "text/plain", "Gespeichert: Müller"),
        (b"Gespeichert: M\xfcller", "text/plain; charset=utf-8", "Gespeichert: Müller"),
        (b"Preis: 5 \x80", "text/plain; charset=klingonisch", "Preis: 5 €"),
        ("\ufeffTür".encode("utf-16-le"), "text/plain", "Tür"),
        (b"OK", None, "OK"),
        (b"<a/>", "application/xml", "<a/>"),
        (b"00123", "text/plain", "00123"),
        (b"123", "text/plain", "123"),
        (b'[{"betNr": 1}]', "text/plain", [{"betNr": 1}]),
        (b'[{"betNr": 1}]', None, [{"betNr": 1}]),
        (b'[{"betNr": 1}]', "application/octet-stream", [{"betNr": 1}]),
        (b'\xef\xbb\xbf{"betNr": 1}', JSON, {"betNr": 1}),
        (b'{"name": "M\xfcller"}', JSON, {"name": "Müller"}),
        (
            b'{"name": "M\xfcller"}',
            "Application/JSON; Charset=ISO-8859-1",
            {"name": "Müller"},
        ),
        (
            b'{"a": NaN, "b": [Infinity, -Infinity, 1e999]}',
            JSON,
            {"a": "NaN", "b": ["Infinity", "-Infinity", "1e999"]},
        ),
        (
            b'{"n": 123456789012345678901234567890}',
            JSON,
            {"n": "123456789012345678901234567890"},
        ),
        (b'{"n": 18446744073709551615}', JSON, {"n": 18446744073709551615}),
        (b'{"a": 1, "a": 2}', JSON, {"a": 2}),
        (b'{"a": "\\ud83d", "b": "\\ud83d\\ude00"}', JSON, {"a": "\ufffd", "b": "😀"}),
        (b'{"a": "\\u0000"}', JSON, {"a": "\x00"}),
        (b"false", JSON, False),
        (b"17", None, 17),
        (
            b'{"name": "M\xc3\xbcller"}',
            "application/json; charset=us-ascii",
            {"name": "Müller"},
        ),
    ],
)
async def test_what_advoware_accepted_is_a_success_with_what_it_answered(
    proxy: Proxy, method: str, body: bytes, content_type: str | None, result: Any
) -> None:
    proxy.wire.will_answer(body, content_type)

    assert await proxy.call(method) == (200, {"result": result})

    assert len(proxy.wire.requests) == 1


@pytest.mark.parametrize(
    ("body", "content_type", "shown"),
    [
        (b'{"betNr": 12', JSON, '{"betNr": 12'),
        (b"[" * 5000 + b"]" * 5000, JSON, "[" * 5000 + "]" * 5000),
        (b"[" * 127 + b"]" * 127, JSON, "[" * 127 + "]" * 127),
        (b"OK", JSON, "OK"),
        (b"%PDF-1.7 \xe4\xfc", "application/pdf", None),
        (b"\x00\x01", "text/plain", None),
        (b"\xff" * 100, "image/png", None),
        (b'"' + b"x" * (20 * 2**20) + b'"', JSON, None),
        (b"\xfc" * (4 * 2**20), "text/plain; charset=latin-1", None),
        (b'["' + "ü".encode() * (3 * 2**20) + b'"]', JSON, None),
        (b"\x01" * (3 * 2**20), "text/plain", None),
        (b'"' * (8 * 2**20), "text/plain", None),
        (b"x" * (34 * 2**20), "text/plain", None),
    ],
    ids=range(13),
)
async def test_a_write_whose_answer_cannot_be_shown_is_a_success_that_says_so_and_a_read_502(
    proxy: Proxy, body: bytes, content_type: str, shown: str | None
) -> None:
    proxy.wire.will_answer(body, content_type, status=201)
    status, answer = await proxy.call("POST")
    assert status == 200
    if shown is None:
        assert "do not repeat" in answer["result"]["not_shown"]
    else:
        assert answer == {"result": shown}
    assert len(proxy.wire.requests) == 1

    proxy.wire.will_answer(body, content_type)
    status, answer = await proxy.call("GET")
    assert (status, answer["error"], answer["upstream_status"]) == (
        502,
        "Unusable answer",
        200,
    )


async def test_a_large_text_of_umlauts_arrives_whole(proxy: Proxy) -> None:
    text = "ü" * (2 * 2**20)
    proxy.wire.will_answer(text.encode("latin-1"), "text/plain; charset=latin-1")

    assert await proxy.call("POST") == (200, {"result": text})


async def test_a_write_whose_answer_breaks_off_is_a_success_that_says_so(
    proxy: Proxy,
) -> None:
    for method, hold in (
        ("POST", False),
        ("PUT", False),
        ("DELETE", False),
        ("POST", True),
    ):
        proxy.wire.will_answer(b'{"betNr": 1', JSON, Content_Length="100")
        proxy.wire.hold = hold

        status, answer = await proxy.call(method)

        assert (status, len(proxy.wire.requests)) == (200, 1)
        assert "broke off" in answer["result"]["not_shown"]
    proxy.wire.will_answer(b'{"betNr": 1', JSON, Content_Length="100")
    assert (await proxy.call("GET"))[0] == 502


async def test_a_write_that_is_not_answered_is_no_success(proxy: Proxy) -> None:
    proxy.wire.will_answer()
    proxy.wire.answer = b""
    assert (await proxy.call("POST"))[0] == 502
    proxy.wire.hold = True
    assert (await proxy.call("POST"))[0] == 504


@pytest.mark.parametrize(
    ("upstream", "status"), [(429, 429), (503, 502), (403, 403), (500, 502)]
)
@pytest.mark.parametrize("wait", ["120", "Fri, 31 Dec 2027 23:59:59 GMT"])
async def test_retry_after_is_passed_on(
    proxy: Proxy, upstream: int, status: int, wait: str
) -> None:
    proxy.wire.will_answer(
        b'{"message": "sp\xc3\xa4ter"}', JSON, status=upstream, Retry_After=wait
    )

    answered, body, headers = await proxy.exchange("POST", f"endpoint={PATH}")

    assert (answered, body["upstream_status"]) == (status, upstream)
    assert (headers["retry-after"], headers["content-type"]) == (
        wait,
        "application/json",
    )


async def test_an_error_without_retry_after_is_passed_on_without(proxy: Proxy) -> None:
    for headers in ({}, {"Retry_After": ""}, {"Retry_After": "x" * 65}):
        proxy.wire.will_answer(b"", status=429, **headers)

        status, body, answered = await proxy.exchange("POST", f"endpoint={PATH}")

        assert (status, body["upstream_status"], "retry-after" in answered) == (
            429,
            429,
            False,
        )


@pytest.mark.parametrize(
    ("body", "content_type", "details"),
    [
        (b"", None, ""),
        (
            b"Pflichtfeld f\xfcr PLZ fehlt",
            "text/plain; charset=iso-8859-1",
            "Pflichtfeld für PLZ fehlt",
        ),
        (b"Pflichtfeld f\xfcr PLZ fehlt", "text/plain", "Pflichtfeld für PLZ fehlt"),
        (b'{"message": "f\xfcr", "n": NaN}', JSON, {"message": "für", "n": "NaN"}),
        (b'{"message": "\\ud83d"}', JSON, {"message": "\ufffd"}),
        (b"[" * 5000, JSON, "[" * 2000),
        (
            b'"' + b"x" * 20 * 2**20 + b'"',
            JSON,
            "its description of the error is too large",
        ),
        (b"x" * 34 * 2**20, "text/html", "its description of the error is too large"),
    ],
    ids=range(8),
)
async def test_a_refusal_keeps_its_status_whatever_it_says(
    proxy: Proxy, body: bytes, content_type: str | None, details: Any
) -> None:
    proxy.wire.will_answer(body, content_type, status=400)

    status, answer = await proxy.call("POST")

    assert (status, answer) == (
        400,
        {"error": "Advoware error", "details": details, "upstream_status": 400},
    )


async def test_an_answer_that_is_no_success_and_no_error_is_not_called_unavailable(
    proxy: Proxy,
) -> None:
    proxy.wire.will_answer(b"", status=302, Location="/login")

    status, body = await proxy.call("POST")

    assert (status, body["error"], body["upstream_status"]) == (
        502,
        "Unusable answer",
        302,
    )
