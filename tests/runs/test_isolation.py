"""One Crew object serves many runs at once: nothing of one is in a prompt, an output or an event of another."""

from __future__ import annotations

import asyncio
import json
import re
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from pydantic import BaseModel

from quarterdeck import Agent, Crew, Task, subscribe
from quarterdeck.agent.steps import AgentAction, AgentFinish
from quarterdeck.crew import CrewOutput
from quarterdeck.events import Event
from quarterdeck.llm.types import LLMRequest, ToolCall
from quarterdeck.runtime.journal import Journal
from quarterdeck.task import TaskOutput
from quarterdeck.testing import LoopbackServer
from quarterdeck.tools import tool
from quarterdeck.tools.context import current_step

RUNS = 100
MARK = re.compile(r"mark-(\d{3})-(\w+)")
"""A value that belongs to one run: its number, and where it came from."""


class Note(BaseModel):
    text: str
    words: int


def marks(*texts: Any) -> set[str]:
    """Numbers of the runs whose marks are in the texts."""
    return {mark[1] for text in texts for mark in MARK.finditer(str(text))}


def own(request: LLMRequest) -> str:
    """The run's number, from the first mark in its prompt."""
    mark = MARK.search(json.dumps(list(request.messages)))
    assert mark
    return mark[1]


def answer(request: LLMRequest) -> Any:
    """Calls tools in the first two tasks, and then says what marks the conversation has."""
    prompt, number = str(request.messages[1]["content"]), own(request)
    if prompt.startswith(("Search", "Aside")) and request.messages[-1]["role"] != "tool":
        # The same arguments in all runs, and a run's own; the same call twice, for the cache.
        return [
            ToolCall("call_1", "look_up", '{"word": "shared"}'),
            ToolCall("call_2", "look_up", json.dumps({"word": f"mark-{number}-argument"})),
            ToolCall("call_3", "look_up", '{"word": "shared"}'),
        ]
    text = f"mark-{number}-{prompt.split()[0]}"
    if prompt.startswith("Note"):
        return json.dumps({"text": text, "words": len(prompt.split())})
    return text


class Watched:
    """The crew, and all that its callbacks and tools were given."""

    def __init__(self, server: LoopbackServer, cache: bool) -> None:
        self.looked_up: list[tuple[str, str]] = []
        self.told: list[Any] = []

        @tool
        async def look_up(word: str) -> str:
            """Looks a word up."""
            step = current_step()
            assert step
            self.looked_up.append((step.run_id, word))
            await asyncio.sleep(0.001)
            # What the tool gives belongs to its run, even where the arguments are the same in all.
            return f"{word} {step.run_id}-result"

        def check(output: TaskOutput) -> tuple[bool, Any]:
            self.told.append(output.raw)
            return True, f"{output.raw} mark-{marks(output.raw).pop()}-guardrail"

        def before(inputs: dict[str, Any]) -> dict[str, Any]:
            return {**inputs, "extra": f"{inputs['mark']}before"}

        def after(output: CrewOutput) -> CrewOutput:
            return output.model_copy(update={"raw": f"{output.raw} mark-{marks(output.raw).pop()}-after"})

        worker = Agent(role="Worker of {mark}role", goal="Work", llm=server.llm(), tools=[look_up])
        other = Agent(role="Other", goal="{mark}goal", llm=server.llm())
        search = Task(description="Search {mark}input {extra}", expected_output="T", agent=worker)
        aside = Task(description="Aside {mark}input", expected_output="T", agent=worker, async_execution=True)
        second = Task(description="Second {mark}input", expected_output="T", agent=other, async_execution=True)
        note = Task(description="Note {mark}input", expected_output="T", agent=other, output_pydantic=Note)
        last = Task(description="Last {mark}input", expected_output="T", agent=other, guardrail=check)
        self.crew = Crew(
            tasks=[search, aside, second, note, last],
            cache=cache,
            step_callback=self.told.append,
            task_callback=self.told.append,
            before_kickoff_callbacks=[before],
            after_kickoff_callbacks=[after],
        )

    def inputs(self, number: int) -> dict[str, Any]:
        return {"mark": f"mark-{number:03}-"}


