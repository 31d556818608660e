"""The HTTP API, over real sockets: AMP's endpoints and forms, idempotency, human input, events, errors."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import aiohttp
import pytest
from tests.server.api.conftest import TOKEN, Server, crews, serving

from quarterdeck.runtime.journal import Journal
from quarterdeck.runtime.journal.database import Target
from quarterdeck.server.store import Store, WakeUps

AUTH = {"Authorization": f"Bearer {TOKEN}"}


class Client:
    """Asks one crew of a server."""

    def __init__(self, session: aiohttp.ClientSession, base: str) -> None:
        self.session = session
        self.base = base

    async def ask(self, method: str, path: str, **more: Any) -> tuple[int, Any, Any]:
        more.setdefault("headers", AUTH)
        async with self.session.request(method, self.base + path, **more) as response:
            text = await response.text()
            return response.status, json.loads(text) if text.startswith("{") else text, response.headers

    async def kickoff(self, **body: Any) -> str:
        status, answer, _ = await self.ask("POST", "/kickoff", json=body)
        assert status == 200, answer
        return answer["kickoff_id"]

    async def until(self, run_id: str, *states: str) -> dict[str, Any]:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            _, body, _ = await self.ask("GET", f"/{run_id}/status")
            if body["status"] in states:
                return body
            await asyncio.sleep(0.02)
        raise AssertionError(body)


@pytest.fixture
async def writers(server: Server) -> Any:
    async with aiohttp.ClientSession() as session:
        yield Client(session, f"{server.url}/crews/writers")


@pytest.fixture
async def asking(server: Server) -> Any:
    async with aiohttp.ClientSession() as session:
        yield Client(session, f"{server.url}/crews/asking")


async def test_inputs(writers: Client) -> None:
    """AMP's form; the schema and the version on request."""
    assert (await writers.ask("GET", "/inputs"))[1] == {"inputs": ["topic"]}
    _, body, _ = await writers.ask("GET", "/inputs?schema=true")
    assert (body["version"], body["schema"]["required"]) == ("2", ["topic"])
    assert (await writers.ask("GET", "/"))[1] == "Healthy"


async def test_a_run_from_kickoff_to_result(writers: Client) -> None:
    """Both status paths, the documented form, progress, usage, ETag."""
    run_id = await writers.kickoff(inputs={"topic": "tides"}, meta={"source": "test"}, taskWebhookUrl="")
    body = await writers.until(run_id, "completed")
    assert body["result"]["output"] == "about tides"
    assert [t["task_id"] for t in body["result"]["tasks"]] == ["outline", "text"]
    assert set(body["result"]["tasks"][0]) == {"task_id", "output", "agent", "execution_time"}
    assert body["progress"] == {"completed_tasks": 2, "total_tasks": 2}
    assert body["usage"]["llm_calls"] == 2
    assert (body["kickoff_id"], body["state"], body["version"]) == (run_id, "SUCCESS", "2")
    status, other, headers = await writers.ask("GET", f"/status/{run_id}")
    assert (status, other) == (200, body)
    etag = headers["ETag"]
    status, _, _ = await writers.ask("GET", f"/{run_id}/status", headers=AUTH | {"If-None-Match": etag})
    assert status == 304


async def test_the_runtime_dialect(writers: Client) -> None:
    """``result`` is the answer's text for clients of AMP's service; the rest is the same."""
    run_id = await writers.kickoff(inputs={"topic": "tides"})
    await writers.until(run_id, "completed")
    _, body, _ = await writers.ask("GET", f"/{run_id}/status", headers=AUTH | {"X-AMP-Dialect": "runtime"})
    assert (body["result"], body["state"]) == ("about tides", "SUCCESS")
    assert body["last_executed_task"]["name"] == "text"
    assert body["inputs"] == {"topic": "tides"}
    status, problem, _ = await writers.ask("GET", f"/{run_id}/status", headers=AUTH | {"X-AMP-Dialect": "x"})
    assert (status, problem["error"]) == (400, "Invalid Request")


