"""Plans: of a crew before its tasks, of an agent before its work; the payload of a trigger."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from crew_prompts import asked
from pydantic import BaseModel

from quarterdeck import Agent, Budget, Crew, PlanningConfig, Process, Task
from quarterdeck.errors import ConfigError, InputError, ProviderDownError
from quarterdeck.events import Event, LLMFinished
from quarterdeck.llm.types import LLMRequest
from quarterdeck.testing import ScriptedLLM, after, call

PLANS = json.dumps({"survey": "Measure twice.", "report": "Be short."})


def plan(*steps: str, ready: bool = True) -> str:
    return json.dumps({"steps": list(steps), "ready": ready})


def crew(planner: ScriptedLLM | None, answers: list[Any] | None = None, **fields: Any) -> Crew:
    llm = ScriptedLLM(["14 m", "It is deep."] if answers is None else answers, max_retries=0)
    surveyor = Agent(role="Surveyor of {town}", goal="Know every depth", llm=llm)
    survey = Task(name="survey", description="Measure {town}.", expected_output="A depth", agent=surveyor)
    report = Task(name="report", description="Report.", expected_output="A sentence", agent=surveyor)
    return Crew(tasks=[survey, report], planning=True, planning_llm=planner, **fields)


def llm_of(crew: Crew) -> Any:
    return crew.staff.worker(crew.tasks[0]).llm


# -- a crew's plan ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("schemas", [True, False])
async def test_a_plan_for_each_task(schemas: bool) -> None:
    """One call first; each task's part is in its prompt, and its description is left alone."""
    planner = ScriptedLLM([PLANS], schemas=schemas)
    made = crew(planner)
    events: list[Event] = []
    output = await made.akickoff({"town": "Bergen"}, on_event=events.append)
    assert [e.path for e in events if isinstance(e, LLMFinished)] == ["plan/llm/1", "survey/1/llm/1", "report/1/llm/1"]
    first, second = llm_of(made).requests
    assert "Plan:\nMeasure twice." in asked(first)
    assert "Plan:\nBe short." in asked(second)
    assert [item.description for item in output.tasks_output] == ["Measure Bergen.", "Report."]
    request = planner.requests[0]
    assert "survey: Measure Bergen." in asked(request)
    assert "By: Surveyor of Bergen (Know every depth)" in asked(request)
    assert (request.output_schema is not None) == schemas
    assert ('"required": ["survey", "report"]' in asked(request)) == (not schemas)
    assert output.token_usage.successful_requests == 3


async def test_an_incomplete_plan_is_repaired() -> None:
    """What is missing is named."""
    planner = ScriptedLLM(['{"survey": "x"}', PLANS])
    made = crew(planner)
    await made.akickoff({"town": "Bergen"})
    assert "report: Field required" in asked(planner.requests[1])
    assert "Plan:\nBe short." in asked(llm_of(made).requests[1])


@pytest.mark.parametrize("answers", [["no", "no", "no"], [""]])
async def test_without_a_usable_plan_the_tasks_go_on(answers: list[str]) -> None:
    made = crew(ScriptedLLM(answers))
    assert (await made.akickoff({"town": "Bergen"})).raw == "It is deep."
    assert "Plan" not in asked(llm_of(made).requests[0])
    made.planning_llm.assert_done()


async def test_a_planner_that_cannot_be_reached_fails_the_run() -> None:
    """As any other call does: the run can be called again."""
    with pytest.raises(ProviderDownError):
        await crew(ScriptedLLM([ProviderDownError("down")], max_retries=0)).akickoff({"town": "Bergen"})


async def test_the_default_planner_is_the_first_agents_model() -> None:
    made = crew(None, [PLANS, "14 m", "deep"])
    assert (await made.akickoff({"town": "Bergen"})).raw == "deep"


