"""The events of a run: which, in what order, and who is shown them."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from quarterdeck import Agent, Crew, Task, subscribe
from quarterdeck.errors import AuthenticationError
from quarterdeck.events import (
    EVENT_TYPES,
    AgentFinished,
    Event,
    LimitReached,
    LLMDelta,
    LLMFailed,
    LLMFinished,
    LLMRetried,
    RunFinished,
    RunStarted,
    TaskFailed,
    TaskFinished,
    ToolFinished,
    event_from_json,
    subscribers,
)
from quarterdeck.runtime.journal import open_journal
from quarterdeck.task import TaskOutput
from quarterdeck.testing import LoopbackServer, ScriptedLLM, call, status
from quarterdeck.tools import tool


@tool
def look_up(word: str) -> str:
    """Looks a word up."""
    if word == "bad":
        raise ValueError("no such word")
    return f"{word} is known"


@tool(retry="never")
def send(to: str) -> str:
    """Sends a letter."""
    return "sent"


def refuse_tea(output: TaskOutput) -> tuple[bool, Any]:
    return ("tea" not in output.raw, output if "tea" not in output.raw else "no tea")


def crew(llm: Any, **fields: Any) -> Crew:
    worker = Agent(role="Worker", goal="Work", llm=llm, tools=[look_up, send])
    return Crew(name="office", tasks=[Task(description="{what}", expected_output="T", agent=worker, **fields)])


@pytest.fixture
def shown() -> Iterator[list[Event]]:
    """What a subscriber to everything is shown."""
    events: list[Event] = []
    unsubscribe = subscribe(events.append)
    yield events
    unsubscribe()
    assert not subscribers()  # nobody else of these tests is left


ANSWERS = [[call("look_up", word="sea"), call("send", to="Bo")], "tea", "coffee"]

ORDER = [
    ("run.started", ""),
    ("task.started", "task_1"),
    ("agent.started", "task_1/1"),
    ("llm.started", "task_1/1/llm/1"),
    ("llm.finished", "task_1/1/llm/1"),
    ("tool.started", "task_1/1/tool/1"),
    ("tool.intended", "task_1/1/tool/2"),
    ("tool.finished", "task_1/1/tool/1"),
    ("tool.finished", "task_1/1/tool/2"),
    ("llm.started", "task_1/1/llm/2"),
    ("llm.finished", "task_1/1/llm/2"),
    ("agent.finished", "task_1/1"),
    ("guardrail.started", "task_1/1/guardrail/1"),
    ("guardrail.finished", "task_1/1/guardrail/1"),
    ("agent.started", "task_1/2"),
    ("llm.started", "task_1/2/llm/1"),
    ("llm.finished", "task_1/2/llm/1"),
    ("agent.finished", "task_1/2"),
    ("guardrail.started", "task_1/2/guardrail/1"),
    ("guardrail.finished", "task_1/2/guardrail/1"),
    ("task.finished", "task_1"),
    ("run.finished", ""),
]


async def test_the_order_of_a_run(shown: list[Event], tmp_path: Path) -> None:
    seen: list[Event] = []
    made = crew(ScriptedLLM(list(ANSWERS)), guardrail=refuse_tea)
    journal = open_journal(tmp_path / "runs.db")
    output = await made.akickoff({"what": "Do it"}, run_id="r", journal=journal, on_event=seen.append)
    order = [(event.type, event.path) for event in shown]
    tools = {("tool.finished", f"task_1/1/tool/{n}") for n in (1, 2)}
    assert set(order[7:9]) == tools  # they run side by side
    assert order[:7] + order[9:] == ORDER[:7] + ORDER[9:]
    assert seen == shown
    assert {event.run_id for event in shown} == {"r"}
    durable = [event for event in shown if event.durable]
    assert [event.seq for event in durable] == list(range(1, len(durable) + 1))
    assert all(event.seq is None for event in shown if not event.durable)
    times = [event.time for event in durable]
    assert times == sorted(times)
    assert await journal.events("r") == durable
    assert [event_from_json(event.to_json()) for event in shown] == shown
    journal.close()
    started, ended = shown[0], shown[-1]
    assert isinstance(started, RunStarted)
    assert isinstance(ended, RunFinished)
    assert (started.crew, started.given, started.inputs, started.segment) == (
        "office",
        {"what": "Do it"},
        {"what": "Do it"},
        1,
    )
    assert (ended.status, ended.output, ended.error, ended.ended_by) == ("completed", "coffee", "", "")
    assert ended.usage == output.token_usage.model_dump()


async def test_a_run_without_a_journal_has_the_same_numbers(shown: list[Event]) -> None:
    await crew(ScriptedLLM(list(ANSWERS)), guardrail=refuse_tea).akickoff({"what": "Do it"})
    durable = [kind for kind, _ in ORDER if EVENT_TYPES[kind].durable]
    assert [event.seq for event in shown if event.durable] == list(range(1, len(durable) + 1))


async def test_what_events_say(shown: list[Event]) -> None:
    llm = ScriptedLLM([[call("look_up", word="bad"), call("look_up", wrong=1)], "done"], model="m", price=(1.0, 2.0))
    await crew(llm).akickoff({"what": "Do it"})
    first, second = [event for event in shown if isinstance(event, LLMFinished)]
    assert (first.model, first.agent, first.tools, first.text) == ("m", "Worker", ["look_up", "send"], "")
    assert [part["function"]["name"] for part in first.tool_calls] == ["look_up", "look_up"]
    assert [message["role"] for message in second.messages] == ["system", "user", "assistant", "tool", "tool"]
    assert second.text == "done"
    assert second.usage["total_tokens"] > 0
    assert second.cost_usd
    bad, wrong = sorted((e for e in shown if isinstance(e, ToolFinished)), key=lambda event: event.path)
    assert (bad.tool, bad.arguments, bad.ok, bad.reason) == ("look_up", {"word": "bad"}, False, "exception")
    assert "no such word" in bad.output
    assert "Traceback" not in bad.output
    assert "Traceback" in bad.error
    assert (wrong.ok, wrong.reason, wrong.arguments) == (False, "invalid_input", {"wrong": 1})
    (task,) = [event for event in shown if isinstance(event, TaskFinished)]
    assert (task.task, task.agent, task.index, task.output["raw"]) == ("task_1", "Worker", 0, "done")
    assert "messages" not in task.output


async def test_the_events_of_a_failure(shown: list[Event]) -> None:
    answers = [status(503, retry_after=0), status(401, "bad key")]
    with LoopbackServer(answers) as server, pytest.raises(AuthenticationError):
        await crew(server.llm()).akickoff({"what": "Do it"})
    assert [event.type for event in shown] == [
        "run.started",
        "task.started",
        "agent.started",
        "llm.started",
        "llm.retried",
        "llm.failed",
        "agent.finished",
        "task.failed",
        "run.finished",
    ]
    retried, failed, agent, task, ended = shown[4:]
    assert isinstance(agent, AgentFinished)
    assert "bad key" in agent.error
    assert isinstance(retried, LLMRetried)
    assert (retried.attempt, "503" in retried.error, retried.wait < 1) == (1, True, True)
    assert isinstance(failed, LLMFailed)
    assert failed.error_type == "AuthenticationError"
    assert isinstance(task, TaskFailed)
    assert isinstance(ended, RunFinished)
    assert ended.status == "failed"
    for event in (failed, task, ended):
        assert "bad key" in event.error
        assert "loopback-key" not in event.to_json()


async def test_max_iter_is_an_event(shown: list[Event]) -> None:
    llm = ScriptedLLM([call("look_up", word="a"), call("look_up", word="b"), "forced"])
    made = crew(llm)
    assert made.tasks[0].agent
    made.tasks[0].agent.max_iter = 2
    assert (await made.akickoff({"what": "Do it"})).raw == "forced"
    (limit,) = [event for event in shown if isinstance(event, LimitReached)]
    assert (limit.limit, limit.allowed, limit.used) == ("max_iter", 2, 2)


# -- text piece by piece ----------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["openai/gpt-4o-mini", "anthropic/claude-sonnet-4-5"])
@pytest.mark.parametrize("stream", [True, False])
async def test_deltas_come_only_where_they_are_asked_for(shown: list[Event], model: str, stream: bool) -> None:
    with LoopbackServer(["Ebb and flow, день за днём."]) as server:
        output = await crew(server.llm(model)).akickoff({"what": "Do it"}, stream=stream)
        assert bool(server.requests[0].body.get("stream")) is stream
    deltas = [event for event in shown if isinstance(event, LLMDelta)]
    assert "".join(event.text for event in deltas) == (output.raw if stream else "")
    assert output.raw == "Ebb and flow, день за днём."
    if stream:
        assert len(deltas) > 2
        assert {(event.path, event.agent, event.seq) for event in deltas} == {("task_1/1/llm/1", "Worker", None)}
        types = [event.type for event in shown]
        assert types.index("llm.started") < types.index("llm.delta") < types.index("llm.finished")


# -- subscribers ------------------------------------------------------------------------------------------


async def test_a_subscriber_is_shown_the_types_it_asked_for() -> None:
    tasks: list[Event] = []
    ends: list[Event] = []
    stop_tasks = subscribe(tasks.append, TaskFinished, ToolFinished)
    stop_ends = subscribe(ends.append, RunFinished)
    await crew(ScriptedLLM([call("look_up", word="a"), "x"])).akickoff({"what": "1"})
    stop_tasks()
    await crew(ScriptedLLM(["y"])).akickoff({"what": "2"})
    stop_ends()
    stop_ends()  # twice is harmless
    await crew(ScriptedLLM(["z"])).akickoff({"what": "3"})
    assert [event.type for event in tasks] == ["tool.finished", "task.finished"]
    assert [event.output for event in ends if isinstance(event, RunFinished)] == ["x", "y"]


async def test_one_function_may_subscribe_twice(shown: list[Event]) -> None:
    seen: list[Event] = []
    first, second = subscribe(seen.append, RunStarted), subscribe(seen.append, RunStarted)
    await crew(ScriptedLLM(["x"])).akickoff({"what": "1"})
    first()
    await crew(ScriptedLLM(["x"])).akickoff({"what": "1"})
    second()
    assert len(seen) == 3


async def test_an_exception_in_a_subscriber_disturbs_nothing(
    shown: list[Event], caplog: pytest.LogCaptureFixture
) -> None:
    def broken(event: Event) -> None:
        raise LookupError("the screen is gone")

    unsubscribe = subscribe(broken, TaskFinished)
    try:
        with caplog.at_level(logging.ERROR, logger="quarterdeck"):
            output = await crew(ScriptedLLM(["x"])).akickoff({"what": "1"}, run_id="r", on_event=broken)
    finally:
        unsubscribe()
    assert output.raw == "x"
    assert len(shown) == 8
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == len(shown) + 1
    assert messages.count("run r: a subscriber failed on task.finished") == 2
    assert all(record.exc_info and "the screen is gone" in str(record.exc_info[1]) for record in caplog.records)


async def test_subscribing_and_unsubscribing_from_within() -> None:
    seen: list[str] = []
    stops: list[Any] = []

    def late(event: Event) -> None:
        seen.append(f"late {event.type}")
        stops[0]()

    def early(event: Event) -> None:
        if isinstance(event, TaskFinished):
            stops.append(subscribe(late))

    stop = subscribe(early)
    await crew(ScriptedLLM(["x"])).akickoff({"what": "1"})
    stop()
    assert seen == ["late run.finished"]


async def test_what_is_shown_is_in_the_journal_already(tmp_path: Path) -> None:
    """A subscriber may tell the world: what it was shown will not be undone."""
    path = tmp_path / "runs.db"
    missing: list[str] = []

    def look(event: Event) -> None:
        if event.durable:
            with sqlite3.connect(path) as database:
                rows = database.execute("SELECT type FROM qd_events WHERE seq = ?", (event.seq,)).fetchall()
            database.close()
            if rows != [(event.type,)]:
                missing.append(event.type)

    journal = open_journal(path)
    await crew(ScriptedLLM(list(ANSWERS)), guardrail=refuse_tea).akickoff(
        {"what": "Do it"}, journal=journal, on_event=look
    )
    journal.close()
    assert missing == []


def test_runs_in_threads_show_their_events_in_order() -> None:
    seen: list[Event] = []
    unsubscribe = subscribe(seen.append)

    async def several() -> None:
        made = crew(ScriptedLLM(by=lambda request: "x"))
        await asyncio.gather(*(asyncio.to_thread(made.kickoff, {"what": str(n)}, run_id=str(n)) for n in range(10)))

    try:
        asyncio.run(several())
    finally:
        unsubscribe()
    for n in range(10):
        types = [event.type for event in seen if event.run_id == str(n)]
        assert types == [
            "run.started",
            "task.started",
            "agent.started",
            "llm.started",
            "llm.finished",
            "agent.finished",
            "task.finished",
            "run.finished",
        ]
