"""States in which somebody has to act, as a client sees them: a crew's version that is gone, a tool call in doubt."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from tests.server.api.conftest import TOKEN, Server, crews, serving

from quarterdeck import Agent, Crew, Task
from quarterdeck.llm.types import LLMRequest
from quarterdeck.project import Entry, Registry
from quarterdeck.runtime.journal.database import Target
from quarterdeck.server.store import NewRun, Store, new_run_id
from quarterdeck.server.worker import Worker
from quarterdeck.testing import ScriptedLLM, call
from quarterdeck.tools import tool

AUTH = {"Authorization": f"Bearer {TOKEN}"}


async def ask(method: str, url: str, **more: Any) -> tuple[int, Any]:
    headers = AUTH | more.pop("headers", {})
    async with aiohttp.ClientSession() as session, session.request(method, url, headers=headers, **more) as found:
        return found.status, await found.json(content_type=None)


async def until(url: str, *states: str) -> dict[str, Any]:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        _, body = await ask("GET", url)
        if body["status"] in states:
            return body
        await asyncio.sleep(0.05)
    raise AssertionError(body)


def execute(url: str, statement: str) -> None:
    database = Target(url).connect()
    database.execute(statement)
    database.close()


async def kickoff(server: Server, crew: str, key: str, **inputs: Any) -> tuple[int, Any]:
    body = {"inputs": inputs, "meta": {"requestId": key}}
    return await ask("POST", f"{server.url}/crews/{crew}/kickoff", json=body)


async def test_a_version_that_is_gone(journal_url: str) -> None:
    """Its runs are stranded and say what to do, can be cancelled, and go on when it is there again. A key that has
    started a run gives it, though the new version would refuse the request."""
    agent = Agent(role="Writer", goal="Write", llm=ScriptedLLM(by=lambda request: "fine"))
    newer = Crew(tasks=[Task(name="t", description="Write {topic} for {reader}", expected_output="e", agent=agent)])
    with serving(journal_url, crews()[:1], worker=False) as server:
        _, first = await kickoff(server, "writers", "k1", topic="tides")
        _, second = await kickoff(server, "writers", "k2", topic="tides")
    with serving(journal_url, [Entry("writers", "9", newer)]) as server:
        base = f"{server.url}/crews/writers"
        assert await kickoff(server, "writers", "k1", topic="tides") == (200, first)
        assert (await kickoff(server, "writers", "k3", topic="tides"))[0] == 422
        execute(journal_url, "UPDATE qd_kickoffs SET queued = queued - 60")
        body = await until(f"{base}/status/{first['kickoff_id']}", "stranded")
        assert body["state"] == "PENDING"
        assert "quarterdeck worker writers@1=TARGET" in body["reason"]
        _, body = await ask("POST", f"{base}/stop/{second['kickoff_id']}")
        assert (body["status"], body["state"]) == ("cancelled", "FAILED")
    with serving(journal_url, [*crews()[:1], Entry("writers", "9", newer)]) as server:
        body = await until(f"{server.url}/crews/writers/{first['kickoff_id']}/status", "completed")
        assert (body["version"], body["result"]["output"]) == ("1", "about tides")


def paying(begun: asyncio.Event) -> Entry:
    @tool(retry="never")
    async def pay(amount: int) -> str:
        """Pays.

        Args:
            amount: How much.
        """
        begun.set()
        await asyncio.sleep(3600)
        return f"paid {amount}"

    def answer(request: LLMRequest) -> Any:
        told = [m["content"] for m in request.messages if m["role"] == "tool"]
        return f"it says: {told[-1]}" if told else call("pay", amount=7)

    agent = Agent(role="Buyer", goal="Buy", llm=ScriptedLLM(by=answer), tools=[pay])
    return Entry("shop", "1", Crew(tasks=[Task(name="buy", description="Buy", expected_output="e", agent=agent)]))


@asynccontextmanager
async def killed_while_paying(journal_url: str) -> AsyncGenerator[str]:
    """A run whose worker was killed while the tool was under way."""
    store = await Store.open(journal_url)
    begun = asyncio.Event()
    run_id = new_run_id()
    await store.kickoff(NewRun(id=run_id, tenant="default", crew="shop", version="1"))
    working = asyncio.create_task(Worker(store, Registry([paying(begun)])).run())
    await asyncio.wait_for(begun.wait(), 20)
    working.cancel()
    await asyncio.wait([working])
    await asyncio.to_thread(store.close)
    execute(journal_url, "UPDATE qd_workers SET heartbeat = heartbeat - 60")
    yield run_id


async def test_a_tool_call_in_doubt(journal_url: str) -> None:
    """It asks, in words for whoever answers over HTTP; the result that a person gives is the tool's."""
    async with killed_while_paying(journal_url) as run_id:
        with serving(journal_url, [paying(asyncio.Event())]) as server:
            body = await until(f"{server.url}/status/{run_id}", "in_doubt")
            assert (body["state"], body["pending"]["task_id"]) == ("RUNNING", "buy")
            assert "'pay' must not be repeated" in body["pending"]["question"]
            assert "resolve=" not in str(body)
            answer = {"execution_id": run_id, "task_id": "buy", "human_feedback": "paid 7, by hand", "is_approve": True}
            assert (await ask("POST", f"{server.url}/resume", json=answer))[1]["status"] == "resumed"
            body = await until(f"{server.url}/{run_id}/status", "completed")
            assert body["result"]["output"] == "it says: paid 7, by hand"
            assert (await ask("POST", f"{server.url}/resume", json=answer))[0] == 200  # the same answer again
            assert (await ask("POST", f"{server.url}/resume", json=answer | {"is_approve": False}))[0] == 409
