"""A run can be cancelled at any moment: what is under way is interrupted, what is finished is kept."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from quarterdeck import Agent, Budget, Crew, Task
from quarterdeck.crew import CrewOutput
from quarterdeck.errors import HandedOver, ProviderDownError, RunStopped
from quarterdeck.events import Event, RunFinished, TaskFailed, subscribe
from quarterdeck.llm.types import LLMRequest
from quarterdeck.runtime.handle import RunHandle
from quarterdeck.runtime.journal import Journal
from quarterdeck.runtime.run import Run
from quarterdeck.testing import LoopbackServer, ScriptedLLM, after, call, status
from quarterdeck.tools import tool

SOON = 5.0
"""Seconds within which an interrupted run ends, on a machine that does much else; the calls under way take 30."""

_end_threads = threading.Event()


@tool("wait")
def wait_in_thread() -> str:
    """Waits."""
    _end_threads.wait(20)
    return "waited"


@tool("wait")
async def wait_on_loop() -> str:
    """Waits."""
    await asyncio.sleep(20)
    return "waited"


@pytest.fixture(autouse=True)
def _clean(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No thread is left waiting, and asyncio has nothing to complain about."""
    _end_threads.clear()
    with caplog.at_level(logging.ERROR, logger="asyncio"):
        yield
        gc.collect()
    _end_threads.set()
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []


def crew(llm: Any, tasks: int = 2, parallel: bool = False, tools: Any = (), **fields: Any) -> Crew:
    worker = Agent(role="Worker", goal="Work", llm=llm, tools=list(tools), **fields)
    made = [Task(description=f"Do {n}", expected_output="T", agent=worker) for n in range(1, tasks + 1)]
    for task in made[1:]:
        task.async_execution = parallel
    return Crew(tasks=made)


def cancel_when(condition: Callable[[Event], bool], start: Callable[..., RunHandle[CrewOutput]]) -> CrewOutput:
    """Cancels a run as soon as an event says that it is where it should be; checks that it ends soon."""
    there = threading.Event()

    def watch(event: Event) -> None:
        if condition(event):
            there.set()

    handle = start(on_event=watch)
    assert there.wait(10)
    time.sleep(0.05)
    assert not handle.done()
    began = time.monotonic()
    handle.cancel()
    output = handle.result(10)
    assert time.monotonic() - began < SOON
    assert handle.done()
    return output


def second_task(kind: str) -> Callable[[Event], bool]:
    return lambda event: event.type == kind and event.path.startswith("task_2/")


def then_wait(request: LLMRequest) -> Any:
    """The first task is done at once, the others call the tool that waits."""
    return "one" if "Do 1" in request.messages[1]["content"] else call("wait")


def then_never(request: LLMRequest) -> Any:
    return "one" if "Do 1" in request.messages[1]["content"] else after(30, "never")


def then_down(request: LLMRequest) -> Any:
    return "one" if "Do 1" in request.messages[1]["content"] else status(503, retry_after=30)


@pytest.mark.parametrize("parallel", [False, True], ids=["one", "parallel"])
@pytest.mark.parametrize(
    ("answer", "tools", "under_way"),
    [
        (then_never, [], "llm.started"),
        (then_wait, [wait_in_thread], "tool.started"),
        (then_wait, [wait_on_loop], "tool.started"),
        (then_down, [], "llm.retried"),
    ],
    ids=["llm call", "sync tool", "async tool", "wait for a retry"],
)
def test_cancel_interrupts(answer: Any, tools: list[Any], under_way: str, parallel: bool) -> None:
    with LoopbackServer(by=answer) as server:
        made = crew(server.llm(), tasks=4, parallel=parallel, tools=tools)
        output = cancel_when(second_task(under_way), made.start)
        requests = len(server.requests)
        time.sleep(0.05)
        assert len(server.requests) == requests
    assert (output.status, output.ended_by, output.partial) == ("cancelled", "cancel", True)
    assert output.reason == "cancelled by the program"
    assert (output.raw, [item.raw for item in output.tasks_output]) == ("one", ["one"])


def test_cancel_interrupts_a_wait_for_the_rate_limit() -> None:
    llm = ScriptedLLM(by=lambda _: "one")
    started = threading.Event()

    def watch(event: Event) -> None:
        if event.type == "task.started" and event.path == "task_2":
            started.set()

    handle = crew(llm, max_rpm=1).start(on_event=watch)
    assert started.wait(10)
    time.sleep(0.05)
    began = time.monotonic()
    handle.cancel("enough")
    output = handle.result(10)
    assert time.monotonic() - began < SOON
    assert (output.status, output.reason, output.raw, len(llm.requests)) == ("cancelled", "enough", "one", 1)


