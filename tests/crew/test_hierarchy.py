"""Hierarchical crews: whatever a manager and its coworkers answer, a run ends, with the right owner, in the stated
number of calls."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from quarterdeck import Agent, Budget, Crew, Process, Task
from quarterdeck.agent.rate import RateLimit
from quarterdeck.errors import (
    BadRequestError,
    ContentFilteredError,
    GuardrailError,
    HookAborted,
    OutputFormatError,
    ProviderDownError,
    QuarterdeckError,
    RateLimitError,
    RunStopped,
    TaskError,
)
from quarterdeck.events import Event, LimitReached, LLMFinished, TaskFailed, ToolFinished
from quarterdeck.hooks import Hook, InterceptionPoint
from quarterdeck.llm.types import LLMRequest, ToolCall
from quarterdeck.runtime.human import HumanAnswer, HumanRequest, Later
from quarterdeck.testing import ScriptedLLM, after, call
from quarterdeck.tools import tool

MANAGER = "Crew Manager"


def give(coworker: Any = "Researcher", task: str = "Find it.", context: str = "For a report.") -> ToolCall:
    return call("delegate_work_to_coworker", task=task, context=context, coworker=coworker)


def ask(coworker: Any = "Researcher", question: str = "How deep?", context: str = "") -> ToolCall:
    return call("ask_question_to_coworker", question=question, context=context, coworker=coworker)


class Depth(BaseModel):
    metres: float


@tool
def chart(place: str) -> str:
    """Reads the chart.

    Args:
        place: Where.
    """
    return f"{place}: 14 m"


@tool
def broken(place: str) -> str:
    """Reads the broken chart.

    Args:
        place: Where.
    """
    raise RuntimeError(f"the chart of {place} is wet")


@tool(result_as_answer=True)
def reading(place: str) -> str:
    """Reads the gauge.

    Args:
        place: Where.
    """
    return f"{place}: 3 m"


def short(output: Any) -> tuple[bool, Any]:
    return (len(output.raw) < 10, output if len(output.raw) < 10 else "too long")


def refuse(output: Any) -> tuple[bool, Any]:
    return False, f"no to {output.raw}"


class Person:
    """Sends the output back once, with feedback, and then accepts it."""

    def __init__(self) -> None:
        self.asked: list[HumanRequest] = []

    async def ask(self, request: HumanRequest) -> HumanAnswer:
        self.asked.append(request)
        return HumanAnswer(len(self.asked) > 1, "shorter")


@dataclass
class Scene:
    """One scenario.

    Args:
        name: What happens.
        manager: The manager's answers.
        calls: All calls to models, no more and no fewer.
        raw: The output; or why the run fails.
        coworkers: Answers of the coworkers, by role.
        tools: Tools of the coworkers, by role.
        told: What the manager was told, in a piece of its last prompt.
        tasks: Fields of each task; ``agent`` is a role.
        crew: Fields of the crew.
        boss: Fields of a ``manager_agent``.
        agents: Fields of the coworkers, by role.
        options: Options of the kickoff.
        error: The class of the error.
    """

    name: str
    manager: list[Any]
    calls: int
    raw: str = "done"
    coworkers: dict[str, list[Any]] = field(default_factory=dict[str, list[Any]])
    tools: dict[str, list[Any]] = field(default_factory=dict[str, list[Any]])
    told: str = ""
    tasks: list[dict[str, Any]] = field(default_factory=lambda: [{}])
    crew: dict[str, Any] = field(default_factory=dict[str, Any])
    boss: dict[str, Any] | None = None
    agents: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    error: type[Exception] | None = None
    native: bool = True

    def build(self) -> Crew:
        roles = ["Researcher", "Writer", *(r for r in self.coworkers if r not in ("Researcher", "Writer"))]
        made = {
            role: Agent(
                **{
                    "role": role,
                    "goal": f"Be a good {role.lower()}",
                    "llm": ScriptedLLM(self.coworkers.get(role, []), model=role, max_retries=0),
                    "tools": self.tools.get(role, []),
                }
                | self.agents.get(role, {})
            )
            for role in roles
        }
        tasks: list[Task] = []
        for fields in self.tasks:
            fields = {"description": "Report on Bergen.", "expected_output": "A report"} | fields
            agent = made.get(fields.pop("agent", ""))
            tasks.append(Task(**fields, agent=agent))
        llm = ScriptedLLM(self.manager, model="manager", max_retries=0, tools=self.native)
        manager: dict[str, Any] = {"manager_llm": llm}
        if self.boss is not None:
            manager = {"manager_agent": Agent(**{"role": "Boss", "goal": "Lead", "llm": llm} | self.boss)}
        return Crew(agents=list(made.values()), tasks=tasks, process=Process.hierarchical, **manager, **self.crew)


def models(crew: Crew) -> list[ScriptedLLM]:
    manager = crew.staff.manager
    assert manager
    return [manager.llm, *(agent.llm for agent in crew.agents)]


def in_text(name: str, **arguments: Any) -> str:
    """A call as a model without tools writes it."""
    return f"Action: {name}\nAction Input: {json.dumps(arguments)}"


FORCED = "No more tool calls"
ENDLESS = [give() for _ in range(40)]

SCENES = [
    Scene("it answers itself", ["done"], 1),
    Scene("one piece", [give(), "done"], 3, coworkers={"Researcher": ["14 m"]}, told="14 m"),
    Scene("one question", [ask(), "done"], 3, coworkers={"Researcher": ["14 m"]}, told="14 m"),
    Scene(
        "a piece and then another",
        [give(), give("Writer"), "done"],
        5,
        coworkers={"Researcher": ["14 m"], "Writer": ["It is 14 m."]},
        told="It is 14 m.",
    ),
    Scene(
        "pieces side by side",
        [[give(), give("Writer"), ask("Writer")], "done"],
        5,
        coworkers={"Researcher": [after(0.02, "14 m")], "Writer": ["a", "b"]},
        told="14 m",
    ),
    Scene(
        "the same piece twice at once",
        [[give(), give()], "done"],
        4,
        coworkers={"Researcher": ["14 m", "15 m"]},
        crew={"cache": True},
        told="15 m",
    ),
    Scene(
        "sent back with feedback",
        [give(), give(context="You said 'deep': give a figure."), "done"],
        5,
        coworkers={"Researcher": ["deep", "14 m"]},
        told="14 m",
    ),
    # -- wrong coworkers ----------------------------------------------------------------------------------
    Scene("a wrong name", [give("Pilot"), "done"], 2, told="there is no such coworker; there are: Researcher, Writer"),
    Scene("a wrong name, then a right one", [give("Pilot"), give(), "done"], 4, coworkers={"Researcher": ["14 m"]}),
    Scene("a name in other letters", [give(" 'researcher' "), "done"], 3, coworkers={"Researcher": ["14 m"]}),
    Scene("a number as coworker", [give(7), "done"], 2, told="there is no such coworker"),
    Scene("a list of coworkers", [give(["Researcher"]), "done"], 2, told="there is no such coworker"),
    Scene("the manager itself", [give(MANAGER), "done"], 2, told="this coworker waits for your own answer"),
    Scene("no coworker", [call("delegate_work_to_coworker", task="x"), "done"], 2, told="coworker: is missing"),
    Scene("an empty piece", [give(task=""), "done"], 2, told="task: got"),
    Scene(
        "another argument", [call("delegate_work_to_coworker", work="x", coworker="Writer"), "done"], 2, told="missing"
    ),
    Scene("no JSON", [ToolCall("c", "delegate_work_to_coworker", "{not"), "done"], 2, told="not valid JSON"),
    Scene("a tool that is not there", [call("delegate", task="x"), "done"], 2, told="There is no tool 'delegate'"),
    Scene(
        "a good and a bad one at once",
        [[give("Pilot"), give()], "done"],
        3,
        coworkers={"Researcher": ["14 m"]},
        told="14 m",
    ),
    Scene(
        "two of the same role",
        [[give("Researcher"), give("Researcher (2)")], "done"],
        4,
        coworkers={"Researcher": ["14 m"], "R2": ["15 m"]},
        agents={"R2": {"role": "Researcher"}},
        told="15 m",
    ),
    Scene(
        "roles that differ in their letters alone",
        [[give("Researcher"), give("researcher")], "done"],
        4,
        coworkers={"Researcher": ["14 m"], "researcher": ["15 m"]},
        told="15 m",
    ),
    Scene(
        "a role with an input",
        [give("Pilot of Oslo"), "done"],
        3,
        coworkers={"Pilot of {town}": ["14 m"]},
        options={"inputs": {"town": "Oslo"}},
        told="14 m",
    ),
    Scene(
        "a role with braces and quotes",
        [give('The "best" {x} pilot'), "done"],
        3,
        coworkers={'The "best" {{x}} pilot': ["14 m"]},
        agents={'The "best" {{x}} pilot': {"role": 'The "best" {town} pilot'}},
        options={"inputs": {"town": "{x}"}},
    ),
    # -- coworkers that do not deliver --------------------------------------------------------------------
    Scene("a refusal", [give(), "done"], 3, coworkers={"Researcher": ["I cannot help with that."]}, told="I cannot"),
    Scene(
        "a refusal, then another coworker",
        [give(), give("Writer"), "done"],
        5,
        coworkers={"Researcher": ["I cannot."], "Writer": ["14 m"]},
    ),
    Scene("an empty answer", [give(), "done"], 3, coworkers={"Researcher": [""]}, told="Researcher gave no answer"),
    Scene("an answer of spaces", [ask(), "done"], 3, coworkers={"Researcher": [" \n"]}, told="gave no answer"),
    Scene(
        "an empty answer, then one",
        [give(), give(), "done"],
        5,
        coworkers={"Researcher": ["", "14 m"]},
        told="14 m",
    ),
    Scene(
        "a filtered answer",
        [give(), "done"],
        3,
        coworkers={"Researcher": [ContentFilteredError("not allowed")]},
        told="Researcher gave no answer: not allowed",
    ),
    Scene(
        "a provider that is down",
        [give(), "done"],
        3,
        coworkers={"Researcher": [ProviderDownError("it is down")]},
        told="The same call may succeed later",
    ),
    Scene(
        "a rate limit, then an answer",
        [give(), give(), "done"],
        5,
        coworkers={"Researcher": [RateLimitError("slow down"), "14 m"]},
    ),
    Scene("a bug in a model", [give(), "done"], 3, coworkers={"Researcher": [KeyError("x")]}, told="The tool failed"),
    Scene(
        "a coworker that is too slow",
        [give(), "done"],
        3,
        coworkers={"Researcher": [after(30, "14 m")]},
        agents={"Researcher": {"max_execution_time": 0.02}},
        told="took longer than its max_execution_time",
    ),
    Scene(
        "one of three fails",
        [[give(), give("Writer"), ask("Writer")], "done"],
        5,
        coworkers={"Researcher": [BadRequestError("no")], "Writer": ["a", "b"]},
    ),
    # -- endless work -------------------------------------------------------------------------------------
    Scene(
        "endless delegation",
        [*ENDLESS[:13], "done"],
        26,
        coworkers={"Researcher": ["more"] * 12},
        told="the limit of 12 delegations",
    ),
    Scene(
        "endless delegation with a limit of two",
        [*ENDLESS[:3], "done"],
        6,
        coworkers={"Researcher": ["more"] * 2},
        crew={"max_delegations": 2},
        told=FORCED,
    ),
    Scene(
        "more at once than there may be",
        [[give(), give(), ask("Writer")], "done"],
        4,
        coworkers={"Researcher": ["a", "b"]},
        crew={"max_delegations": 2},
        told="the limit of 2 delegations",
    ),
    Scene(
        "endless wrong names",
        [*[give("Pilot") for _ in range(25)], "done"],
        26,
        told=FORCED,
    ),
    Scene(
        "endless wrong names of a short manager",
        [*[give("Pilot") for _ in range(3)], "done"],
        4,
        boss={"max_iter": 3},
    ),
    Scene(
        "a coworker that calls its tool without end",
        [give(), "done"],
        6,
        coworkers={"Researcher": [*[call("chart", place="Oslo")] * 3, "14 m"]},
        agents={"Researcher": {"max_iter": 3}},
        tools={"Researcher": [chart]},
        told="14 m",
    ),
    Scene(
        "a manager that says nothing",
        ["", "", ""],
        3,
        raw="task 'task_1': the manager gave no answer in 3 tries",
        error=TaskError,
    ),
    Scene("a manager that says nothing at first", ["", "done"], 2),
    Scene(
        "a manager that goes on calling at the limit",
        [give(), give(), give(), "done"],
        5,
        coworkers={"Researcher": ["a"]},
        crew={"max_delegations": 1},
    ),
    # -- tools --------------------------------------------------------------------------------------------
    Scene("a manager with tools", [call("chart", place="Oslo"), "done"], 2, boss={"tools": [chart]}, told="Oslo: 14 m"),
    Scene(
        "a manager with tools that delegates too",
        [[call("chart", place="Oslo"), give()], "done"],
        3,
        boss={"tools": [chart]},
        coworkers={"Researcher": ["14 m"]},
    ),
    Scene("the task's tools are the manager's", [call("chart", place="Oslo"), "done"], 2, tasks=[{"tools": [chart]}]),
    Scene(
        "a coworker's own tools",
        [give(), "done"],
        4,
        coworkers={"Researcher": [call("chart", place="Oslo"), "14 m"]},
        tools={"Researcher": [chart]},
        told="14 m",
    ),
    Scene(
        "a coworker has not the manager's tools",
        [give(), "done"],
        4,
        boss={"tools": [chart]},
        coworkers={"Researcher": [call("chart", place="Oslo"), "I have no chart."]},
        told="I have no chart",
    ),
    Scene(
        "a coworker's tool that fails",
        [give(), "done"],
        4,
        coworkers={"Researcher": [call("broken", place="Oslo"), "No chart."]},
        tools={"Researcher": [broken]},
        told="No chart",
    ),
    Scene(
        "a coworker's tool that answers",
        [give(), "done"],
        3,
        coworkers={"Researcher": [call("reading", place="Oslo")]},
        tools={"Researcher": [reading]},
        told="Oslo: 3 m",
    ),
    Scene(
        "a manager without tool calls of its own",
        [in_text("delegate_work_to_coworker", task="x", coworker="Researcher"), "Final Answer: done"],
        3,
        coworkers={"Researcher": ["14 m"]},
        native=False,
        told="14 m",
    ),
    # -- tasks --------------------------------------------------------------------------------------------
    Scene(
        "a task's agent is the only coworker",
        [give("Researcher"), give("Writer"), "done"],
        4,
        tasks=[{"agent": "Writer"}],
        coworkers={"Writer": ["14 m"]},
        told="14 m",
    ),
    Scene(
        "several tasks",
        ["one", give(), "done"],
        4,
        tasks=[{"name": "a"}, {"name": "b"}],
        coworkers={"Researcher": ["14 m"]},
    ),
    Scene("tasks side by side", ["one", "two", "done"], 3, tasks=[{"async_execution": True}] * 2 + [{}]),
    Scene(
        "structured output of the manager",
        [give(), '{"metres": 14}'],
        3,
        tasks=[{"output_pydantic": Depth}],
        coworkers={"Researcher": ["14 m"]},
        raw='{"metres": 14}',
    ),
    Scene(
        "structured output after a repair",
        [give(), "14 m", '{"metres": 14}'],
        4,
        tasks=[{"output_json": Depth}],
        coworkers={"Researcher": ["14 m"]},
        raw='{"metres": 14}',
    ),
    Scene(
        "no structured output",
        ["14 m", "14 m", "14 m"],
        3,
        tasks=[{"output_pydantic": Depth, "name": "depth"}],
        raw="task 'depth': Crew Manager: the answer does not fit Depth",
        error=OutputFormatError,
    ),
    Scene(
        "a guardrail that sends it back",
        [give(), "much too long", give(), "done"],
        6,
        tasks=[{"guardrail": short}],
        coworkers={"Researcher": ["a", "b"]},
    ),
    Scene(
        "the limit is that of one try",
        [give(), "much too long", give(), "done"],
        6,
        tasks=[{"guardrail": short}],
        coworkers={"Researcher": ["a", "b"]},
        crew={"max_delegations": 1},
    ),
    Scene(
        "a guardrail that never accepts",
        ["a", "b"],
        2,
        tasks=[{"guardrail": refuse, "guardrail_max_retries": 1, "name": "depth"}],
        raw="task 'depth': guardrail refuse refused",
        error=GuardrailError,
    ),
    Scene(
        "a person sends it back",
        [give(), "long", "done"],
        4,
        tasks=[{"human_input": True}],
        coworkers={"Researcher": ["a"]},
        options={"human": Person()},
    ),
    Scene(
        "a provider that is down for the manager",
        [give(), ProviderDownError("it is down")],
        3,
        coworkers={"Researcher": ["a"]},
        raw="it is down",
        error=ProviderDownError,
    ),
    # -- coworkers that hand on ---------------------------------------------------------------------------
    Scene(
        "a coworker hands on",
        [give(), "done"],
        5,
        coworkers={"Researcher": [give("Writer"), "14 m"], "Writer": ["a"]},
        agents={"Researcher": {"allow_delegation": True}},
        told="14 m",
    ),
    Scene(
        "a coworker hands back",
        [give(), "done"],
        6,
        coworkers={"Researcher": [ask("Writer"), "14 m"], "Writer": [ask("Researcher"), "a"], "Pilot": []},
        agents={"Researcher": {"allow_delegation": True}, "Writer": {"allow_delegation": True}},
        crew={"max_delegation_depth": 3},
        told="14 m",
    ),
    Scene(
        "as deep as it may be",
        [give(), "done"],
        6,
        coworkers={"Researcher": [ask("Writer"), "14 m"], "Writer": [ask("Pilot"), "a"], "Pilot": []},
        agents={"Researcher": {"allow_delegation": True}, "Writer": {"allow_delegation": True}},
        told="14 m",
    ),
    Scene(
        "the limit counts what is handed on",
        [give(), give(), "done"],
        7,
        coworkers={"Researcher": [give("Writer"), give("Writer"), "14 m"], "Writer": ["a"]},
        agents={"Researcher": {"allow_delegation": True}},
        crew={"max_delegations": 2},
        told="the limit of 2 delegations",
    ),
]


@pytest.mark.parametrize("scene", SCENES, ids=[scene.name for scene in SCENES])
async def test_it_ends(scene: Scene) -> None:
    """With the answer or a stated reason, after exactly the stated calls."""
    crew = scene.build()
    events: list[Event] = []
    options = dict(scene.options)
    inputs = options.pop("inputs", None)
    async with asyncio.timeout(60):
        if scene.error is None:
            output = await crew.akickoff(inputs, on_event=events.append, **options)
            assert (output.partial, output.raw) == (False, scene.raw)
            owner = "Boss" if scene.boss is not None else MANAGER
            assert {item.agent for item in output.tasks_output} == {owner}
            assert output.token_usage.successful_requests == sum(isinstance(e, LLMFinished) for e in events)
        else:
            with pytest.raises(scene.error, match=scene.raw):
                await crew.akickoff(inputs, on_event=events.append, **options)
            assert [e.task for e in events if isinstance(e, TaskFailed)]
    for llm in models(crew):
        llm.assert_done()
    assert sum(len(llm.requests) for llm in models(crew)) == scene.calls
    assert scene.told in json.dumps(list(models(crew)[0].requests[-1].messages)).replace('\\"', '"')
    owners(events, crew)


def owners(events: list[Event], crew: Crew) -> None:
    """The paths say who works: below a tool call's path it is the coworker that was named, with its own model."""
    handed: dict[str, str] = {}
    for event in events:
        if isinstance(event, ToolFinished) and event.tool.endswith("coworker") and event.ok:
            handed[event.path] = " ".join(str(event.arguments["coworker"]).replace("'", "").split())
    by_model = {agent.llm.model: agent for agent in crew.agents}
    for event in events:
        if not isinstance(event, LLMFinished):
            continue
        piece = next((p for p in sorted(handed, key=len, reverse=True) if event.path.startswith(f"{p}/")), None)
        if piece is None:
            continue
        assert event.path.removeprefix(piece).split("/")[1] in ("delegate", "ask")
        named = handed[piece].removesuffix(" (2)").casefold()
        assert event.agent.casefold() == named or by_model[event.model].role.startswith("The")


