"""Requests that nobody should send: each gets the error that is documented, as problem details, and no traceback."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.server.api.conftest import TOKEN, Server, crews, serving
from yarl import URL

AUTH = {"Authorization": f"Bearer {TOKEN}"}
JSON = AUTH | {"Content-Type": "application/json"}
KICKOFF = "/crews/writers/kickoff"


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


class Asker:
    """Asks a server, and checks that each error is a problem."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def __call__(self, method: str, path: str, **more: Any) -> tuple[int, dict[str, Any], Any]:
        more.setdefault("headers", AUTH)
        url = URL(self._url + path, encoded=True)
        async with self._session.request(method, url, **more) as response:
            text = await response.text()
            body: Any = json.loads(text) if "json" in response.content_type and text else {}
            if response.status >= 400 and method != "HEAD":
                is_problem(response.status, response.content_type, body, text)
            return response.status, body, response.headers

    async def until(self, path: str, state: str) -> None:
        async with asyncio.timeout(20):
            while (await self("GET", path))[1]["status"] != state:  # noqa: ASYNC110
                await asyncio.sleep(0.02)


def is_problem(status: int, kind: str, body: dict[str, Any], text: str) -> None:
    assert kind == "application/problem+json", text
    assert body["status"] == status
    assert body["error"] == body["title"] or body["error"] == "Execution not found"
    assert body["message"] == body["detail"] != ""
    assert "Traceback" not in text
    assert len(text) < 20_000


@pytest.fixture
def ask(session: aiohttp.ClientSession, server: Server) -> Asker:
    return Asker(session, server.url)


def inputs(text: str) -> bytes:
    return f'{{"inputs": {{"topic": {text}}}}}'.encode()


DEEP = "[" * 100_000
BODIES: list[tuple[str, bytes, int]] = [
    ("empty", b"", 400),
    ("cut off", b'{"inputs": {"topic": "t"', 400),
    ("no UTF-8", b'{"inputs": {"topic": "\xff\xfe"}}', 400),
    ("a NUL byte", b'{"inputs": {"topic": "t"}}\0', 400),
    ("null", b"null", 400),
    ("a text", b'"x"', 400),
    ("NaN", inputs("NaN"), 400),
    ("infinity", inputs("-Infinity"), 400),
    ("a number that is too large", inputs("1e999"), 400),
    ("a number of too many digits", inputs("1" * 5000), 400),
    ("nested too deep", inputs("[" * 40 + "]" * 40), 400),
    ("a key that is no Unicode", inputs('{"\\ud800": 1}'), 400),
    ("a user's id that is too long", b'{"inputs": {"topic": "t"}, "meta": {"userId": "' + b"u" * 3000 + b'"}}', 400),
    ("NaN in meta", b'{"inputs": {"topic": "t"}, "meta": {"x": NaN}}', 400),
    ("a request id that is a number", b'{"inputs": {"topic": "t"}, "meta": {"requestId": 7}}', 400),
    ("a request id with NUL", b'{"inputs": {"topic": "t"}, "meta": {"requestId": "a\\u0000"}}', 400),
    ("a priority in words", b'{"inputs": {"topic": "t"}, "priority": "high"}', 400),
    ("a huge priority", b'{"inputs": {"topic": "t"}, "priority": ' + b"9" * 300 + b"}", 400),
    ("an unknown limit", b'{"inputs": {"topic": "t"}, "budget": {"max_tokens": 5, "max_luck": 1}}', 400),
    ("an infinite budget", b'{"inputs": {"topic": "t"}, "budget": {"max_seconds": 1e999}}', 400),
    ("a webhook that is a number", b'{"inputs": {"topic": "t"}, "taskWebhookUrl": 5}', 400),
    ("a webhook without a host", b'{"inputs": {"topic": "t"}, "taskWebhookUrl": "https://"}', 422),
    ("a webhook with NUL", b'{"inputs": {"topic": "t"}, "crewWebhookUrl": "https://a\\u0000b/"}', 422),
    ("an unknown version", b'{"inputs": {"topic": "t"}, "version": "9"}', 404),
    ("an odd version", b'{"inputs": {"topic": "t"}, "version": "\\ud800"}', 400),
    ("a long version", b'{"inputs": {"topic": "t"}, "version": "' + b"1" * 100 + b'"}', 400),
    ("inputs missing among thousands", json.dumps({"inputs": {f"k{n}": n for n in range(1200)}}).encode(), 422),
]


