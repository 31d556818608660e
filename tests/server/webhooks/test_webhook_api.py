"""Webhooks that may not be called are refused when they are given."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from tests.server.api.conftest import TOKEN, Server
from tests.server.api.conftest import server as api_server

from quarterdeck.server.store import Hooks

server = api_server  # the fixture

Reply = tuple[int, dict[str, Any]]


@pytest.fixture
async def post(server: Server) -> Any:
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as session:

        async def post(path: str, **body: Any) -> Reply:
            async with session.post(f"{server.url}/crews/asking{path}", json=body) as response:
                return response.status, await response.json()

        yield post


def refused(reply: Reply) -> list[str]:
    status, body = reply
    assert status == 422, body
    assert body["error"] == "Validation Error"
    assert all(item["expected"] in body["message"] for item in body["errors"])
    return [item["field"] for item in body["errors"]]


async def test_kickoff_and_resume_name_the_field(server: Server, post: Any) -> None:
    inputs = {"topic": "tea"}
    bad = "https://169.254.169.254/latest"
    assert refused(await post("/kickoff", inputs=inputs, taskWebhookUrl=bad)) == ["taskWebhookUrl"]
    assert refused(await post("/kickoff", inputs=inputs, stepWebhookUrl="http://127.0.0.1/")) == ["stepWebhookUrl"]
    assert refused(await post("/kickoff", inputs=inputs, crewWebhookUrl="nonsense")) == ["crewWebhookUrl"]
    stream = {"url": bad, "secret": "short", "authentication": {"strategy": "bearer"}}
    fields = ["webhooks.authentication", "webhooks.secret", "webhooks.url"]
    assert sorted(refused(await post("/kickoff", inputs=inputs, webhooks=stream))) == fields
    human = {"url": "https://ann:pw@10.0.0.1/"}
    assert refused(await post("/kickoff", inputs=inputs, humanInputWebhook=human)) == ["humanInputWebhook.url"]

    good = "https://receiver.invalid/hook"
    status, body = await post("/kickoff", inputs=inputs, taskWebhookUrl=good, stepWebhookUrl="", crewWebhookUrl=None)
    assert status == 200
    run_id = body["kickoff_id"]
    record = await server.store.get(run_id)
    assert record is not None
    assert record.hooks == Hooks(task_url=good)
    async with asyncio.timeout(10):
        while record.state != "pending_human_input":
            await asyncio.sleep(0.02)
            record = await server.store.get(run_id)
            assert record is not None
    answer = {"execution_id": run_id, "task_id": "plan", "human_feedback": "", "is_approve": True}
    assert refused(await post("/resume", **answer, crewWebhookUrl=bad)) == ["crewWebhookUrl"]
    assert (await server.store.get(run_id)) == record  # the question is still open
    status, body = await post("/resume", **answer)
    assert (status, body["status"]) == (200, "resumed")