def test_there_are_sixty() -> None:
    assert len(SCENES) >= 60


async def test_pieces_of_one_answer_work_side_by_side() -> None:
    """Each coworker waits for the other one to have begun."""
    begun = asyncio.Barrier(2)

    async def answer(_: Any) -> str:
        await asyncio.wait_for(begun.wait(), 30)
        return "14 m"

    scene = Scene("", [[give(), give("Writer")], "done"], 4, coworkers={"Researcher": [answer], "Writer": [answer]})
    assert (await scene.build().akickoff()).raw == "done"


async def test_the_paths_of_a_piece() -> None:
    """A piece's steps are below the tool call that handed it out."""
    scene = Scene(
        "",
        [give(), "done"],
        4,
        coworkers={"Researcher": [call("chart", place="Oslo"), "14 m"]},
        tools={"Researcher": [chart]},
    )
    events: list[Event] = []
    await scene.build().akickoff(on_event=events.append)
    finished = [(e.path, e.agent) for e in events if isinstance(e, LLMFinished | ToolFinished)]
    assert finished == [
        ("task_1/1/llm/1", MANAGER),
        ("task_1/1/tool/1/delegate/llm/1", "Researcher"),
        ("task_1/1/tool/1/delegate/tool/1", "Researcher"),
        ("task_1/1/tool/1/delegate/llm/2", "Researcher"),
        ("task_1/1/tool/1", MANAGER),
        ("task_1/1/llm/2", MANAGER),
    ]