async def test_the_manager_is_the_default_planner() -> None:
    mate = Agent(role="Mate", goal="Help", llm=ScriptedLLM(["14 m"]))
    manager = ScriptedLLM(
        ['{"task_1": "Ask the mate."}', call("ask_question_to_coworker", question="?", coworker="Mate"), "done"]
    )
    made = Crew(
        agents=[mate],
        tasks=[Task(description="d", expected_output="e")],
        process=Process.hierarchical,
        manager_llm=manager,
        planning=True,
    )
    assert (await made.akickoff()).raw == "done"
    assert "with the help of Mate" in asked(manager.requests[0])
    assert "Plan:\nAsk the mate." in asked(manager.requests[1])


async def test_a_plan_is_made_once(tmp_path: Path) -> None:
    """A run that goes on takes it from the journal."""

    def gone(_: LLMRequest) -> Any:
        raise ProviderDownError("down")

    run: dict[str, Any] = {"journal": tmp_path / "runs.db", "run_id": "r"}
    with pytest.raises(ProviderDownError):
        await crew(ScriptedLLM([PLANS]), ["14 m", gone]).akickoff({"town": "Bergen"}, **run)
    again = crew(ScriptedLLM([]), ["deep"])
    assert (await again.akickoff(**run)).raw == "deep"
    assert "Plan:\nBe short." in asked(llm_of(again).requests[0])


async def test_planning_is_in_the_budget() -> None:
    output = await crew(ScriptedLLM([PLANS])).akickoff({"town": "Bergen"}, budget=Budget(max_llm_calls=1))
    assert (output.status, output.ended_by, output.tasks_output) == ("limited", "max_llm_calls", [])


# -- an agent's plan --------------------------------------------------------------------------------------


def planner_agent(answers: list[Any], **fields: Any) -> Agent:
    return Agent(**{"role": "Pilot", "goal": "Know", "llm": ScriptedLLM(answers), "planning": True} | fields)


def one(agent: Agent, **fields: Any) -> Crew:
    return Crew(tasks=[Task(**{"description": "Go.", "expected_output": "e", "agent": agent} | fields)])


@pytest.mark.parametrize(
    ("fields", "answers", "calls"),
    [
        ({"planning": True}, [plan("a")], 1),
        ({"planning": False, "reasoning": True}, [plan("a")], 1),
        ({"planning_config": PlanningConfig()}, [plan("x", ready=False), plan("a")], 2),
        ({"planning_config": PlanningConfig()}, [plan("x", ready=False), plan("a", ready=False)], 2),
        ({"planning_config": PlanningConfig(reasoning_effort="low")}, [plan("a", ready=False)], 1),
        (
            {"planning_config": PlanningConfig(reasoning_effort="high")},
            [plan("x", ready=False), plan("y", ready=False), plan("a", ready=False)],
            3,
        ),
        ({"planning_config": PlanningConfig(reasoning_effort="high")}, [plan("x", ready=False), plan("a")], 2),
        ({"planning_config": PlanningConfig(max_attempts=1)}, [plan("a", ready=False)], 1),
        ({"reasoning": True, "max_reasoning_attempts": 1}, [plan("a", ready=False)], 1),
        ({"planning_config": PlanningConfig(max_steps=1)}, [plan("a", "too much")], 1),
        ({"planning": True}, ["not JSON", plan("a")], 2),
        ({"planning": True}, [plan("a", ready=False), "no", "no", "no"], 4),  # the first one is kept
    ],
)
async def test_attempts(fields: dict[str, Any], answers: list[Any], calls: int) -> None:
    """As many as there may be, fewer when the plan is ready."""
    agent = planner_agent([*answers, "done"], **fields)
    assert (await one(agent).akickoff()).raw == "done"
    assert len(agent.llm.requests) == calls + 1
    assert asked(agent.llm.requests[-1]) == "Go.\n\nExpected output: e\n\nPlan:\n1. a"


@pytest.mark.parametrize("answers", [["no", "no", "no"], [plan()] * 3, [""]])
async def test_without_a_usable_plan_the_work_goes_on(answers: list[str]) -> None:
    agent = planner_agent([*answers, "done"])
    assert (await one(agent).akickoff()).raw == "done"
    agent.llm.assert_done()
    assert "Plan" not in asked(agent.llm.requests[-1])


