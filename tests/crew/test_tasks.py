"""Tasks in a crew: what they know of each other, side by side, files, callbacks."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from tests.crew.conftest import prompt

from quarterdeck import Agent, Crew, CrewOutput, Task, TaskOutput
from quarterdeck.concurrency import call_in_thread
from quarterdeck.errors import TaskError
from quarterdeck.llm.types import LLMRequest
from quarterdeck.testing import LoopbackServer, after

DIVIDER = "\n\n----------\n\n"


def test_unset_context_is_all_outputs_before(make_agent: Any, make_task: Any) -> None:
    """A task without ``context`` is given the outputs of all tasks before it, in order."""
    agents = [make_agent([f"out{n}"]) for n in range(3)]
    Crew(tasks=[make_task(a) for a in agents]).kickoff()
    assert "Context" not in prompt(agents[0])
    assert prompt(agents[1]).endswith("Context:\nout0")
    assert prompt(agents[2]).endswith(f"Context:\nout0{DIVIDER}out1")


@pytest.mark.parametrize("context", [None, []])
def test_empty_context_is_none(make_agent: Any, make_task: Any, context: Any) -> None:
    """``None`` and ``[]`` give a task no outputs."""
    first, second = make_agent(["out0"]), make_agent(["out1"])
    Crew(tasks=[make_task(first), make_task(second, context=context)]).kickoff()
    assert "out0" not in prompt(second)


def test_explicit_context_is_exactly_those(make_agent: Any, make_task: Any) -> None:
    """A list gives a task those outputs, in the list's order."""
    agents = [make_agent([f"out{n}"]) for n in range(4)]
    tasks = [make_task(a) for a in agents[:3]]
    Crew(tasks=[*tasks, make_task(agents[3], context=[tasks[2], tasks[0]])]).kickoff()
    assert prompt(agents[3]).endswith(f"Context:\nout2{DIVIDER}out0")


def test_async_tasks_are_given_the_last_sync_output_alone(make_agent: Any, make_task: Any) -> None:
    """An async task without ``context`` is given the last sync output; the next sync task, all of them."""
    agents = [make_agent([f"out{n}"]) for n in range(4)]
    tasks = [make_task(a, async_execution=n in (1, 2)) for n, a in enumerate(agents)]
    output = Crew(tasks=tasks).kickoff()
    assert prompt(agents[1]).endswith("Context:\nout0")
    assert prompt(agents[2]).endswith("Context:\nout0")
    assert prompt(agents[3]).endswith(f"Context:\nout0{DIVIDER}out1{DIVIDER}out2")
    assert [t.raw for t in output.tasks_output] == ["out0", "out1", "out2", "out3"]


def together(most: int) -> Any:
    """An answer that is given when so many requests are there: it never is, unless they come at the same time."""
    there: list[LLMRequest] = []

    async def answer(request: LLMRequest) -> str:
        there.append(request)
        for _ in range(500):
            if len(there) >= most:
                return str(request.messages[-1]["content"])[:40]
            await asyncio.sleep(0.01)
        raise AssertionError(f"{len(there)} of {most} requests came")

    return answer


def test_async_tasks_run_side_by_side() -> None:
    """Three async tasks have their calls at the provider at the same time; a join waits for what it needs."""
    side_by_side = together(3)

    def answer(request: LLMRequest) -> Any:
        return side_by_side(request) if "part" in str(request.messages[-1]["content"]) else "joined"

    with LoopbackServer(by=answer) as server:
        agent = Agent(role="R", goal="g", llm=server.llm("gpt-4o-mini"))
        tasks = [
            Task(name=f"t{n}", description=f"part {n}", expected_output="", agent=agent, async_execution=True)
            for n in range(3)
        ]
        last = Task(name="last", description="join", expected_output="", agent=agent)
        last_but = Task(name="ends", description="join", expected_output="", agent=agent, context=[last, tasks[0]])
        output = Crew(tasks=[*tasks, last, last_but]).kickoff()
        assert server.most_at_once == 3
    assert [t.name for t in output.tasks_output] == ["t0", "t1", "t2", "last", "ends"]


def test_a_task_waits_only_for_its_context(make_agent: Any, make_task: Any) -> None:
    """A sync task with an explicit context does not wait for another async task that is still under way."""
    quick_ended = threading.Event()

    async def slow_answer(request: LLMRequest) -> str:
        assert await call_in_thread(quick_ended.wait, 5), "quick waited for slow"
        return "slow"

    slow = make_task(make_agent(by=slow_answer), name="slow", async_execution=True)
    quick = make_task(make_agent(["quick"]), name="quick", context=[], callback=lambda output: quick_ended.set())
    output = Crew(tasks=[slow, quick]).kickoff()
    assert [t.raw for t in output.tasks_output] == ["slow", "quick"]
    assert output.raw == "quick"


class Berth(BaseModel):
    harbour: str
    depth: float