async def test_what_the_manager_is_offered() -> None:
    """The coworkers as an enum of the roles, and their goals; at the limit, no more calls."""
    scene = next(scene for scene in SCENES if scene.name == "endless delegation with a limit of two")
    crew = scene.build()
    events: list[Event] = []
    await crew.akickoff(on_event=events.append)
    first, *_, last = models(crew)[0].requests
    delegate, question = first.tools
    for spec in (delegate, question):
        assert spec.parameters["properties"]["coworker"] == {"type": "string", "enum": ["Researcher", "Writer"]}
    assert set(delegate.parameters["properties"]) == {"task", "context", "coworker"}
    assert set(question.parameters["properties"]) == {"question", "context", "coworker"}
    assert "Writer (Be a good writer)" in delegate.description
    assert (first.tool_choice, last.tool_choice) == ("auto", "none")
    assert [e.limit for e in events if isinstance(e, LimitReached)] == ["max_delegations"]


async def test_a_coworker_is_told_the_piece_alone() -> None:
    crew = Scene("", [give(), "done"], 3, coworkers={"Researcher": ["14 m"]}).build()
    await crew.akickoff()
    prompt = str(models(crew)[1].requests[0].messages)
    assert "Find it." in prompt
    assert "For a report." in prompt
    assert "Report on Bergen" not in prompt
    assert models(crew)[1].requests[0].tools == ()


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5])
async def test_a_budget_holds_within_a_piece(limit: int) -> None:
    """The run ends before the call that would be one too many, wherever that is."""
    scene = Scene(
        "",
        [[give(), give("Writer")], "done"],
        6,
        coworkers={"Researcher": [call("chart", place="Oslo"), "14 m"], "Writer": [call("chart", place="Oslo"), "a"]},
        tools={"Researcher": [chart], "Writer": [chart]},
    )
    crew = scene.build()
    output = await crew.akickoff(budget=Budget(max_llm_calls=limit))
    assert (output.status, output.ended_by) == ("limited", "max_llm_calls")
    assert sum(len(llm.requests) for llm in models(crew)) == limit


