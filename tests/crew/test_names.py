"""CrewAI's smaller names: tasks and agents with no crew, copies, keys, usage."""

from __future__ import annotations

import hashlib
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from crew_prompts import asked
from pydantic import BaseModel

from quarterdeck import Agent, Budget, Crew, PlanningConfig, Process, Task, TaskOutput, UsageMetrics
from quarterdeck.crew.copies import with_llm
from quarterdeck.errors import ConfigError, GuardrailError, InputError, ProviderDownError, TaskError
from quarterdeck.events import Event, LLMFinished, RunFinished
from quarterdeck.llm.types import LLMRequest
from quarterdeck.task import ConditionalTask
from quarterdeck.testing import ScriptedLLM, call


class Depth(BaseModel):
    metres: float


def agent(answers: list[Any] | None = None, **fields: Any) -> Agent:
    return Agent(**{"role": "Pilot", "goal": "Know", "llm": ScriptedLLM(answers or []), "backstory": "b"} | fields)


def task(**fields: Any) -> Task:
    return Task(**{"description": "Measure.", "expected_output": "A depth"} | fields)


# -- a task with no crew ----------------------------------------------------------------------------------


def test_execute_sync(tmp_path: Path) -> None:
    """With guardrails, callbacks and the file."""
    told: list[TaskOutput] = []
    pilot = agent(["deep", "14 m"])

    def figure(output: TaskOutput) -> tuple[bool, Any]:
        return any(c.isdigit() for c in output.raw), output

    made = task(agent=pilot, guardrail=figure, callback=told.append, output_file=str(tmp_path / "depth.txt"))
    output = made.execute_sync(context="It is ebb.")
    assert (output.raw, output.agent, output.name) == ("14 m", "Pilot", "task_1")
    assert told == [output]
    assert (tmp_path / "depth.txt").read_text() == "14 m"
    assert asked(pilot.llm.requests[0]).endswith("Context:\nIt is ebb.")
    assert made.output == output


async def test_aexecute_sync_takes_an_agent_tools_and_options(lookup: Any, tmp_path: Path) -> None:
    mate = agent([call("lookup", query="tides"), '{"metres": 14}'], role="Mate")
    events: list[Event] = []
    made = task(agent=agent(), name="depth", output_pydantic=Depth)
    run: dict[str, Any] = {"journal": tmp_path / "runs.db", "run_id": "r"}
    output = await made.aexecute_sync(mate, tools=[lookup], on_event=events.append, **run)
    assert (output.pydantic, output.agent) == (Depth(metres=14), "Mate")
    assert [e.path for e in events if isinstance(e, LLMFinished)] == ["depth/1/llm/1", "depth/1/llm/2"]
    assert [e.status for e in events if isinstance(e, RunFinished)] == ["completed"]
    again = await made.aexecute_sync(agent(role="Mate"), tools=[lookup], **run)
    assert again.pydantic == Depth(metres=14)


def test_execute_async() -> None:
    """A future."""
    future = task(agent=agent(["14 m"])).execute_async()
    assert isinstance(future, Future)
    assert future.result(30).raw == "14 m"


async def test_a_task_alone_that_fails() -> None:
    with pytest.raises(ConfigError, match="no agent"):
        await task().aexecute_sync()
    with pytest.raises(InputError, match="town"):
        await task(agent=agent(), description="Measure {town}.").aexecute_sync()
    with pytest.raises(InputError, match="town"):
        await task(agent=agent(role="{town}")).aexecute_sync()
    with pytest.raises(ConfigError, match="tool"):
        await task(agent=agent()).aexecute_sync(tools=["chart"])
    with pytest.raises(TaskError, match=r"limited.*max_llm_calls"):
        await task(agent=agent([call("x"), "y"])).aexecute_sync(budget=Budget(max_llm_calls=1))
    events: list[Event] = []
    refused = task(agent=agent(["x"]), guardrail=lambda _: (False, "no"), guardrail_max_retries=0)
    with pytest.raises(GuardrailError):
        await refused.aexecute_sync(on_event=events.append)
    assert [e.status for e in events if isinstance(e, RunFinished)] == ["failed"]


async def test_a_task_alone_goes_on(tmp_path: Path) -> None:
    def gone(_: LLMRequest) -> Any:
        raise ProviderDownError("down")

    run: dict[str, Any] = {"journal": tmp_path / "runs.db", "run_id": "r"}
    first = agent(llm=ScriptedLLM([call("x"), gone], max_retries=0))
    with pytest.raises(ProviderDownError):
        await task(agent=first).aexecute_sync(**run)
    assert (await task(agent=agent(["14 m"])).aexecute_sync(**run)).raw == "14 m"


# -- an agent with no crew --------------------------------------------------------------------------------


def test_execute_task(lookup: Any) -> None:
    """Its answer's text; the task's tools go before its own."""
    pilot = agent([call("lookup", query="tides"), "14 m"])
    made = task(tools=[lookup])
    assert pilot.execute_task(made, "It is ebb.") == "14 m"
    assert asked(pilot.llm.requests[0]) == "Measure.\n\nExpected output: A depth\n\nContext:\nIt is ebb."
    assert [spec.name for spec in pilot.llm.requests[0].tools] == ["lookup"]


