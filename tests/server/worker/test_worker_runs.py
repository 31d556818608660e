"""A worker runs what is queued; however a run ends, its row and its journal say the same."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

from quarterdeck import Task
from quarterdeck.events import HumanAnswered, LLMFinished, RunFinished, RunStarted, ToolFinished
from quarterdeck.llm.types import LLMRequest
from quarterdeck.runtime.human import HumanAnswer
from quarterdeck.server.store import AnswerOutcome, Store
from quarterdeck.testing import after, call, status
from quarterdeck.tools import tool


def prompt(request: LLMRequest) -> str:
    return json.dumps([message.get("content") for message in request.messages])


def echo(request: LLMRequest) -> str:
    return "answer to " + prompt(request).rpartition("do ")[2].split(" ")[0]


async def end_of(store: Store, run_id: str) -> RunFinished:
    last = (await store.journal.events(run_id))[-1]
    assert isinstance(last, RunFinished)
    return last


async def test_many_runs_at_once(place: Any, model: Any, agent: Any) -> None:
    server = model(lambda request: after(0.05, echo(request)))
    place.serve(Task(description="do {x} now", expected_output="e", agent=agent(server)))
    ids = await asyncio.gather(*(place.kickoff(inputs={"x": f"x{n}"}) for n in range(40)))
    place.start(concurrency=8)
    for n, run_id in enumerate(ids):
        record = await place.reaches(run_id, "completed")
        assert (record.attempt, record.deaths, record.detail) == (1, 0, "")
        assert (await end_of(place.store, run_id)).output == f"answer to x{n}"
    assert server.most_at_once == 8
    assert set(server.keys.values()) == {1}
    assert len(server.keys) == 40


async def test_how_runs_end(place: Any, model: Any, agent: Any) -> None:
    def answer(request: LLMRequest) -> Any:
        text = prompt(request)
        if "fail" in text:
            return status(401, "no such key")
        return after(60.0, "late") if "slow" in text else "fine"

    server = model(answer)
    writer = agent(server, max_retry_limit=0)
    task = Task(description="do {x}", expected_output="e", agent=writer)
    place.serve(task)
    place.serve(task, Task(description="again", expected_output="e", agent=writer), name="two")

    def refuse(inputs: dict[str, Any]) -> None:
        raise ValueError("these inputs are not for us")

    place.serve(task, name="strict", before_kickoff_callbacks=[refuse])
    place.start()
    cases: dict[str, tuple[dict[str, Any], str, str, str]] = {
        "completed": ({}, "completed", "", ""),
        "failed": ({"inputs": {"x": "fail"}}, "error", "AuthenticationError", ""),
        "time": ({"inputs": {"x": "slow"}, "max_seconds": 0.2}, "timeout", "max_seconds of 0.2", "max_seconds"),
        "shorter": (
            {"inputs": {"x": "slow"}, "max_seconds": 60.0, "budget": {"max_seconds": 0.2}},
            "timeout",
            "max_seconds of 0.2",
            "max_seconds",
        ),
        "limited": (
            {"crew": "two", "budget": {"max_llm_calls": 1}},
            "completed",
            "max_llm_calls of 1",
            "max_llm_calls",
        ),
        "budget": ({"budget": {"max_tokens": -1}}, "error", "Budget max_tokens must be", ""),
        "unknown limit": ({"budget": {"max_pages": 1}}, "error", "max_pages", ""),
        "input": ({"inputs": {"y": 1}}, "error", "InputError", ""),
        "before": ({"crew": "strict"}, "error", "these inputs are not for us", ""),
    }
    for name, (fields, state, says, ended_by) in cases.items():
        run_id = await place.kickoff(**({"inputs": {"x": "it"}} | fields))
        record = await place.reaches(run_id, "completed", "error", "timeout", "cancelled")
        assert (record.state, record.ended_by) == (state, ended_by), (name, record)
        assert says in record.detail, (name, record.detail)
        end = await end_of(place.store, run_id)
        assert (end.error, end.ended_by) == (record.detail, ended_by), name


async def test_another_definition_under_the_same_version(place: Any, model: Any, agent: Any) -> None:
    server = model(lambda request: after(30.0, "late"))
    place.serve(Task(description="one", expected_output="e", agent=agent(server)))
    run_id = await place.kickoff()
    worker = place.start()
    await place.reaches(run_id, "running")
    await place.until(lambda: server.requests)
    await worker.drain(grace=0.0)
    place.entries.clear()
    place.serve(Task(description="another", expected_output="e", agent=agent(server)))
    place.start()
    record = await place.reaches(run_id, "error")
    assert "another definition of crew 'report'" in record.detail


async def test_cancel_interrupts_the_call_under_way(place: Any, model: Any, agent: Any) -> None:
    server = model(lambda request: "first part" if "one" in prompt(request) else after(60.0, "late"))
    writer = agent(server)
    place.serve(
        Task(description="one", expected_output="e", agent=writer),
        Task(description="two", expected_output="e", agent=writer, context=[]),
    )
    run_id = await place.kickoff()
    place.start(beat_seconds=30.0)  # it hears of it at once, not with a heartbeat
    await place.until(lambda: len(server.requests) == 2)
    await place.store.request_cancel(run_id)
    record = await place.reaches(run_id, "cancelled", seconds=5.0)
    assert (record.detail, record.ended_by) == ("cancelled on request", "cancel")
    end = await end_of(place.store, run_id)
    assert (end.status, end.output) == ("cancelled", "first part")


async def test_a_person_is_asked_across_workers(place: Any, model: Any, agent: Any) -> None:
    server = model(lambda request: "short draft" if "too long" in prompt(request) else "long draft")
    writer = agent(server)
    place.serve(
        Task(name="draft", description="write", expected_output="e", agent=writer, human_input=True),
        Task(name="send", description="send", expected_output="e", agent=writer, context=[]),
    )
    run_id = await place.kickoff()
    first = place.start()
    record = await place.reaches(run_id, "pending_human_input")
    assert record.worker is None
    await place.until(lambda: not first.running)
    question = (await place.store.questions(run_id))[0]
    assert (question.task, question.agent, question.output) == ("draft", "writer", "long draft")
    await first.drain()  # weeks and deploys may pass
    assert await place.store.answer(run_id, "draft", HumanAnswer(False, "too long")) == AnswerOutcome.accepted
    place.start()
    await place.until(lambda: len(server.requests) == 2)
    await place.reaches(run_id, "pending_human_input")
    assert [q.output for q in await place.store.questions(run_id)] == ["long draft", "short draft"]
    await place.store.answer(run_id, "draft", HumanAnswer(True))
    await place.reaches(run_id, "completed")
    events = await place.store.journal.events(run_id)
    assert [e.approved for e in events if isinstance(e, HumanAnswered)] == [False, True]
    assert sum(isinstance(e, LLMFinished) for e in events) == 3
    assert set(server.keys.values()) == {1}


async def test_two_persons_are_asked_at_once(place: Any, model: Any, agent: Any) -> None:
    server = model(lambda request: "draft")
    writer = agent(server)
    both = {"expected_output": "e", "agent": writer, "human_input": True, "async_execution": True}
    place.serve(Task(name="a", description="a", **both), Task(name="b", description="b", **both))
    run_id = await place.kickoff()
    place.start()
    await place.reaches(run_id, "pending_human_input")
    while {q.task for q in await place.store.questions(run_id)} != {"a", "b"}:
        for question in await place.store.questions(run_id):
            await place.store.answer(run_id, question.task, HumanAnswer(True))
        await asyncio.sleep(0.02)
    for name in "ab":
        outcome = await place.store.answer(run_id, name, HumanAnswer(True))
        assert outcome in (AnswerOutcome.accepted, AnswerOutcome.repeated)
    await place.reaches(run_id, "completed")
    assert set(server.keys.values()) == {1}


async def test_a_tool_in_doubt_is_decided_by_a_person(place: Any, model: Any, agent: Any) -> None:
    paid: list[str] = []
    started = asyncio.Event()
    hang = asyncio.Event()

    @tool(retry="never")
    async def pay(amount: int) -> str:
        """Pays.

        Args:
            amount: How much.
        """
        paid.append(f"{amount}")
        started.set()
        if len(paid) <= 2:
            await hang.wait()
        return "paid"

    def answer(request: LLMRequest) -> Any:
        return "done" if any(m["role"] == "tool" for m in request.messages) else call("pay", amount=7)

    server = model(answer)
    place.serve(Task(name="buy", description="buy", expected_output="e", agent=agent(server, tools=[pay])))
    run_id = await place.kickoff(default_action="approve")
    for n in (1, 2):
        worker, task = place.start(), place.workers[-1][1]
        await asyncio.wait_for(started.wait(), 10)
        started.clear()
        task.cancel()  # as if it were killed
        await asyncio.wait([task])
        place.workers.clear()
        del worker
        second = place.start()
        record = await place.reaches(run_id, "in_doubt")
        assert len(paid) == n
        question = (await place.store.questions(run_id))[-1]
        assert (question.kind, question.task, question.answer) == ("in_doubt", "buy", None)
        assert record.ended_by in question.path
        assert "must not be repeated" in question.question
        assert "approve with its result" in question.question
        assert "resolve=" not in question.question + record.detail  # that is for programs in Python
        assert question.default_action == "error"  # nobody has a result that could be approved unseen
        await second.drain()
        place.workers.clear()
        if n == 1:  # it did not happen: it is to be made again. That call is in doubt then, not decided
            assert await place.store.answer(run_id, "buy", HumanAnswer(False)) == AnswerOutcome.accepted
    assert len(await place.store.questions(run_id)) == 2
    await place.store.answer(run_id, "buy", HumanAnswer(True, "paid, by hand"))
    place.start()
    await place.reaches(run_id, "completed")
    assert len(paid) == 2
    tools = [e for e in await place.store.journal.events(run_id) if isinstance(e, ToolFinished)]
    assert [e.output for e in tools] == ["paid, by hand"]


async def test_what_cannot_be_kept_ends_the_run_after_three_tries(place: Any, model: Any, agent: Any) -> None:
    server = model(lambda request: "fine")
    place.serve(Task(description="do it", expected_output="e", agent=agent(server)))

    def broken(run: Any, event: Any, database: Any) -> None:
        if isinstance(event, LLMFinished):
            raise ValueError("no room for this")

    place.store.outbox = broken
    run_id = await place.kickoff()
    place.start()
    record = await place.reaches(run_id, "error")
    assert (record.attempt, record.deaths) == (3, 3)
    assert "no room for this" in record.detail


async def test_a_run_that_had_ended_is_not_run_again(place: Any, model: Any, agent: Any) -> None:
    """Its worker died after the run's last event, before it could say so."""
    server = model(lambda request: "fine")
    place.serve(Task(description="do it", expected_output="e", agent=agent(server)))
    store: Store = place.store
    for status_, error, state in (("failed", "it broke", "error"), ("completed", "", "completed")):
        run_id = await place.kickoff()
        await store.beat("dead", [("report", "1")], {})
        opened = await store.open_claimed((await store.claim("dead", [("report", "1")], 1))[0])
        await opened.append(RunStarted(crew="report").stamped(run_id, 1))
        end: Any = RunFinished(status=status_, output="as it was", error=error)  # pyright: ignore[reportArgumentType]
        await opened.append(end.stamped(run_id, 2))
        await asyncio.sleep(0.02)
        await store.take_over_dead(0.01)
        worker = place.start()
        record = await place.reaches(run_id, state)
        await worker.drain()
        assert (record.detail, len(await store.journal.events(run_id))) == (error, 2)
    assert server.requests == []


async def test_an_event_is_shown_to_who_asked(place: Any, model: Any, agent: Any) -> None:
    server = model(lambda request: "fine")
    place.serve(Task(description="do it", expected_output="e", agent=agent(server)))
    seen: Counter[str] = Counter()
    place.start(on_event=lambda event: seen.update([event.type]))
    await place.reaches(await place.kickoff(), "completed")
    assert seen["llm.finished"] == 1
    assert seen["run.finished"] == 1


async def test_tenants_share_a_busy_worker(place: Any, model: Any, agent: Any) -> None:
    server = model(lambda request: after(0.02, "fine"))
    place.serve(Task(description="do it", expected_output="e", agent=agent(server)))
    for _ in range(60):
        await place.kickoff(tenant="big")
    small = [await place.kickoff(tenant="small") for _ in range(6)]
    place.start(concurrency=4)
    for run_id in small:
        await place.reaches(run_id, "completed")
    big = [run for run in await place.store.list_runs("big", limit=100) if run.ended]
    assert len(big) < 30  # the sixty that came first did not all go first