async def test_a_budget_of_tool_calls_counts_both() -> None:
    scene = Scene(
        "", [give()], 2, coworkers={"Researcher": [call("chart", place="Oslo")]}, tools={"Researcher": [chart]}
    )
    output = await scene.build().akickoff(budget=Budget(max_tool_calls=1))
    assert (output.status, output.ended_by) == ("limited", "max_tool_calls")


async def test_cancel_interrupts_a_piece() -> None:
    """A call of a coworker that is under way is interrupted."""
    begun = asyncio.Event()

    async def answer(_: Any) -> str:
        begun.set()
        await asyncio.sleep(60)
        return "late"

    crew = Scene("", [[give(), give("Writer")]], 3, coworkers={"Researcher": [answer], "Writer": ["a"]}).build()
    runs: list[Any] = []
    work = asyncio.create_task(crew.akickoff(attach=runs.append))
    await asyncio.wait_for(begun.wait(), 30)
    runs[0].interrupt(RunStopped("cancelled", "enough", "cancel"))
    output = await asyncio.wait_for(work, 30)
    assert (output.status, output.ended_by) == ("cancelled", "cancel")


async def test_callbacks_hear_of_coworkers_too() -> None:
    steps: list[Any] = []
    scene = Scene("", [give(), "done"], 3, coworkers={"Researcher": ["14 m"]}, crew={"step_callback": steps.append})
    await scene.build().akickoff()
    assert [getattr(step, "output", None) or step.tool for step in steps] == [
        "14 m",
        "delegate_work_to_coworker",
        "done",
    ]