async def test_versions_and_hosts(server: Server, writers: Client) -> None:
    """A version by path or body; a crew by host."""
    for path, more in (("@1", {}), ("", {"version": "1"})):
        status, body, _ = await Client(writers.session, f"{writers.base}{path}").ask(
            "POST", "/kickoff", json={"inputs": {"topic": "t"}, **more}
        )
        assert status == 200
        assert (await writers.until(body["kickoff_id"], "completed"))["version"] == "1"
    status, _, _ = await writers.ask("POST", "/kickoff", json={"inputs": {"topic": "t"}, "version": "9"})
    assert status == 404
    by_host = Client(writers.session, server.url)
    status, body, _ = await by_host.ask("GET", "/inputs", headers=AUTH | {"Host": "writers.localhost"})
    assert (status, body) == (200, {"inputs": ["topic"]})


async def test_idempotency(writers: Client) -> None:
    """200 kickoffs with one key at once are one run; another payload is a conflict; the header is a key too."""
    body = {"inputs": {"topic": "tides"}, "meta": {"requestId": "r-1"}}
    answers = await asyncio.gather(*(writers.ask("POST", "/kickoff", json=body) for _ in range(200)))
    assert {status for status, _, _ in answers} == {200}
    assert len({answer["kickoff_id"] for _, answer, _ in answers}) == 1
    status, problem, _ = await writers.ask("POST", "/kickoff", json=body | {"inputs": {"topic": "other"}})
    assert (status, problem["error"]) == (409, "Conflict")
    keyed = [
        await writers.ask("POST", "/kickoff", json={"inputs": {"topic": "t"}}, headers=AUTH | {"Idempotency-Key": "k"})
        for _ in range(2)
    ]
    assert keyed[0][1] == keyed[1][1]
    _, page, _ = await writers.ask("GET", "/kickoffs?requestId=r-1")
    assert len(page["kickoffs"]) == 1


async def test_a_person_answers(asking: Client) -> None:
    """Pending, sent back with feedback, pending again, approved; one question gets one answer."""
    run_id = await asking.kickoff(inputs={"topic": "lunch"})
    body = await asking.until(run_id, "pending_human_input")
    assert (body["pending"]["task_id"], body["pending"]["output"]) == ("plan", "about lunch")
    answer = {"execution_id": run_id, "task_id": "plan", "human_feedback": "earlier", "is_approve": False}
    status, reply, _ = await asking.ask("POST", "/resume", json=answer)
    assert (status, reply["status"]) == (200, "retrying")
    deadline = time.monotonic() + 20
    while (body := await asking.until(run_id, "pending_human_input", "completed"))["pending"][
        "output"
    ] == "about lunch":
        assert time.monotonic() < deadline
    assert body["pending"]["output"] == "about lunch (earlier)"
    approval = {"executionId": run_id, "taskId": "plan", "humanFeedback": "", "isApprove": True}
    answers = await asyncio.gather(*(asking.ask("POST", "/resume", json=approval) for _ in range(20)))
    assert {(status, reply["status"]) for status, reply, _ in answers} == {(200, "resumed")}
    body = await asking.until(run_id, "completed")
    assert body["result"]["output"] == "about lunch (earlier)"
    status, problem, _ = await asking.ask("POST", "/resume", json=approval | {"isApprove": False, "humanFeedback": "x"})
    assert status in (400, 409), problem


async def test_the_list_by_user_and_time(writers: Client) -> None:
    ids = [await writers.kickoff(inputs={"topic": "t"}, meta={"userId": user}) for user in ("u1", "u2", "u1")]
    _, page, _ = await writers.ask("GET", "/kickoffs")
    created = [run["created"] for run in page["kickoffs"]]  # the newest first
    for query, expected in (
        ("userId=u1", [ids[2], ids[0]]),
        ("userId=u3", []),
        (f"since={created[1]!r}", [ids[2], ids[1]]),
        (f"until={created[1]!r}", [ids[0]]),
        (f"since={created[1]!r}&until={created[0]!r}&userId=u2", [ids[1]]),
    ):
        _, page, _ = await writers.ask("GET", f"/kickoffs?{query}")
        assert [run["kickoff_id"] for run in page["kickoffs"]] == expected, query
    for query in ("since=nan", "until=soon", "userId=%00"):
        assert (await writers.ask("GET", f"/kickoffs?{query}"))[0] == 400