def test_output_file_formats(make_agent: Any, make_task: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Text as it is, models as JSON; the path's placeholders are put in, its folder is made."""
    monkeypatch.chdir(tmp_path)
    answer = '{"harbour": "Bergen", "depth": 14.5}'
    tasks = [
        make_task(make_agent(["plain äöü"]), output_file="out/{name}.txt"),
        make_task(make_agent([answer]), output_file="p.json", output_pydantic=Berth),
        make_task(make_agent([answer]), output_file="j.json", output_json=Berth),
    ]
    Crew(tasks=tasks).kickoff({"name": "raw"})
    assert Path("out/raw.txt").read_text(encoding="utf-8") == "plain äöü"
    assert json.loads(Path("p.json").read_text()) == json.loads(Path("j.json").read_text()) == json.loads(answer)


def test_callbacks_sync_and_async(make_agent: Any, make_task: Any) -> None:
    """``Task.callback`` then ``task_callback``; one that is both is called once; sync ones run in a thread."""
    calls: list[tuple[str, str, bool]] = []
    main = threading.current_thread()

    def own(output: TaskOutput) -> None:
        calls.append(("own", output.raw, threading.current_thread() is main))

    async def crews(output: TaskOutput) -> None:
        calls.append(("crew", output.raw, False))

    Crew(tasks=[make_task(make_agent(["a"]), callback=own)], task_callback=crews).kickoff()
    assert calls == [("own", "a", False), ("crew", "a", False)]
    calls.clear()
    Crew(tasks=[make_task(make_agent(["a"]), callback=own)], task_callback=own).kickoff()
    assert len(calls) == 1


def test_a_failing_callback_fails_the_run(make_agent: Any, make_task: Any) -> None:
    """What a callback raises is not swallowed."""

    def broken(output: TaskOutput) -> None:
        raise LookupError("no such ledger")

    with pytest.raises(LookupError, match="no such ledger"):
        Crew(tasks=[make_task(make_agent(["a"]), callback=broken)]).kickoff()


def test_before_and_after_kickoff(make_agent: Any, make_task: Any) -> None:
    """``before_kickoff`` changes the inputs, ``after_kickoff`` the output; None leaves them."""
    agent = make_agent(["done"])

    def louder(output: CrewOutput) -> CrewOutput:
        return output.model_copy(update={"raw": output.raw.upper()})

    crew = Crew(
        tasks=[make_task(agent, description="Go to {place}.")],
        before_kickoff_callbacks=[lambda inputs: {**inputs, "place": "Oslo"}, lambda inputs: None],
        after_kickoff_callbacks=[louder, lambda output: None],
    )
    assert crew.kickoff({"unused": 1}).raw == "DONE"
    assert "Go to Oslo." in prompt(agent)


async def test_async_callbacks_around_a_kickoff(make_agent: Any, make_task: Any) -> None:
    """Coroutine functions do as well; a change in place of the inputs is kept, the caller's dict is not changed."""

    async def before(inputs: dict[str, Any]) -> None:
        inputs["place"] = "Oslo"

    async def after_kickoff(output: CrewOutput) -> CrewOutput:
        return output.model_copy(update={"raw": f"{output.raw}!"})

    agent = make_agent(["done"])
    task = make_task(agent, description="Go to {place}.")
    crew = Crew(tasks=[task], before_kickoff_callbacks=[before], after_kickoff_callbacks=[after_kickoff])
    given = {"place": "Bergen"}
    assert (await crew.akickoff(given)).raw == "done!"
    assert "Go to Oslo." in prompt(agent)
    assert given == {"place": "Bergen"}


@pytest.mark.parametrize("whose", ["crew", "agent", "nobody"])
def test_verbose(make_agent: Any, make_task: Any, capsys: pytest.CaptureFixture[str], whose: str) -> None:
    """One line on stderr for each thing that happens, where the crew or an agent asks for it; stdout is left alone."""
    task = make_task(make_agent(["the answer"], verbose=whose == "agent"), name="survey")
    Crew(tasks=[task], verbose=whose == "crew").kickoff()
    printed = capsys.readouterr()
    assert printed.out == ""
    assert ("survey" in printed.err and "the answer" in printed.err) == (whose != "nobody")
    assert bool(printed.err) == (whose != "nobody")


def test_task_output_and_crew_output(make_agent: Any, make_task: Any) -> None:
    """CrewAI's accessors: str, json, to_dict, [key], summary, usage."""
    answer = '{"harbour": "Bergen", "depth": 14.5}'
    plain = Crew(
        tasks=[make_task(make_agent(["text"]), description="one two three four five six seven eight nine ten x")]
    )
    output = plain.kickoff()
    assert str(output) == "text"
    assert output.to_dict() == {}
    assert output.tasks_output[0].summary == "one two three four five six seven eight nine ten..."
    with pytest.raises(ValueError, match="output_json"):
        _ = output.json
    as_json = Crew(tasks=[make_task(make_agent([answer]), output_json=Berth)]).kickoff()
    assert json.loads(str(as_json.json)) == as_json.to_dict() == {"harbour": "Bergen", "depth": 14.5}
    assert as_json["depth"] == 14.5
    assert as_json.pydantic is None
    with pytest.raises(KeyError, match="width"):
        _ = as_json["width"]
    model = Crew(tasks=[make_task(make_agent([answer]), output_pydantic=Berth)]).kickoff()
    assert model["harbour"] == "Bergen"
    assert model.json_dict is None
    assert model.usage_metrics["successful_requests"] == 1
    assert model.model_dump()["pydantic"] == {"harbour": "Bergen", "depth": 14.5}


def test_task_output_is_the_latest_runs(make_agent: Any, make_task: Any) -> None:
    """``task.output`` is what the last finished run gave, as CrewAI's users read it."""
    task = make_task(make_agent(["first", "second"]))
    crew = Crew(tasks=[task])
    assert task.output is None
    crew.kickoff()
    crew.kickoff()
    assert task.output is not None
    assert task.output.raw == "second"


def test_a_crew_whose_tasks_say_nothing_fails(make_agent: Any, make_task: Any) -> None:
    """An empty answer is tried again, and then an error."""
    agent = make_agent(["", " ", "\n"])
    with pytest.raises(Exception, match="empty answer"):
        Crew(tasks=[make_task(agent)]).kickoff()
    assert len(agent.llm.requests) == 3


def test_names_of_tasks_are_unique(make_agent: Any, make_task: Any) -> None:
    """Unnamed tasks are numbered, equal names get a number, odd ones are made fit for paths."""
    names = [None, "a b/c", "dup", "dup", None]
    tasks = [make_task(make_agent(["x"]), name=name) for name in names]
    output = Crew(tasks=tasks).kickoff()
    assert [t.name for t in output.tasks_output] == ["task_1", "a_b_c", "dup", "dup_2", "task_5"]


def test_a_failure_stops_the_tasks_beside_it(make_agent: Any, make_task: Any) -> None:
    """When one of two parallel tasks fails, the crew fails with its error and begins nothing more."""
    never = make_agent(["never asked"])
    bad = make_task(make_agent([TaskError("broken")]), async_execution=True)
    good = make_task(make_agent([after(0.05, "fine")]), async_execution=True)
    with pytest.raises(TaskError, match="broken"):
        Crew(tasks=[bad, good, make_task(never)]).kickoff()
    assert never.llm.requests == []


async def test_runs_of_a_crew_go_side_by_side(make_agent: Any, make_task: Any) -> None:
    """``akickoff_for_each`` runs at once: each of twenty runs is answered when all of them have asked."""
    crew = Crew(tasks=[make_task(make_agent(by=together(20)), description="{n}", expected_output="")])
    outputs = await crew.akickoff_for_each([{"n": n} for n in range(20)])
    assert [output.raw for output in outputs] == [str(n) for n in range(20)]
    assert len({output.run_id for output in outputs}) == 20


def test_an_async_task_that_waits_holds_nobody_up(make_agent: Any, make_task: Any) -> None:
    """``b`` needs ``a``; ``c`` needs nobody, stands after ``b``, and is begun before ``a`` has ended."""
    began = threading.Event()

    def third(request: Any) -> str:
        began.set()
        return "c"

    async def first(request: Any) -> str:
        assert await call_in_thread(began.wait, 5), "c was not begun"
        return "a"

    a = make_task(make_agent(by=first), async_execution=True)
    b_agent = make_agent(["b"])
    b = make_task(b_agent, async_execution=True, context=[a])
    c = make_task(make_agent(by=third), async_execution=True, context=[])
    output = Crew(tasks=[a, b, c]).kickoff()
    assert [t.raw for t in output.tasks_output] == ["a", "b", "c"]
    assert prompt(b_agent).endswith("Context:\na")


def test_a_task_whose_context_failed_is_not_begun(make_agent: Any, make_task: Any) -> None:
    """The error is the one that failed."""
    a = make_task(make_agent([TaskError("broken")]), async_execution=True)
    waiting = make_agent(["never"])
    b = make_task(waiting, async_execution=True, context=[a])
    with pytest.raises(TaskError, match="broken"):
        Crew(tasks=[a, b]).kickoff()
    assert waiting.llm.requests == []


def test_usage_metrics_of_the_latest_run(make_agent: Any, make_task: Any) -> None:
    """``crew.usage_metrics`` after a kickoff, as CrewAI's users read it: of that run alone."""
    crew = Crew(tasks=[make_task(make_agent(["a", "b"]))])
    assert crew.usage_metrics is None
    for _ in range(2):
        output = crew.kickoff()
        assert crew.usage_metrics == output.token_usage
    assert output.token_usage.successful_requests == 1


def test_a_callback_that_cannot_be_hashed(make_agent: Any, make_task: Any) -> None:
    """Any callable will do."""

    class Collect(list[str]):
        def __call__(self, output: TaskOutput) -> None:
            self.append(output.raw)

    collect = Collect()
    Crew(tasks=[make_task(make_agent(["a"]), callback=collect)], task_callback=collect).kickoff()
    assert collect == ["a"]
