"""Webhooks of a server: looked at, sent again, replaced; and that no run waits for them."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import aiohttp
import pytest
from standardwebhooks import Webhook
from tests.server.api.conftest import TOKEN, Server
from tests.server.api.conftest import server as api_server
from tests.server.webhooks.conftest import SECRET, Receiver

from quarterdeck.events import TaskFinished
from quarterdeck.server.settings import Settings
from quarterdeck.server.store import Hooks, Store
from quarterdeck.server.webhooks import Deliverer, delivering

server = api_server  # the fixture


@pytest.fixture
def settings() -> dict[str, Any]:
    return {"dev": True, "webhook_secret": SECRET}


class Client:
    """Asks a server, and waits for runs."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self._session = session

    async def ask(self, method: str, path: str, **more: Any) -> tuple[int, Any]:
        async with self._session.request(method, self.url + path, **more) as response:
            return response.status, await response.json()

    async def kickoff(self, crew: str, **hooks: Any) -> str:
        body = {"inputs": {"topic": "tides"}, "meta": {"source": "test"}} | hooks
        status, answer = await self.ask("POST", f"/crews/{crew}/kickoff", json=body)
        assert status == 200, answer
        return answer["kickoff_id"]

    async def reaches(self, crew: str, run_id: str, state: str) -> None:
        async with asyncio.timeout(20):
            while (await self.ask("GET", f"/crews/{crew}/{run_id}/status"))[1]["status"] != state:  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    async def deliveries(self, query: str = "") -> list[dict[str, Any]]:
        status, body = await self.ask("GET", f"/admin/deliveries{query}")
        assert status == 200, body
        return body["deliveries"]

    async def settled(self, states: set[str]) -> None:
        async with asyncio.timeout(20):
            while {item["state"] for item in await self.deliveries()} != states:  # noqa: ASYNC110
                await asyncio.sleep(0.02)


@pytest.fixture
async def client(server: Server) -> Any:
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as session:
        yield Client(server.url, session)


async def test_deliveries_are_listed_and_sent_again(client: Client, receiver: Receiver) -> None:
    receiver.answer = lambda got: 410 if got.path == "/gone" else 200
    first = await client.kickoff("writers", taskWebhookUrl=f"{receiver.url}/tasks")
    await client.settled({"delivered"})
    second = await client.kickoff("writers", crewWebhookUrl=f"{receiver.url}/gone", taskWebhookUrl="")
    await client.settled({"delivered", "dead"})

    everything = await client.deliveries()
    assert [(item["kickoff_id"], item["type"], item["state"]) for item in everything] == [
        (second, "crew", "dead"),
        (first, "task", "delivered"),
        (first, "task", "delivered"),
    ]
    dead, *rest = everything
    assert set(dead) == {
        *("id", "kickoff_id", "url", "type", "seq", "state", "tries", "last_error", "created", "delivered"),
    }
    assert (dead["last_error"], dead["tries"], dead["delivered"]) == ("it answered 410", 1, None)
    assert rest[0]["seq"] > rest[1]["seq"]
    assert [item["id"] for item in rest] == [got.id for got in reversed(receiver.at("/tasks"))]
    assert await client.deliveries("?state=dead") == [dead]
    assert await client.deliveries("?state=pending") == []
    assert await client.deliveries(f"?kickoff_id={first}&state=delivered") == rest
    pages: list[str] = []
    cursor = ""
    while cursor is not None:
        _, page = await client.ask("GET", f"/admin/deliveries?limit=1{cursor and f'&cursor={cursor}'}")
        pages += [item["id"] for item in page["deliveries"]]
        cursor = page["next"]
    assert pages == [item["id"] for item in everything]

    receiver.answer = lambda got: 200
    again = f"/admin/deliveries/{dead['id']}/resend"
    assert await client.ask("POST", again) == (200, {"id": dead["id"], "state": "pending"})
    await client.settled({"delivered"})
    assert [got.raw for got in receiver.at("/gone")] == [receiver.at("/gone")[0].raw] * 2
    for got in receiver.got:
        assert Webhook(SECRET).verify(got.raw, got.headers)["meta"] == {"source": "test"}