async def test_bodies(ask: Asker) -> None:
    for name, body, expected in BODIES:
        status, answer, _ = await ask("POST", KICKOFF, data=body, headers=JSON)
        assert status == expected, (name, answer)
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        status, answer, _ = await ask("POST", KICKOFF, data=inputs('"t"'), headers=AUTH | {"Content-Type": kind})
        assert (status, "Content-Type" in answer["message"]) == (400, True)
    for key in ("k" * 201, "\x80"):
        status, _, _ = await ask("POST", KICKOFF, data=inputs('"t"'), headers=JSON | {"Idempotency-Key": key})
        assert status == 400


async def test_odd_bodies_that_are_none_the_less_right(ask: Asker) -> None:
    """NUL, a thousand keys, big numbers, a key that is there twice (the last one counts): they run to the end."""
    thousand = json.dumps({"inputs": {"topic": "t"} | {f"k{n}": n for n in range(1000)}}).encode()
    odd = [
        inputs('"a\\u0000b"'),
        thousand,
        inputs("9" * 400),
        inputs('"\U0001f600"'),
        b'{"inputs":1,' + inputs('"t"')[1:],
    ]
    for body in odd:
        status, answer, _ = await ask("POST", KICKOFF, data=body, headers=JSON)
        assert status == 200, answer
        await ask.until(f"/crews/writers/status/{answer['kickoff_id']}", "completed")


IDS = ["%00", "a%00b", "%ff%fe", "%ED%A0%80", "a" * 5000, "%F0%9F%98%80", "'%20OR%201=1--", "%0d%0aX:%20y", "%7Bx%7D"]


async def test_ids(ask: Asker) -> None:
    for run_id in IDS:
        for method, path in (
            ("GET", f"/{run_id}/status"),
            ("GET", f"/status/{run_id}"),
            ("POST", f"/{run_id}/cancel"),
            ("POST", f"/stop/{run_id}"),
            ("GET", f"/{run_id}/events"),
        ):
            status, body, _ = await ask(method, f"/crews/writers{path}")
            assert (status, body["error"]) == (404, "Execution not found"), path
        assert (await ask("GET", f"/crews/{run_id}/inputs"))[0] == 404
        assert (await ask("GET", f"/crews/writers@{run_id}/inputs"))[0] == 404
        assert (await ask("POST", f"/admin/deliveries/{run_id}/resend"))[0] == 404
    for odd in ("\\u0000", "\\u202e", "a" * 150):
        answer = f'{{"execution_id": "{odd}", "task_id": "{odd}", "human_feedback": "", "is_approve": true}}'
        assert (await ask("POST", "/crews/asking/resume", data=answer.encode(), headers=JSON))[0] == 404
    for path in ("/crews/writers/a/b/status", "/crews/writers//status", "/nothing", "/crews", "/%00"):
        assert (await ask("GET", path))[0] == 404, path


async def test_answers_to_questions(ask: Asker) -> None:
    _, made, _ = await ask("POST", "/crews/asking/kickoff", data=inputs('"t"'), headers=JSON)
    run_id = made["kickoff_id"]
    await ask.until(f"/crews/asking/status/{run_id}", "pending_human_input")
    for fields, expected in (
        ('"task_id": "plan", "human_feedback": "\\ud800"', 400),
        ('"task_id": "plan", "human_feedback": 5', 400),
        ('"task_id": "plan", "is_approve": "maybe"', 400),
        ('"task_id": "\\u0000", "human_feedback": "x"', 404),
        ('"task_id": "\\ud800", "human_feedback": "x"', 400),
        ('"human_feedback": "x"', 400),
    ):
        body = f'{{"execution_id": "{run_id}", {fields}}}'.encode()
        assert (await ask("POST", "/crews/asking/resume", data=body, headers=JSON))[0] == expected, fields
    body = f'{{"execution_id": "{run_id}", "task_id": "plan", "human_feedback": "a\\u0000b"}}'.encode()
    assert (await ask("POST", "/crews/asking/resume", data=body, headers=JSON))[0] == 200


