"""Flows over the HTTP API: inputs, status by method, questions, many runs at once, forks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from pydantic import BaseModel
from tests.server.api.conftest import answer, crews, serving
from tests.server.api.test_api import AUTH, Client

from quarterdeck import Agent, Crew, Task
from quarterdeck.events import event_from_dict
from quarterdeck.flow import Flow, HumanFeedbackResult, human_feedback, listen, router, start
from quarterdeck.project import Entry
from quarterdeck.server import amp
from quarterdeck.testing import ScriptedLLM


class Order(BaseModel):
    item: str
    amount: int = 1
    notes: list[str] = []


class OrderFlow(Flow[Order]):
    """Checks an order with a crew, and asks a person about the large ones."""

    def __init__(self) -> None:
        super().__init__()
        self.touched: list[str] = []

    @start()
    def check(self) -> str:
        self.touched.append(self.state.item)
        assert self.touched == [self.state.item], "another run's"
        agent = Agent(role="Clerk", goal="Check", llm=ScriptedLLM(by=answer))
        task = Task(name="look", description="Check {item}", expected_output="T", agent=agent)
        output = Crew(name="clerks", tasks=[task]).kickoff({"item": self.state.item})
        self.state.notes.append(output.raw)
        return output.raw

    @router(check)
    def size(self) -> str:
        return "large" if self.state.amount > 10 else "small"

    @listen("large")
    @human_feedback("Approve the order?", emit=["approved", "rejected"], llm=None)
    def approve(self) -> str:
        return f"{self.state.amount} {self.state.item}"

    @listen("approved")
    def accept(self, result: HumanFeedbackResult) -> dict[str, Any]:
        return {"accepted": result.output, "said": result.feedback, "notes": self.state.notes}

    @listen("rejected")
    def refuse(self, result: HumanFeedbackResult) -> str:
        return f"refused: {result.feedback}"

    @listen("small")
    async def ship(self) -> str:
        return f"shipped {self.state.item} ({', '.join(self.state.notes)})"


class Blocking(Flow):
    """An async method that kicks off the sync way: it must not block the worker."""

    @start()
    async def begin(self) -> str:
        agent = Agent(role="Clerk", goal="Check", llm=ScriptedLLM(by=answer))
        task = Task(name="look", description="Check {item}", expected_output="T", agent=agent)
        return Crew(name="clerks", tasks=[task]).kickoff({"item": self.state["item"]}).raw


@pytest.fixture
async def orders(journal_url: str) -> AsyncIterator[Client]:
    with serving(
        journal_url, [Entry("orders", "1", OrderFlow()), Entry("blocking", "1", Blocking()), *crews()]
    ) as server:
        async with aiohttp.ClientSession() as session:
            yield Client(session, f"{server.url}/crews/orders")


async def test_a_flow_is_served_like_a_crew(orders: Client) -> None:
    assert (await orders.ask("GET", "/inputs"))[1] == {"inputs": ["item"]}
    _, body, _ = await orders.ask("GET", "/inputs?schema=true")
    assert set(body["schema"]["properties"]) == {"item", "amount", "notes"}
    status, problem, _ = await orders.ask("POST", "/kickoff", json={"inputs": {"amount": 2}})
    assert (status, problem["details"]["missing_inputs"]) == (422, ["item"])

    runs = [await orders.kickoff(inputs={"item": f"hats{n}"}) for n in range(10)]
    for n, body in enumerate(await asyncio.gather(*(orders.until(run_id, "completed") for run_id in runs))):
        assert body["result"]["output"] == f"shipped hats{n} (about hats{n})"
        assert [task["task_id"] for task in body["result"]["tasks"]] == ["check", "size", "ship"]
        assert body["result"]["tasks"][1]["output"] == "small"
        assert body["last_executed_task"]["name"] == "ship"
        assert body["progress"] == {"completed_tasks": 3, "total_tasks": 6}
        assert body["usage"]["llm_calls"] == 1


async def test_async_methods_may_block_their_loop(orders: Client) -> None:
    blocking = Client(orders.session, orders.base.replace("orders", "blocking"))
    run_id = await blocking.kickoff(inputs={"item": "hats"})
    body = await blocking.until(run_id, "completed")
    assert (body["result"]["output"], body["usage"]["llm_calls"]) == ("about hats", 1)


async def test_a_question_is_pending_until_it_is_answered(orders: Client) -> None:
    for feedback, approve, output in [
        ("", True, '{"accepted": "50 hats", "said": "", "notes": ["about hats"]}'),
        ("Rejected", False, "refused: Rejected"),
        ("", False, "refused: rejected"),
    ]:
        run_id = await orders.kickoff(inputs={"item": "hats", "amount": 50})
        body = await orders.until(run_id, "pending_human_input")
        assert body["current_task"] == "approve"
        assert body["progress"]["completed_tasks"] == 3
        pending = body["pending"]
        assert (pending["task_id"], pending["output"]) == ("approve", "50 hats")
        assert pending["question"].startswith("Approve the order?")
        said = {"execution_id": run_id, "task_id": "approve", "human_feedback": feedback, "is_approve": approve}
        assert (await orders.ask("POST", "/resume", json=said))[0] == 200
        body = await orders.until(run_id, "completed")
        assert body["result"]["output"] == output
        assert body["usage"]["llm_calls"] == 1  # the crew did not run again


async def test_a_run_begins_with_the_state_of_another(orders: Client) -> None:
    first = await orders.kickoff(inputs={"item": "hats"})
    await orders.until(first, "completed")
    fork = await orders.kickoff(inputs={"item": "caps"}, restoreFromStateId=first)
    body = await orders.until(fork, "completed")
    assert body["result"]["output"] == "shipped caps (about hats, about caps)"
    odd = ({"restoreFromStateId": "\0"}, {"inputs": {"item": "x", "id": "a\0"}}, {"inputs": {"item": "x", "id": {}}})
    for more in ({"restoreFromStateId": "nobody"}, {"inputs": {"item": "x", "id": "nobody"}}, *odd):
        status, problem, _ = await orders.ask("POST", "/kickoff", json={"inputs": {"item": "x"}} | more)
        assert (status, "has no run" in problem["message"]) == (404, True), problem
    crew = Client(orders.session, orders.base.replace("orders", "writers"))
    status, _, _ = await crew.ask("POST", "/kickoff", json={"inputs": {"topic": "x"}, "restoreFromStateId": first})
    assert status == 400


async def test_a_flows_events_have_amps_names(orders: Client) -> None:
    run_id = await orders.kickoff(inputs={"item": "hats"})
    await orders.until(run_id, "completed")
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{orders.base}/{run_id}/events", headers=AUTH) as response,
    ):
        text = await response.text()
    kinds = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]
    named = [(event["type"], amp.event_name(event_from_dict(event))) for event in kinds if "seq" in event]
    assert ("run.started", "flow_started") in named
    assert ("kickoff.finished", "crew_kickoff_completed") in named
    assert ("method.finished", "method_execution_finished") in named
    assert ("run.finished", "flow_finished") in named