async def test_results_of_equal_calls_are_used_again_within_pieces() -> None:
    """The crew's cache is one for all."""
    calls: list[str] = []

    @tool
    def count(place: str) -> str:
        """Counts.

        Args:
            place: Where.
        """
        calls.append(place)
        return "14 m"

    look = call("count", place="Oslo")
    scene = Scene(
        "",
        [give(), give("Writer"), "done"],
        7,
        coworkers={"Researcher": [look, "a"], "Writer": [look, "b"]},
        tools={"Researcher": [count], "Writer": [count]},
        crew={"cache": True},
    )
    await scene.build().akickoff()
    assert calls == ["Oslo"]


def test_inputs_of_everybody_are_needed() -> None:
    """Those of agents that have no task, and of the manager."""
    scene = Scene("", [], 0, coworkers={"Pilot of {town}": []}, boss={"goal": "Lead {ship}"})
    crew = scene.build()
    assert crew.fetch_inputs() == {"town", "ship"}
    with pytest.raises(QuarterdeckError, match=r"ship.*town|town.*ship") as caught:
        crew.kickoff()
    assert getattr(caught.value, "missing", None) == ("ship", "town")


async def test_the_crews_rate_limit_holds_for_pieces() -> None:
    """Whoever has none of its own waits for its turn."""
    scene = Scene("", [[give(), give("Writer")], "done"], 4, coworkers={"Researcher": ["a"], "Writer": ["b"]})
    scene.crew = {"max_rpm": 1}
    crew = scene.build()
    crew._rate = RateLimit(1, window=0.05)
    events: list[Event] = []
    await crew.akickoff(on_event=events.append)
    waited = {e.path for e in events if isinstance(e, LimitReached) and e.limit == "max_rpm"}
    assert {"task_1/1", "task_1/1/tool/1/delegate", "task_1/1/tool/2/delegate"} >= waited
    assert len(waited) >= 2