async def test_what_is_asked_wrongly(client: Client, server: Server) -> None:
    status, body = await client.ask("POST", "/admin/deliveries/none/resend")
    assert (status, body["error"], "none" in body["message"]) == (404, "Not Found", True)
    for query, field in (("state=lost", "state"), ("limit=0", "limit"), ("cursor=x", "cursor")):
        status, body = await client.ask("GET", f"/admin/deliveries?{query}")
        assert (status, field in body["message"]) == (400, True), body
    async with aiohttp.ClientSession() as session:
        for method, path in (("GET", "/admin/deliveries"), ("POST", "/admin/deliveries/x/resend")):
            assert (await Client(server.url, session).ask(method, path))[0] == 401
    _, document = await client.ask("GET", "/openapi.json")
    listed = document["paths"]["/admin/deliveries"]["get"]["responses"]["200"]["content"]["application/json"]
    assert listed["schema"]["$ref"].endswith("/DeliveriesResponse")


async def test_a_resume_replaces_the_webhooks_that_it_names(client: Client, receiver: Receiver) -> None:
    """The others stay; AMP's older form of the human input webhook is taken too."""
    url = receiver.url
    run_id = await client.kickoff(
        "asking",
        humanInputWebhookUrl=f"{url}/ask",
        taskWebhookUrl=f"{url}/task",
        crewWebhookUrl=f"{url}/old",
        webhooks={"url": f"{url}/events", "events": ["human_feedback_received"], "realtime": True},
    )
    await receiver.until(lambda: receiver.at("/ask") and receiver.at("/old"))
    (asked,) = receiver.at("/ask")
    answer = {"execution_id": run_id, "task_id": asked.body["task_id"], "human_feedback": "", "is_approve": True}
    await client.reaches("asking", run_id, "pending_human_input")
    status, _ = await client.ask(
        "POST", "/crews/asking/resume", json=answer | {"crewWebhookUrl": f"{url}/new", "taskWebhookUrl": ""}
    )
    assert status == 200
    await receiver.until(lambda: receiver.at("/new") and receiver.at("/task") and receiver.at("/events"))
    assert [got.body["status"] for got in receiver.at("/old")] == ["pending_human_input"]
    assert [got.body["status"] for got in receiver.at("/new")] == ["completed"]
    (event,) = receiver.at("/events")[0].body["events"]
    assert (event["type"], event["execution_id"], event["meta"]) == (
        "human_feedback_received",
        run_id,
        {"source": "test"},
    )


async def test_runs_do_not_wait_for_a_receiver_that_does_not_answer(client: Client, receiver: Receiver) -> None:
    stuck = asyncio.Event()

    async def never(got: Any) -> int:
        await stuck.wait()
        return 200

    receiver.answer = never
    hooks = {"taskWebhookUrl": f"{receiver.url}/t", "crewWebhookUrl": f"{receiver.url}/c"}
    runs = [await client.kickoff("writers", **hooks) for _ in range(20)]
    for run_id in runs:
        await client.reaches("writers", run_id, "completed")
    assert await client.deliveries("?state=delivered") == []
    assert len(await client.deliveries("?state=pending&limit=200")) == 60
    stuck.set()
    await client.settled({"delivered"})


class Failing(Deliverer):
    """Has a defect at first."""

    failures = 0

    async def run(self) -> None:
        if not self.failures:
            self.failures += 1
            raise RuntimeError("a defect")
        await super().run()


async def test_a_deliverer_that_fails_is_started_again(
    store: Store, receiver: Receiver, writer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "quarterdeck.server"):
        async with delivering(store, Failing(store, Settings(dev=True)), grace=1.0):
            await writer.run(Hooks(task_url=receiver.url), TaskFinished(task="t"))
            await receiver.until(lambda: receiver.got)
    assert "the deliverer failed" in caplog.text
    assert "a defect" in caplog.text


async def test_a_deliverer_that_has_failed_can_be_ended(store: Store) -> None:
    async with delivering(store, Failing(store, Settings())):
        await asyncio.sleep(0.05)