async def test_a_plan_has_its_own_paths(lookup: Any) -> None:
    """And is made once for all tries."""
    tries: list[str] = []

    def refuse_once(output: Any) -> tuple[bool, Any]:
        tries.append(output.raw)
        return len(tries) > 1, output

    agent = planner_agent([plan("a", ready=False), plan("b"), "one", "two"], tools=[lookup])
    events: list[Event] = []
    await one(agent, name="go", guardrail=refuse_once).akickoff(on_event=events.append)
    paths = [e.path for e in events if isinstance(e, LLMFinished)]
    assert paths == ["go/plan/1/llm/1", "go/plan/2/llm/1", "go/1/llm/1", "go/2/llm/1"]
    assert "Tools: lookup" in asked(agent.llm.requests[0])
    assert agent.llm.requests[0].tools == ()
    assert "1. b" in asked(agent.llm.requests[3])


async def test_words_and_model_of_ones_own() -> None:
    planner = ScriptedLLM([plan("x", ready=False), plan("a")], schemas=True)
    config = PlanningConfig(system_prompt="You plan.", plan_prompt="Plan!", refine_prompt="Again!", llm=planner)
    agent = planner_agent(["done"], planning_config=config)
    await one(agent).akickoff()
    first, second = planner.requests
    assert [m["content"] for m in first.messages] == ["You plan.", "Go.\n\nExpected output: e\n\nPlan!"]
    assert second.messages[-1]["content"] == "Again!"


async def test_a_plan_is_taken_from_the_journal(tmp_path: Path) -> None:
    run: dict[str, Any] = {"journal": tmp_path / "runs.db", "run_id": "r"}

    def gone(_: LLMRequest) -> Any:
        raise ProviderDownError("down")

    first = planner_agent([])
    first.llm = ScriptedLLM([plan("a"), gone], max_retries=0)
    with pytest.raises(ProviderDownError):
        await one(first).akickoff(**run)
    again = planner_agent(["done"])
    assert (await one(again).akickoff(**run)).raw == "done"
    assert "1. a" in asked(again.llm.requests[0])


async def test_a_slow_plan_is_held_to_the_time_limit() -> None:
    agent = planner_agent([after(30, plan("a"))], max_execution_time=0.02)
    with pytest.raises(TimeoutError, match=r"task 'task_1'.*max_execution_time"):
        await one(agent).akickoff()


async def test_an_agent_alone_plans() -> None:
    agent = planner_agent([plan("a"), "done"])
    assert (await agent.akickoff("Go.")).raw == "done"
    assert asked(agent.llm.requests[1]) == "Go.\n\nPlan:\n1. a"


async def test_an_agent_alone_plans_for_a_conversation() -> None:
    agent = planner_agent([plan("a"), "done"])
    given = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Yes?"}]
    messages = [*given, {"role": "user", "content": "Go."}]
    assert (await agent.akickoff(messages)).raw == "done"
    assert agent.llm.requests[1].messages[-1]["content"] == "Go.\n\nPlan:\n1. a"
    assert messages[-1]["content"] == "Go."