async def test_tokens(ask: Asker) -> None:
    for said in (
        "",
        "Bearer",
        "Bearer ",
        f"Basic {TOKEN}",
        TOKEN,
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN} x",
        "Bearer \xe9",
    ):
        for method, path in (("GET", "/crews/writers/inputs"), ("POST", KICKOFF), ("GET", "/admin/deliveries")):
            status, body, headers = await ask(method, path, headers={"Authorization": said})
            assert (status, body["error"], headers["WWW-Authenticate"]) == (401, "Unauthorized", "Bearer"), said
            assert TOKEN not in json.dumps(body)
    assert (await ask("GET", "/crews/writers/inputs", headers={"Authorization": f"bearer {TOKEN}"}))[0] == 200
    assert (await ask("GET", "/crews/none/inputs", headers={}))[0] == 401


async def test_methods(ask: Asker) -> None:
    """405 with the methods that there are."""
    for path, right in ((KICKOFF, "POST"), ("/crews/writers/inputs", "GET"), ("/crews/writers/x/status", "GET")):
        for method in ("HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "PROPFIND", "GET" if right == "POST" else "POST"):
            status, _, headers = await ask(method, path)
            assert (status, headers["Allow"]) == (405, right), (method, path)


async def test_parameters(ask: Asker) -> None:
    for path in (
        "/inputs?schema=maybe",
        *(
            f"/kickoffs?{query}"
            for query in ("limit=0", "limit=x", f"limit={'9' * 40}", "status=nope", "requestId=%00")
        ),
        *(f"/kickoffs?cursor={cursor}" for cursor in ("x", "nan_a", "inf_a", "1_%00", "1" * 200, "%ff")),
    ):
        assert (await ask("GET", f"/crews/writers{path}"))[0] == 400, path
    for query in ("kickoff_id=%00", "state=nope", "cursor=nan_", "limit=-1"):
        assert (await ask("GET", f"/admin/deliveries?{query}"))[0] == 400, query
    _, made, _ = await ask("POST", KICKOFF, data=inputs('"t"'), headers=JSON)
    events = f"/crews/writers/{made['kickoff_id']}/events"
    for rubbish in ("x", "-1", "1.5", "9" * 16, "9" * 5000, "\xb2", "1, 2", "NaN"):
        status, body, _ = await ask("GET", events, headers=AUTH | {"Last-Event-ID": rubbish})
        assert (status, "Last-Event-ID" in body["message"]) == (400, True), rubbish
    status, body, _ = await ask("GET", f"{events}?types=llm.delta,nope")
    assert (status, "'nope'" in body["message"]) == (400, True)
    assert (await ask("GET", f"{events}?types=,%20,task.finished", headers=AUTH | {"Last-Event-ID": "9" * 15}))[
        0
    ] == 200


HEAD = f"POST {KICKOFF} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n"


async def test_large_bodies_are_refused_before_they_are_there(server: Server) -> None:
    """With and without a length: the server answers while the body has not been sent."""
    chunk = b"1000\r\n" + b" " * 0x1000 + b"\r\n"
    for sent in (
        f"{HEAD}Content-Length: 10000000\r\n\r\n".encode(),
        f"{HEAD}Content-Length: {'9' * 18}\r\n\r\n".encode() + b" " * 5000,
        f"{HEAD}Transfer-Encoding: chunked\r\n\r\n".encode() + chunk * 6,
    ):
        host, port = server.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write(sent)
            async with asyncio.timeout(20):
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                assert head.startswith("HTTP/1.1 413"), head
                length = int(head.lower().partition("content-length: ")[2].split("\r\n")[0])
                text = (await reader.readexactly(length)).decode()
            is_problem(413, "application/problem+json", json.loads(text), text)
        finally:
            writer.close()


async def test_a_fault_of_the_server_has_a_number(
    session: aiohttp.ClientSession, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The client gets a request_id and nothing else; the log has the rest under it."""
    with serving(str(tmp_path / "runs.db"), crews(), worker=False) as server:
        await asyncio.to_thread(server.store.close)
        with caplog.at_level(logging.ERROR, "quarterdeck.server"):
            status, body, _ = await Asker(session, server.url)("GET", "/crews/writers/abc/status")
        assert (status, body["error"]) == (500, "Internal Server Error")
        assert "runs.db" not in json.dumps(body)
        assert any(body["request_id"] in record.getMessage() and record.exc_info for record in caplog.records)