async def test_streams_say_who_writes() -> None:
    """The chunks of a piece are its coworker's."""
    scene = Scene("", [give(), "done"], 3, coworkers={"Researcher": ["14 m"]}, crew={"stream": True})
    stream: Any = await scene.build().akickoff()
    chunks = [(chunk.agent_role, chunk.content) async for chunk in stream if chunk.content]
    assert chunks == [("Researcher", "14 m"), (MANAGER, "done")]


async def test_a_person_answers_later(tmp_path: Path) -> None:
    """The run is left, and gone on with; nothing that was handed out is handed out again."""
    run: dict[str, Any] = {"journal": tmp_path / "runs.db", "run_id": "r", "human": Later()}

    def build(manager: list[Any], answers: list[Any]) -> Crew:
        return Scene("", manager, 0, coworkers={"Researcher": answers}, tasks=[{"human_input": True}]).build()

    first = await build([give(), "deep"], ["14 m"]).akickoff(**run)
    assert (first.status, first.ended_by) == ("pending_human_input", "task_1/1/human/1")
    said = {first.ended_by: HumanAnswer(False, "a figure")}
    second = await build([give(), "14 m"], ["14.0 m"]).akickoff(**run, answers=said)
    assert second.ended_by == "task_1/2/human/1"
    done = await build([], []).akickoff(**run, answers={second.ended_by: HumanAnswer(True)})
    assert (done.status, done.raw, done.tasks_output[0].agent) == ("completed", "14 m", MANAGER)
    assert done.token_usage.successful_requests == 6