def check_output(output: CrewOutput, number: str) -> None:
    assert marks(output.model_dump_json()) == {number}
    assert output.raw == f"mark-{number}-Last mark-{number}-guardrail mark-{number}-after"
    note = output.tasks_output[3].pydantic
    assert isinstance(note, Note)
    assert note.text == f"mark-{number}-Note"
    assert output.token_usage.successful_requests == 7


def check_requests(server: LoopbackServer) -> None:
    by_run: dict[str, list[str]] = defaultdict(list)
    for received in server.requests:
        found = marks(json.dumps(received.body))
        assert len(found) == 1
        by_run[found.pop()].append(received.headers["idempotency-key"])
    assert len(by_run) == RUNS
    paths = None
    for keys in by_run.values():
        run_ids = {key.rpartition(":")[0] for key in keys}
        assert len(run_ids) == 1
        assert paths is None or sorted(key.rpartition(":")[2] for key in keys) == paths
        paths = sorted(key.rpartition(":")[2] for key in keys)


def check_events(seen: list[Event]) -> None:
    by_run: dict[str, list[Event]] = defaultdict(list)
    for event in seen:
        by_run[event.run_id].append(event)
    assert len(by_run) == RUNS
    for events in by_run.values():
        assert len(marks(*(event.to_json() for event in events))) == 1
        durable = [event.seq for event in events if event.seq is not None]
        assert durable == list(range(1, len(durable) + 1))


@pytest.mark.parametrize("cache", [True, False], ids=["cache", "no cache"])
async def test_100_runs_of_one_crew_at_once(journal: Journal, cache: bool) -> None:
    seen: list[Event] = []
    unsubscribe = subscribe(seen.append)
    try:
        with LoopbackServer(by=answer, latency=0.02) as server:
            watched = Watched(server, cache)
            work = [
                watched.crew.akickoff(watched.inputs(n), journal=journal, run_id=f"mark-{n:03}-run")
                for n in range(RUNS)
            ]
            outputs = await asyncio.gather(*work)
            assert server.most_at_once > RUNS // 4
    finally:
        unsubscribe()
    for n, output in enumerate(outputs):
        check_output(output, f"{n:03}")
    check_requests(server)
    check_events(seen)
    for told in watched.told:
        text = told.model_dump_json() if isinstance(told, TaskOutput) else told
        assert len(marks(text)) == 1
        assert isinstance(told, TaskOutput | AgentAction | AgentFinish | str)
    # With the cache, a run makes an equal call once; no run is given the result of another.
    for run_id, word in watched.looked_up:
        assert marks(word) <= marks(run_id)
    assert len(watched.looked_up) == RUNS * (2 if cache else 6)
    results = [m["content"] for r in server.requests for m in r.request.messages if m["role"] == "tool"]
    assert len(results) == RUNS * 6
    for n in range(0, RUNS, 33):
        stored = await journal.events(f"mark-{n:03}-run")
        assert marks(*(event.to_json() for event in stored)) == {f"{n:03}"}


def test_sync_runs_in_threads_at_once() -> None:
    with LoopbackServer(by=answer, latency=0.01) as server, ThreadPoolExecutor(20) as pool:
        watched = Watched(server, cache=True)
        outputs = list(
            pool.map(lambda n: watched.crew.kickoff(watched.inputs(n), run_id=f"mark-{n:03}-run"), range(RUNS))
        )
        check_requests(server)
    for n, output in enumerate(outputs):
        check_output(output, f"{n:03}")


async def test_the_callers_inputs_are_left_alone_and_may_change() -> None:
    def change(inputs: dict[str, Any]) -> None:
        inputs["words"].append("more")

    with LoopbackServer(by=lambda _: "done", latency=0.05) as server:
        worker = Agent(role="Worker", goal="Work", llm=server.llm())
        tasks = [Task(description=f"{n} {{words}}", expected_output="T", agent=worker) for n in range(2)]
        inputs = {"words": ["one"]}
        crew = Crew(tasks=tasks, before_kickoff_callbacks=[change])
        work = asyncio.create_task(crew.akickoff(inputs))
        await asyncio.sleep(0.03)
        assert inputs == {"words": ["one"]}
        inputs["words"].append("late")
        await work
        assert all('["one", "more"]' in r.request.messages[1]["content"] for r in server.requests)