async def test_events(writers: Client) -> None:
    """From the first on, resumed without gap or repeat, filtered, ended."""
    run_id = await writers.kickoff(inputs={"topic": "tides"})
    await writers.until(run_id, "completed")
    _, text, headers = await writers.ask("GET", f"/{run_id}/events")
    assert headers["Content-Type"].startswith("text/event-stream")
    ids = [int(line[4:]) for line in text.splitlines() if line.startswith("id: ")]
    assert ids == list(range(1, len(ids) + 1))
    assert "event: end" in text
    _, rest, _ = await writers.ask("GET", f"/{run_id}/events", headers=AUTH | {"Last-Event-ID": "3"})
    assert next(line for line in rest.splitlines() if line.startswith("id: ")) == "id: 4"
    _, tasks, _ = await writers.ask("GET", f"/{run_id}/events?types=task.finished")
    assert tasks.count("event: task.finished") == 2
    assert "llm.finished" not in tasks.replace('"llm.finished"', "")


async def test_cancel(asking: Client) -> None:
    """By both names; twice changes nothing."""
    run_id = await asking.kickoff(inputs={"topic": "lunch"})
    await asking.until(run_id, "pending_human_input")
    status, _, _ = await asking.ask("POST", f"/{run_id}/cancel")
    assert status == 200
    body = await asking.until(run_id, "cancelled")
    assert body["partial"] is True
    assert "pending" not in body
    status, again, _ = await asking.ask("POST", f"/stop/{run_id}")
    assert (status, again["status"]) == (200, "cancelled")


async def test_budget_ends_a_run_with_what_it_has(writers: Client) -> None:
    """Completed, partial, and which limit."""
    run_id = await writers.kickoff(inputs={"topic": "tides"}, budget={"max_llm_calls": 1})
    body = await writers.until(run_id, "completed", "error")
    assert (body["partial"], body["ended_by"]) == (True, "max_llm_calls")
    assert [t["task_id"] for t in body["result"]["tasks"]] == ["outline"]


DEEP = "[" * 60 + "]" * 60

BAD: list[tuple[str, dict[str, Any], int, str]] = [
    ("no token", {"headers": {}, "json": {"inputs": {"topic": "t"}}}, 401, "Unauthorized"),
    ("wrong token", {"headers": {"Authorization": "Bearer x"}, "json": {"inputs": {}}}, 401, "Unauthorized"),
    ("no JSON", {"data": b"{no", "headers": AUTH | {"Content-Type": "application/json"}}, 400, "Invalid Request"),
    ("a list", {"json": [1]}, 400, "Invalid Request"),
    ("no inputs", {"json": {}}, 400, "Invalid Request"),
    ("inputs of another type", {"json": {"inputs": "x"}}, 400, "Invalid Request"),
    ("a missing input", {"json": {"inputs": {"other": 1}}}, 422, "Validation Error"),
    ("a wrong budget", {"json": {"inputs": {"topic": "t"}, "budget": {"max_tokens": -1}}}, 400, "Invalid Request"),
    ("deep inputs", {"json": {"inputs": {"topic": json.loads(DEEP)}}}, 400, "Invalid Request"),
    (
        "a lone surrogate",
        {
            "data": b'{"inputs": {"topic": "\\ud800"}}',
            "headers": AUTH | {"Content-Type": "application/json"},
        },
        400,
        "Invalid Request",
    ),
    (
        "nesting that no parser takes",
        {
            "data": b'{"inputs": ' + b"[" * 9000 + b"]" * 9000 + b"}",
            "headers": AUTH | {"Content-Type": "application/json"},
        },
        400,
        "Invalid Request",
    ),
    ("a large body", {"json": {"inputs": {"topic": "x" * 30_000}}}, 413, "Content Too Large"),
]