async def test_a_hook_that_stops_a_coworkers_call_stops_the_run() -> None:
    """It is no failure of the coworker's."""

    def veto(ctx: Any) -> None:
        if ctx.agent_role == "Researcher":
            raise HookAborted("not now")

    crew = Scene("", [give()], 1, coworkers={"Researcher": ["14 m"]}).build()
    crew.add_hooks(Hook(InterceptionPoint.PRE_MODEL_CALL, veto))
    with pytest.raises(HookAborted, match="not now"):
        await crew.akickoff()
    assert models(crew)[1].requests == []


async def test_a_hook_can_block_a_delegation() -> None:
    """The manager is told."""

    def veto(ctx: Any) -> None:
        if ctx.tool_name == "delegate_work_to_coworker":
            raise HookAborted("do it yourself")

    crew = Scene("", [give(), "done"], 2).build()
    crew.add_hooks(Hook(InterceptionPoint.PRE_TOOL_CALL, veto))
    assert (await crew.akickoff()).raw == "done"
    assert "do it yourself" in str(models(crew)[0].requests[1].messages)


async def test_one_crew_serves_many_runs_at_once() -> None:
    """Limits and pieces are those of each run."""

    def manager(request: LLMRequest) -> Any:
        told = [str(m["content"]) for m in request.messages if m["role"] == "tool"]
        if len(told) < 2:
            return give(task=f"Find {len(told)} of {request.messages[1]['content']}")
        return told[-1]

    def worker(request: LLMRequest) -> Any:
        return after(0.001, str(request.messages[1]["content"]).partition("\n")[0])

    agent = Agent(role="Researcher", goal="g", llm=ScriptedLLM(by=worker))
    crew = Crew(
        agents=[agent],
        tasks=[Task(description="{n}", expected_output="e")],
        process=Process.hierarchical,
        manager_llm=ScriptedLLM(by=manager),
        max_delegations=2,
    )
    outputs = await asyncio.gather(*(crew.akickoff({"n": f"run {n}"}) for n in range(20)))
    assert [output.raw for output in outputs] == [f"Find 1 of run {n}" for n in range(20)]
