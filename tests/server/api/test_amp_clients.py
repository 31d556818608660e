"""Clients that were written for CrewAI AMP: what they send is understood, and what they read is there."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import aiohttp
import pytest
from tests.server.api.conftest import TOKEN, Server, crews, serving

from quarterdeck.runtime.journal.database import Target

AUTH = {"Authorization": f"Bearer {TOKEN}"}


async def ask(method: str, url: str, **more: Any) -> tuple[int, Any, Any]:
    more.setdefault("headers", AUTH)
    async with aiohttp.ClientSession() as session, session.request(method, url, allow_redirects=False, **more) as found:
        is_json = "json" in found.content_type
        return found.status, await found.json(content_type=None) if is_json else await found.text(), found.headers


async def until(url: str, *states: str) -> dict[str, Any]:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        _, body, _ = await ask("GET", url)
        if body["status"] in states:
            return body
        await asyncio.sleep(0.02)
    raise AssertionError(body)


async def test_a_base_url_is_joined_in_any_way(server: Server) -> None:
    """By path and by host, with and without a slash at its end; nothing is redirected."""
    host = AUTH | {"Host": "writers.example.com"}
    for base, headers in (("/crews/writers", AUTH), ("/crews/writers/", AUTH), ("", host), ("/", host)):
        status, text, _ = await ask("GET", server.url + base, headers=headers)
        assert (status, text) == (200, "Healthy"), base
        bare = {name: value for name, value in headers.items() if name == "Host"}
        assert (await ask("GET", server.url + base, headers=bare))[0] == 401
        for path in ("/inputs", "/inputs/", "//inputs"):
            status, body, _ = await ask("GET", server.url + base + path, headers=headers)
            assert (status, body) == (200, {"inputs": ["topic"]}), (base, path)
        status, _, _ = await ask(
            "POST", f"{server.url}{base}/kickoff/", json={"inputs": {"topic": "t"}}, headers=headers
        )
        assert status == 200


async def test_what_is_the_servers_is_there_on_every_host(server: Server) -> None:
    for path in ("/health/live", "/health/ready", "/openapi.json", "/docs"):
        assert (await ask("GET", server.url + path, headers={"Host": "writers.example.com"}))[0] == 200
    status, body, _ = await ask("GET", f"{server.url}/nothing", headers=AUTH | {"Host": "writers.example.com"})
    assert (status, body["message"].split(";")[0]) == (404, "there is no /nothing")


UNSET = {
    "taskWebhookUrl": "",
    "stepWebhookUrl": "",
    "crewWebhookUrl": "",
    "humanInputWebhookUrl": "",
    "trainingFilename": "",
    "generateArtifact": False,
    "restoreFromStateId": "",
}
RIGHT: list[dict[str, Any]] = [
    UNSET,
    {"humanInputWebhook": "", "webhooks": "", "meta": ""},
    {"humanInputWebhook": {}, "webhooks": {}, "meta": {}},
    {"humanInputWebhook": None, "webhooks": None, "meta": None},
    {"humanInputWebhook": {"url": ""}, "webhooks": {"url": ""}},
    {"webhooks": []},
    {"inputs": {"topic": "t", "other": [1], "crewai_trigger_payload": {"from": "mail"}, "taskWebhookUrl": ""}},
]


async def test_what_is_not_set_may_be_said_in_many_ways(server: Server) -> None:
    for more in RIGHT:
        status, body, _ = await ask(
            "POST", f"{server.url}/crews/writers/kickoff", json={"inputs": {"topic": "t"}} | more
        )
        assert (status, list(body)) == (200, ["kickoff_id"]), more
    ids: set[str] = set()
    for more in RIGHT[:6]:  # and it is the same request
        given = {"inputs": {"topic": "t"}} | more
        headers = AUTH | {"Idempotency-Key": "k"}
        _, body, _ = await ask("POST", f"{server.url}/crews/writers/kickoff", json=given, headers=headers)
        ids.add(body["kickoff_id"])
    assert len(ids) == 1
    for webhooks in ({"events": []}, [{"events": []}]):
        given = {"inputs": {"topic": "t"}, "webhooks": webhooks}
        status, body, _ = await ask("POST", f"{server.url}/crews/writers/kickoff", json=given)
        assert (status, [item["field"] for item in body["errors"]]) == (400, ["webhooks.0.url"])


async def test_an_answer_without_feedback(server: Server) -> None:
    base = f"{server.url}/crews/asking"
    for more in ({"human_feedback": None, "is_approve": True}, {"isApprove": True}, {"humanFeedback": ""}):
        _, body, _ = await ask("POST", f"{base}/kickoff", json={"inputs": {"topic": "t"}})
        await until(f"{base}/status/{body['kickoff_id']}", "pending_human_input")
        given = {
            "executionId": body["kickoff_id"],
            "taskId": "plan",
            "crewWebhookUrl": "",
            "humanInputWebhook": "",
            **more,
        }
        status, said, _ = await ask("POST", f"{base}/resume", json=given)
        assert (status, said["status"]) == (200, "resumed"), said
        await until(f"{base}/{body['kickoff_id']}/status", "completed")


async def test_the_client_of_amps_own_framework(journal_url: str) -> None:
    """It posts inputs, polls ``/status/{id}`` for ``state`` and takes ``result`` as the answer's text."""
    with serving(journal_url, crews()[2:], dialect="runtime") as server:  # one crew: it is at the root
        assert (await ask("GET", f"{server.url}/"))[1] == "Healthy"
        _, body, _ = await ask("POST", f"{server.url}/kickoff", json={"inputs": {"topic": "tides"}})
        run_id = body["kickoff_id"]
        await until(f"{server.url}/status/{run_id}", "pending_human_input")
        given = {"execution_id": run_id, "task_id": "plan", "human_feedback": "", "is_approve": True}
        await ask("POST", f"{server.url}/resume", json=given)
        await until(f"{server.url}/status/{run_id}", "completed")
        _, found, _ = await ask("GET", f"{server.url}/status/{run_id}")
        assert (found["state"].lower(), found["result"]) == ("success", "about tides")
        documented = AUTH | {"X-AMP-Dialect": "documented"}
        _, found, _ = await ask("GET", f"{server.url}/{run_id}/status", headers=documented)
        assert (found["status"], found["result"]["output"]) == ("completed", "about tides")


@pytest.mark.parametrize(("age", "seconds"), [(0.0, "1"), (60.0, "2")])
async def test_a_young_run_may_be_asked_for_each_second(journal_url: str, age: float, seconds: str) -> None:
    with serving(journal_url, crews(), worker=False) as server:
        base = f"{server.url}/crews/writers"
        _, body, _ = await ask("POST", f"{base}/kickoff", json={"inputs": {"topic": "t"}})
        await asyncio.to_thread(_make_older, journal_url, age)
        _, _, headers = await ask("GET", f"{base}/status/{body['kickoff_id']}")
        assert headers["Retry-After"] == seconds


def _make_older(url: str, seconds: float) -> None:
    database = Target(url).connect()
    database.execute("UPDATE qd_kickoffs SET created = created - ?", (seconds,))
    database.close()