async def test_a_coworker_plans_its_piece() -> None:
    mate = planner_agent([plan("a"), "14 m"], role="Mate")
    asker = Agent(
        role="Writer",
        goal="Write",
        llm=ScriptedLLM([call("delegate_work_to_coworker", task="Measure.", coworker="Mate"), "done"]),
        allow_delegation=True,
    )
    events: list[Event] = []
    await Crew(agents=[mate], tasks=[Task(description="d", expected_output="e", agent=asker)]).akickoff(
        on_event=events.append
    )
    paths = [e.path for e in events if isinstance(e, LLMFinished) and e.agent == "Mate"]
    assert paths == ["task_1/1/tool/1/delegate/plan/1/llm/1", "task_1/1/tool/1/delegate/llm/1"]
    assert "Plan:\n1. a" in asked(mate.llm.requests[1])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: PlanningConfig(max_replans=2), "max_replans.*does nothing"),
        (lambda: PlanningConfig(observe_steps=True), "observe_steps.*does nothing"),
        (lambda: PlanningConfig(step_timeout=3), "max_execution_time"),
        (lambda: PlanningConfig(max_step_iterations=3), "max_iter"),
        (lambda: PlanningConfig(reasoning_effort="extreme"), "reasoning_effort"),
        (lambda: PlanningConfig(max_attempts=0), "max_attempts"),
        (lambda: PlanningConfig(attempts=2), "did you mean 'max_attempts'"),
        (lambda: planner_agent([], planning=False, max_reasoning_attempts=2), "does nothing without reasoning"),
        (lambda: planner_agent([], planning_config=PlanningConfig(), max_reasoning_attempts=2), "PlanningConfig"),
        (lambda: planner_agent([], planning_config="high"), "planning_config"),
    ],
)
def test_what_would_do_nothing_is_refused(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(ConfigError, match=f"(?s){said}"):
        make()


def test_a_config_as_a_dict() -> None:
    """As it comes from a file."""
    config = planner_agent([], planning_config={"max_attempts": 2}).planning_config
    assert config
    assert config.attempts == 2


# -- triggers ---------------------------------------------------------------------------------------------

PAYLOAD = {"mail": "Ship ahoy"}


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        (None, None, [True, False]),
        (False, None, [False, False]),
        (None, True, [True, True]),
        (True, False, [True, False]),
        (False, True, [False, True]),
    ],
)
async def test_the_payload_of_a_trigger(first: bool | None, second: bool | None, told: list[bool]) -> None:
    """The first task of a sequential crew is told of it, unless it says no; others where they say yes."""
    agent = Agent(role="r", goal="g", llm=ScriptedLLM(["a", "b"]))
    tasks = [
        Task(description="d", expected_output="e", agent=agent, context=[], allow_crewai_trigger_context=flag)
        for flag in (first, second)
    ]
    await Crew(tasks=tasks).akickoff({"crewai_trigger_payload": PAYLOAD})
    text = 'd\n\nTrigger Payload: {"mail": "Ship ahoy"}\n\nExpected'
    assert [text in asked(request) for request in agent.llm.requests] == told


async def test_no_payload_no_words() -> None:
    agent = Agent(role="r", goal="g", llm=ScriptedLLM(["a"]))
    task = Task(description="d", expected_output="e", agent=agent, allow_crewai_trigger_context=True)
    await Crew(tasks=[task]).akickoff()
    assert "Trigger" not in asked(agent.llm.requests[0])


async def test_a_payload_that_the_task_names_itself_is_not_told_twice() -> None:
    agent = Agent(role="r", goal="g", llm=ScriptedLLM(["a"]))
    task = Task(description="Answer {crewai_trigger_payload}", expected_output="e", agent=agent)
    await Crew(tasks=[task]).akickoff({"crewai_trigger_payload": "Ahoy"})
    assert asked(agent.llm.requests[0]).count("Ahoy") == 1


async def test_a_hierarchical_crew_is_told_where_a_task_says_so() -> None:
    for flag, told in ((None, False), (True, True)):
        manager = ScriptedLLM(["a"])
        task = Task(description="d", expected_output="e", allow_crewai_trigger_context=flag)
        agent = Agent(role="r", goal="g", llm=ScriptedLLM([]))
        crew = Crew(agents=[agent], tasks=[task], process=Process.hierarchical, manager_llm=manager)
        await crew.akickoff({"crewai_trigger_payload": PAYLOAD})
        assert ("Ship ahoy" in asked(manager.requests[0])) == told


async def test_declared_inputs_let_a_payload_pass() -> None:
    class Inputs(BaseModel):
        town: str

    agent = Agent(role="r", goal="g", llm=ScriptedLLM(["a"]))
    task = Task(description="d {town}", expected_output="e", agent=agent)
    crew = Crew(tasks=[task], inputs_model=Inputs)
    await crew.akickoff({"town": "Oslo", "crewai_trigger_payload": PAYLOAD})
    assert "Ship ahoy" in asked(agent.llm.requests[0])
    with pytest.raises(InputError, match="town"):
        await crew.akickoff({"crewai_trigger_payload": PAYLOAD})