async def test_a_cancelled_run_is_kept_and_can_be_gone_on_with(journal: Journal) -> None:
    def begin(**options: Any) -> RunHandle[CrewOutput]:
        return crew(ScriptedLLM(["one", after(30, "never")])).start(journal=journal, run_id="r", **options)

    await asyncio.to_thread(cancel_when, second_task("llm.started"), begin)
    ended = (await journal.events("r"))[-1]
    assert isinstance(ended, RunFinished)
    assert (ended.status, ended.ended_by, ended.output, ended.error) == (
        "cancelled",
        "cancel",
        "one",
        "cancelled by the program",
    )
    assert (await journal.runs())[0].status == "cancelled"
    output = await crew(ScriptedLLM(["two"])).akickoff(journal=journal, run_id="r")
    assert (output.status, output.raw) == ("completed", "two")


def test_cancelling_twice_and_too_late_is_harmless() -> None:
    made = crew(ScriptedLLM(["one", after(30, "never")]))
    started = threading.Event()
    handle = made.start(on_event=lambda event: started.set() if event.path.startswith("task_2") else None)
    assert started.wait(10)
    for _ in range(20):
        handle.cancel()
    assert handle.result(10).status == "cancelled"
    handle.cancel()
    done = crew(ScriptedLLM(["one", "two"])).start()
    assert done.result(10).status == "completed"
    done.cancel()
    assert done.result().raw == "two"


@pytest.mark.parametrize("wait", [0.0, 0.001, 0.003, 0.01, 0.03])
async def test_cancel_at_any_moment_gives_an_output(journal: Journal, wait: float) -> None:
    """Opening the journal, beginning, the first call, the end: all can be interrupted."""
    handle = crew(ScriptedLLM(by=lambda _: after(0.005, "x"))).start(journal=journal, run_id="r")
    await asyncio.sleep(wait)
    handle.cancel()
    output = await handle
    assert output.status in ("cancelled", "completed")
    (row,) = await journal.runs()
    assert row.status == output.status
    again = await crew(ScriptedLLM(by=lambda _: "x")).akickoff(journal=journal, run_id="r")
    assert (again.status, again.raw) == ("completed", "x")


async def test_a_handle_can_be_awaited_and_asked() -> None:
    handle = crew(ScriptedLLM(by=lambda _: after(0.05, "x"))).start()
    assert handle.id
    assert not handle.done()
    with pytest.raises(TimeoutError):
        handle.result(0)
    output = await handle
    assert (output.raw, output.run_id) == ("x", handle.id)
    assert handle.done()


def test_a_handle_gives_the_error_of_its_run() -> None:
    handle = crew(ScriptedLLM([ProviderDownError("down")], max_retries=0)).start()
    with pytest.raises(ProviderDownError):
        handle.result(10)


async def test_a_run_can_end_itself_from_within() -> None:
    """As a server does: it is given the Run, and a subscriber on the event loop stops it."""
    runs: list[Run] = []

    def watch(event: Event) -> None:
        if event.type == "task.finished":
            runs[0].interrupt(RunStopped("cancelled", "seen enough", "watcher"))

    output = await crew(ScriptedLLM(by=lambda _: "x"), tasks=3).akickoff(attach=runs.append, on_event=watch)
    assert (output.status, output.ended_by, len(output.tasks_output)) == ("cancelled", "watcher", 1)
    await asyncio.sleep(0)  # no cancellation is left over for the caller
    current = asyncio.current_task()
    assert current
    assert current.cancelling() == 0


# -- cancelled by asyncio: the run stays open -------------------------------------------------------------


@pytest.mark.parametrize("parallel", [False, True], ids=["one", "parallel"])
async def test_a_timeout_around_the_run_is_the_callers(journal: Journal, parallel: bool) -> None:
    with LoopbackServer(by=then_never) as server:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await crew(server.llm(), tasks=3, parallel=parallel).akickoff(journal=journal, run_id="r")
        current = asyncio.current_task()
        assert current
        assert current.cancelling() == 0
    assert not [event for event in await journal.events("r") if isinstance(event, RunFinished | TaskFailed)]
    llm = ScriptedLLM(by=lambda _: "x")
    output = await crew(llm, tasks=3, parallel=parallel).akickoff(journal=journal, run_id="r")
    assert [item.raw for item in output.tasks_output] == ["one", "x", "x"]
    assert len(llm.requests) == 2