async def test_aexecute_task(lookup: Any) -> None:
    pilot = agent(["14 m", '{"metres": 14}'])
    assert await pilot.aexecute_task(task(), tools=[lookup]) == "14 m"
    assert [spec.name for spec in pilot.llm.requests[0].tools] == ["lookup"]
    assert await pilot.aexecute_task(task(output_json=Depth)) == '{"metres": 14}'
    assert pilot.llm.requests[1].tools == ()
    with pytest.raises(InputError, match="town"):
        await pilot.aexecute_task(task(description="Measure {town}."))
    with pytest.raises(ConfigError, match="tool"):
        await pilot.aexecute_task(task(), tools=["chart"])


def test_message() -> None:
    assert agent(["14 m"]).message("How deep?") == "14 m"


# -- copies and keys --------------------------------------------------------------------------------------


def test_keys() -> None:
    """CrewAI's: digests of what is said, and of nothing else."""
    pilot, measure = agent(), task()
    assert pilot.key == hashlib.md5(b"Pilot|Know|b").hexdigest()
    assert measure.key == hashlib.md5(b"Measure.|A depth").hexdigest()
    crew = Crew(agents=[pilot], tasks=[task(agent=pilot)])
    assert crew.key == hashlib.md5(f"{pilot.key}|{measure.key}".encode()).hexdigest()
    assert crew.copy().key == crew.key
    assert Crew(agents=[pilot], tasks=[task(agent=pilot, description="x")]).key != crew.key


def test_an_agents_copy() -> None:
    """It has a rate limit of its own, and its model and tools are the same."""
    pilot = agent(max_rpm=5, allow_delegation=True)
    pilot.verbose = True
    copy = pilot.copy()
    assert copy is not pilot
    assert copy.llm is pilot.llm
    assert (copy.max_rpm, copy.allow_delegation, copy.verbose) == (5, True, True)
    assert copy._rate is not pilot._rate
    copy.role = "Mate"
    assert pilot.role == "Pilot"


def test_a_tasks_copy() -> None:
    """Agents by role, context by key."""
    pilot, other = agent(), agent()
    first = task(agent=pilot, description="First.")
    second = task(agent=pilot, context=[first], name="second")
    assert second.copy().id != second.id
    assert second.copy().agent is pilot
    assert second.copy().context_tasks == [first]
    changed = first.copy()
    copy = second.copy([agent(role="Mate"), other], {first.key: changed})
    assert (copy.agent, copy.name) == (other, "second")
    assert copy.agent is other
    assert copy.context_tasks
    assert copy.context_tasks[0] is changed
    assert first.copy().context_tasks is None
    assert task(context=[]).copy().context_tasks == []


@pytest.mark.parametrize("managed", [False, True])
async def test_a_crews_copy_runs(managed: bool) -> None:
    """All of it is new, and the run is the same."""
    pilot = agent(["a", "b"])
    first = task(agent=pilot, name="first")
    second = ConditionalTask(
        description="Then?", expected_output="e", agent=pilot, context=[first], condition=lambda _: True
    )
    fields: dict[str, Any] = {}
    if managed:
        fields = {"process": Process.hierarchical, "manager_llm": ScriptedLLM(["a", "b"])}
    crew = Crew(agents=[pilot], tasks=[first, second], name="survey", cache=True, **fields)
    copy = crew.copy()
    assert (copy.name, copy.cache, copy.process) == ("survey", True, crew.process)
    assert copy.agents[0] is not pilot
    assert [made.agent is copy.agents[0] for made in copy.tasks] == [True, True]
    assert copy.tasks[1].context_tasks == [copy.tasks[0]]
    assert copy.definition == crew.definition
    assert (copy.staff.manager is not crew.staff.manager) == managed
    assert (await copy.akickoff()).raw == "b"
    assert first.output is None


def test_usage() -> None:
    crew = Crew(tasks=[task(agent=agent(["14 m"]))])
    assert crew.calculate_usage_metrics() == UsageMetrics()
    output = crew.kickoff()
    assert crew.calculate_usage_metrics() == output.token_usage
    assert output.token_usage.successful_requests == 1


@pytest.mark.parametrize("managed", [False, True])
async def test_one_model_for_all(managed: bool) -> None:
    """Agents, manager and planners; the crew itself stays as it is."""
    pilot = agent(planning_config=PlanningConfig(llm=ScriptedLLM([])))
    made = task(agent=pilot)
    fields: dict[str, Any] = {"planning": True, "planning_llm": ScriptedLLM([])}
    answers = ['{"task_1": "x"}', '{"steps": ["x"], "ready": true}', "14 m"]
    if managed:
        fields |= {"process": Process.hierarchical, "manager_llm": ScriptedLLM([])}
        answers = [answers[0], answers[2]]
    crew = Crew(agents=[pilot], tasks=[made], **fields)
    model = ScriptedLLM(answers)
    assert (await with_llm(crew, model).akickoff()).raw == "14 m"
    model.assert_done()
    assert made.agent is pilot
    assert crew.planning_llm is not model