@pytest.mark.parametrize(("more", "status", "error"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
async def test_bad_requests(writers: Client, more: dict[str, Any], status: int, error: str) -> None:
    """Problem details with AMP's two fields, and no traceback."""
    got, body, headers = await writers.ask("POST", "/kickoff", **more)
    assert got == status, body
    assert headers["Content-Type"] == "application/problem+json"
    assert body["error"] == error
    assert body["message"]
    assert "Traceback" not in json.dumps(body)
    if status == 422:
        assert body["details"] == {"missing_inputs": ["topic"]}


async def test_unknown_things(server: Server, writers: Client) -> None:
    """Unknown runs, crews and paths; AMP's words for an unknown run."""
    for method, path in (
        ("GET", "/nope/status"),
        ("GET", "/status/nope"),
        ("POST", "/nope/cancel"),
        ("GET", "/nope/events"),
    ):
        status, body, _ = await writers.ask(method, path)
        assert (status, body["error"]) == (404, "Execution not found")
        assert "nope" in body["message"]
    answer = {"execution_id": "nope", "task_id": "t", "human_feedback": "", "is_approve": True}
    assert (await writers.ask("POST", "/resume", json=answer))[0] == 404
    other = Client(writers.session, f"{server.url}/crews/none")
    assert (await other.ask("GET", "/inputs"))[0] == 404
    assert (await other.ask("GET", "/inputs", headers={}))[0] == 401
    status, body, _ = await Client(writers.session, server.url).ask("GET", "/inputs")  # it has several crews
    assert (status, body["error"]) == (404, "Not Found")
    assert "each is at /crews/NAME" in body["message"]
    run_id = await writers.kickoff(inputs={"topic": "t"})
    assert (await Client(writers.session, f"{server.url}/crews/asking").ask("GET", f"/{run_id}/status"))[0] == 404
    await writers.until(run_id, "completed")
    status, body, _ = await writers.ask("POST", "/resume", json=answer | {"execution_id": run_id})
    assert (status, body["error"]) == (400, "Invalid Request")


async def test_health_and_documents(server: Server, writers: Client) -> None:
    """Live, ready, the OpenAPI document, the docs."""
    root = Client(writers.session, server.url)
    assert (await root.ask("GET", "/health/live", headers={}))[0] == 200
    assert (await root.ask("GET", "/health/ready", headers={}))[0] == 200
    _, document, _ = await root.ask("GET", "/openapi.json", headers={})
    assert "/crews/{crew}/kickoff" in document["paths"]
    assert (await root.ask("GET", "/docs", headers={}))[0] == 200


async def test_running_is_never_a_lie(journal_url: str) -> None:
    """The status tells who has a run and how long ago that was heard of; when its worker is dead, both change, and so
    does the ETag."""
    crew = crews()[0]
    with serving(journal_url, [crew], worker=False) as server:
        async with aiohttp.ClientSession() as session:
            writers = Client(session, f"{server.url}/crews/writers")
            run_id = await writers.kickoff(inputs={"topic": "t"})
            seen: list[str] = []

            async def look() -> tuple[dict[str, Any], Any]:
                _, body, headers = await writers.ask("GET", f"/{run_id}/status")
                seen.append(headers["ETag"])
                again = AUTH | {"If-None-Match": f'"other", {headers["ETag"]}'}
                assert (await writers.ask("GET", f"/{run_id}/status", headers=again))[0] == 304
                return body, headers

            body, headers = await look()
            assert body["lease"] == {"attempt": 0, "worker": None, "heartbeat_age": None, "last_event": None}
            assert (body["status"], headers["Retry-After"]) == ("queued", "1")
            async with Other(journal_url) as other:  # as another process, which then says nothing more
                await other.beat("w1", [("writers", "1")], {})
                assert len(await other.claim("w1", [("writers", "1")], 10)) == 1
                body, _ = await look()
                assert (body["status"], body["lease"]["worker"], body["lease"]["attempt"]) == ("running", "w1", 1)
                first = body["lease"]["heartbeat_age"]
                await asyncio.sleep(0.2)
                _, body, _ = await writers.ask("GET", f"/{run_id}/status")
                assert body["lease"]["heartbeat_age"] >= first + 0.15
                await other.write(lambda database: database.execute("UPDATE qd_workers SET heartbeat = heartbeat - 6"))
                body, _ = await look()
                assert (body["status"], body["lease"]["heartbeat_age"] > 6) == ("running", True)
                await other.take_over_dead(5.0)
            body, _ = await look()
            assert (body["status"], body["lease"]["worker"], body["lease"]["heartbeat_age"]) == ("queued", None, None)
            _, body, headers = await writers.ask("POST", f"/{run_id}/cancel")
            assert body["status"] == "cancelled"
            body, headers = await look()
            assert "Retry-After" not in headers
            assert len(set(seen)) == len(seen)


class Other:
    """The database as another process has it."""

    def __init__(self, url: str) -> None:
        self._journal = Journal(Target(url))

    async def __aenter__(self) -> Store:
        return Store(self._journal, WakeUps(self._journal))

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self._journal.close)