async def test_a_timeout_around_an_agent_alone_is_the_callers(journal: Journal) -> None:
    def build(answer: Any) -> Agent:
        return Agent(role="Worker", goal="Work", llm=ScriptedLLM([answer]))

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await build(after(30, "never")).akickoff("Q", journal=journal, run_id="r")
    assert [event.type for event in await journal.events("r")] == ["run.started"]
    assert (await build("A").akickoff("Q", journal=journal, run_id="r")).raw == "A"


async def test_a_timeout_is_the_callers_while_others_finish_after_a_failure() -> None:
    """The second task has failed, and the third is being finished: a cancellation must not be swallowed then."""

    def answer(request: LLMRequest) -> Any:
        text = request.messages[1]["content"]
        return "one" if "Do 1" in text else status(400) if "Do 2" in text else after(30, "never")

    with LoopbackServer(by=answer) as server, pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await crew(server.llm(), tasks=3, parallel=True).akickoff()


async def test_a_timeout_is_the_callers_while_others_finish_after_a_limit() -> None:
    with LoopbackServer(by=then_never) as server, pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await crew(server.llm(), tasks=4, parallel=True).akickoff(budget=Budget(max_llm_calls=2))


async def test_cancel_outranks_a_failure_that_others_are_finishing_after() -> None:
    def answer(request: LLMRequest) -> Any:
        text = request.messages[1]["content"]
        return "one" if "Do 1" in text else status(400) if "Do 2" in text else after(30, "never")

    with LoopbackServer(by=answer) as server:
        made = crew(server.llm(), tasks=3, parallel=True)
        output = await asyncio.to_thread(cancel_when, lambda event: event.type == "task.failed", made.start)
    assert (output.status, output.raw) == ("cancelled", "one")


# -- a failure stops the others ---------------------------------------------------------------------------


async def test_when_a_task_fails_the_others_begin_no_new_step(seen: list[Event]) -> None:
    """The failed task runs aside, and nobody waits for it yet."""

    def answer(request: LLMRequest) -> Any:
        if "Aside" in request.messages[1]["content"]:
            return status(400, "no such thing")
        return after(0.1, call("note"))

    @tool
    def note() -> str:
        """Notes."""
        return "noted"

    with LoopbackServer(by=answer) as server:
        worker = Agent(role="Worker", goal="Work", llm=server.llm(), tools=[note])
        aside = Task(description="Aside", expected_output="T", agent=worker, async_execution=True)
        long = Task(description="Long", expected_output="T", agent=worker, context=None)
        long.context = []
        with pytest.raises(Exception, match="no such thing"):
            await Crew(tasks=[aside, long]).akickoff(on_event=seen.append)
        assert len(server.requests) == 2
    assert [event.type for event in seen][-2:] == ["llm.finished", "run.finished"]
    assert isinstance(seen[-1], RunFinished)
    assert "no such thing" in seen[-1].error


# -- subscribers see it -----------------------------------------------------------------------------------


def test_the_end_of_a_cancelled_run_is_an_event() -> None:
    seen: list[Event] = []
    unsubscribe = subscribe(seen.append, RunFinished)
    try:
        cancel_when(second_task("llm.started"), crew(ScriptedLLM(["one", after(30, "never")])).start)
    finally:
        unsubscribe()
    (ended,) = seen
    assert isinstance(ended, RunFinished)
    assert ended.status == "cancelled"


async def test_a_run_lost_while_its_call_connects_sends_nothing() -> None:
    """The last look is when the connection is there: until then the process may have slept."""
    with LoopbackServer(["fine", "fine"]) as server:
        agent = Agent(role="r", goal="g", backstory="b", llm=server.llm())
        looks: list[bool] = []

        def watch(run: Run, last: int) -> None:
            def look() -> None:
                looks.append(is_connected(server.base_url))
                if len(looks) == last:
                    run.stop(HandedOver())

            run.before_step = look

        await agent.akickoff("hi", attach=lambda run: watch(run, -1))
        assert (looks[0], looks[-1]) == (False, True)
        last = len(looks)
        looks.clear()
        with pytest.raises(HandedOver):
            await agent.akickoff("hi", attach=lambda run: watch(run, last))
        assert len(server.requests) == 1
        assert (await agent.akickoff("hi")).raw == "fine"


def is_connected(url: str) -> bool:
    connections = psutil.Process().net_connections("tcp")
    return any(c.raddr and c.raddr.port == urlsplit(url).port for c in connections)
