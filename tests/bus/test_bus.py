"""The event bus: CrewAI's events of a run, in order, to handlers that hold nothing up."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from quarterdeck import Agent, Crew, Task, bus
from quarterdeck.bus import BaseEvent, BaseEventListener, Depends, crewai_event_bus
from quarterdeck.bus.types.llm_events import LLMCallStartedEvent
from quarterdeck.bus.types.reasoning_events import ReasoningEvent
from quarterdeck.errors import ConfigError, ProviderDownError
from quarterdeck.events import subscribers
from quarterdeck.project import CrewBase
from quarterdeck.project import agent as agent_of
from quarterdeck.project import crew as crew_of
from quarterdeck.project import task as task_of
from quarterdeck.testing import ScriptedLLM, call
from quarterdeck.tools import tool


@pytest.fixture(autouse=True)
def own_handlers() -> Iterator[None]:
    """Handlers of a test are told of its runs alone."""
    with crewai_event_bus.scoped_handlers():
        yield


@tool
def look_up(query: str) -> str:
    """Look up a record."""
    if query == "bad":
        raise ValueError("no such record")
    return f"record of {query}"


def make_crew(*answers: Any, **fields: Any) -> Crew:
    agent = Agent(role="Pilot", goal="Know", llm=ScriptedLLM(answers, max_retries=0), tools=[look_up])
    return Crew(name="harbour", tasks=[Task(description="Do.", expected_output="It", agent=agent, name="t", **fields)])


def seen_by(*kinds: type[BaseEvent]) -> list[tuple[Any, Any]]:
    """What a handler of these events is told: sources and events."""
    seen: list[tuple[Any, Any]] = []
    for kind in kinds:
        crewai_event_bus.register_handler(kind, lambda source, event: seen.append((source, event)))
    return seen


def test_a_run_in_crewai_s_events() -> None:
    """In order, with sources, fields, and the ids that make them a tree."""
    seen = seen_by(BaseEvent)
    crew = make_crew(call("look_up", query="x"), "done")
    crew.kickoff()
    assert crewai_event_bus.flush()
    assert [event.type for _, event in seen] == [
        "crew_kickoff_started",
        "task_started",
        "agent_execution_started",
        "agent_logs_started",
        "llm_call_started",
        "llm_call_completed",
        "tool_usage_started",
        "tool_usage_finished",
        "agent_logs_execution",
        "llm_call_started",
        "llm_call_completed",
        "agent_execution_completed",
        "agent_logs_execution",
        "task_completed",
        "crew_kickoff_completed",
    ]
    task = crew.tasks[0]
    agent = task.agent
    assert agent
    by_type = {event.type: (source, event) for source, event in reversed(seen)}
    assert by_type["crew_kickoff_started"][0] is crew
    assert by_type["crew_kickoff_started"][1].crew_name == "harbour"
    assert by_type["crew_kickoff_completed"][1].output.raw == "done"
    assert by_type["crew_kickoff_completed"][1].total_tokens == crew.usage_metrics.total_tokens  # type: ignore[union-attr]
    assert by_type["task_started"][0] is task
    assert by_type["task_completed"][1].output.raw == "done"
    started = by_type["agent_execution_started"][1]
    assert (started.agent, started.task, started.agent_role, started.task_name) == (agent, task, "Pilot", "t")
    assert started.task_prompt.startswith("Do.")
    assert [t.name for t in started.tools] == ["look_up"]
    asked = by_type["llm_call_started"]
    assert (asked[0], asked[1].model, asked[1].agent_id, asked[1].task_id) == (agent.llm, "scripted", agent.id, task.id)
    assert asked[1].messages[-1]["role"] == "user"
    assert asked[1].tools[0]["function"]["name"] == "look_up"
    finished = by_type["tool_usage_finished"][1]
    assert (finished.tool_name, finished.tool_args, finished.output) == ("look_up", {"query": "x"}, "record of x")
    assert finished.started_at <= finished.finished_at
    assert [event.emission_sequence for _, event in seen] == sorted(event.emission_sequence for _, event in seen)

    parents = {event.event_id: event.type for _, event in seen}
    tree = {(parents.get(event.parent_event_id), event.type) for _, event in seen}
    assert (None, "crew_kickoff_started") in tree
    assert ("crew_kickoff_started", "task_started") in tree
    assert ("task_started", "agent_execution_started") in tree
    assert ("agent_execution_started", "tool_usage_started") in tree
    ends = {event.type: parents[event.started_event_id] for _, event in seen if event.started_event_id}
    assert ends == {
        "llm_call_completed": "llm_call_started",
        "tool_usage_finished": "tool_usage_started",
        "agent_execution_completed": "agent_execution_started",
        "task_completed": "task_started",
        "crew_kickoff_completed": "crew_kickoff_started",
    }


def types_of(seen: list[tuple[Any, Any]]) -> list[str]:
    crewai_event_bus.flush()
    return [event.type for _, event in seen]


def test_failures() -> None:
    """Of a tool, by its reason; of a model, its agent, the task and the crew."""
    seen = seen_by(bus.ToolUsageEvent)
    make_crew([call("look_up", query="bad"), call("nothing"), call("look_up", wrong=1)], "done").kickoff()
    assert types_of(seen).count("tool_usage_error") == 3
    kinds = {event.type: event for _, event in seen}
    assert kinds["tool_execution_error"].tool_args == {"query": "bad"}
    assert kinds["tool_selection_error"].tool_name == "nothing"
    assert "query" in kinds["tool_validate_input_error"].error
    assert kinds["tool_failure_detected"].failure.message
    assert "tool_usage_finished" not in kinds
    seen = seen_by(
        bus.LLMCallFailedEvent, bus.AgentExecutionErrorEvent, bus.TaskFailedEvent, bus.CrewKickoffFailedEvent
    )
    with pytest.raises(ProviderDownError):
        make_crew(ProviderDownError("gone")).kickoff()
    assert types_of(seen) == ["llm_call_failed", "agent_execution_error", "task_failed", "crew_kickoff_failed"]
    assert all("gone" in event.error for _, event in seen)


def test_a_guardrail_that_refuses() -> None:
    """Each verdict, with how often it had been tried before."""
    seen = seen_by(bus.LLMGuardrailStartedEvent, bus.LLMGuardrailCompletedEvent)
    make_crew("tea", "coffee", guardrail=lambda output: (output.raw != "tea", output.raw)).kickoff()
    assert types_of(seen) == ["llm_guardrail_started", "llm_guardrail_completed"] * 2
    begun, verdicts = [event for _, event in seen[::2]], [event for _, event in seen[1::2]]
    assert [(event.guardrail_name, event.retry_count) for event in begun] == [("<lambda>", 0), ("<lambda>", 1)]
    assert [event.started_event_id for event in verdicts] == [event.event_id for event in begun]
    assert [(event.success, event.retry_count, event.error) for event in verdicts] == [
        (False, 0, "tea"),
        (True, 1, None),
    ]


class Depth(BaseModel):
    fathoms: int


def test_structured_outputs_guardrails_and_chunks() -> None:
    """An instance is one again; a guardrail's verdict and pieces of text are told."""
    seen = seen_by(bus.TaskCompletedEvent, bus.LLMGuardrailCompletedEvent, bus.LLMStreamChunkEvent)
    crew = make_crew('{"fathoms": 3}', output_pydantic=Depth, guardrail=lambda output: (True, output))
    crew.kickoff(stream=True)
    assert types_of(seen) == ["llm_stream_chunk", "llm_guardrail_completed", "task_completed"]
    assert seen[0][1].chunk == '{"fathoms": 3}'
    assert seen[1][1].success
    assert seen[2][1].output.pydantic == Depth(fathoms=3)


def test_an_agent_on_its_own() -> None:
    seen = seen_by(bus.LiteAgentExecutionStartedEvent, bus.LiteAgentExecutionCompletedEvent, bus.CrewBaseEvent)
    Agent(role="Pilot", goal="Know", llm=ScriptedLLM(["done"])).kickoff("Go.")
    assert types_of(seen) == ["lite_agent_execution_started", "lite_agent_execution_completed"]
    assert seen[0][1].agent_info["role"] == "Pilot"
    assert (seen[0][1].messages, seen[1][1].output) == ("Go.", "done")


def test_a_slow_handler_holds_nothing_up() -> None:
    """The run ends while its first handler still waits; the others are told afterwards, in order."""
    gate = threading.Event()
    seen: list[str] = []

    @crewai_event_bus.on(bus.CrewKickoffStartedEvent)
    def slow(source: Any, event: Any) -> None:
        gate.wait(30)
        seen.append("slow")

    @crewai_event_bus.on(bus.TaskStartedEvent)
    async def quick(source: Any, event: Any) -> None:
        await asyncio.sleep(0)
        seen.append("quick")

    make_crew("done").kickoff()
    assert seen == []
    assert not crewai_event_bus.flush(timeout=0.01)
    gate.set()
    assert crewai_event_bus.flush()
    assert seen == ["slow", "quick"]


async def test_each_run_has_its_own_order() -> None:
    """Many at once, with handlers that take different times."""
    seen: dict[str, list[str]] = {}

    @crewai_event_bus.on(BaseEvent)
    def note(source: Any, event: Any) -> None:
        time.sleep(0.0001 * (event.emission_sequence % 3))
        seen.setdefault(event.run_id, []).append(event.type)

    await asyncio.gather(*(make_crew("done").akickoff() for _ in range(20)))
    assert await asyncio.to_thread(crewai_event_bus.flush)
    assert len(seen) == 20
    assert len({tuple(types) for types in seen.values()}) == 1


def test_no_handler_no_cost() -> None:
    """Without handlers the bus is not subscribed to runs; with one, to what it needs."""
    assert subscribers() == []
    seen = seen_by(bus.TaskStartedEvent)
    assert len(subscribers()) == 1
    assert len(subscribers()[0][1]) == 1
    make_crew("done").kickoff()
    assert types_of(seen) == ["task_started"]
    crewai_event_bus.shutdown()
    assert subscribers() == []


def test_off_and_scopes() -> None:
    """A handler that was taken off is told of nothing; scopes keep handlers apart."""
    outer: list[Any] = []

    def handler(source: Any, event: Any) -> None:
        outer.append(event)

    crewai_event_bus.register_handler(bus.TaskStartedEvent, handler)
    with crewai_event_bus.scoped_handlers():
        inner = seen_by(bus.TaskStartedEvent)
        make_crew("done").kickoff()
    assert (len(inner), len(outer)) == (1, 0)
    make_crew("done").kickoff()
    crewai_event_bus.flush()
    assert (len(inner), len(outer)) == (1, 1)
    crewai_event_bus.off(bus.TaskStartedEvent, handler)
    make_crew("done").kickoff()
    crewai_event_bus.flush()
    assert len(outer) == 1


def test_one_that_fails_does_not_disturb_the_others(caplog: pytest.LogCaptureFixture) -> None:
    @crewai_event_bus.on(bus.TaskStartedEvent)
    def broken(source: Any, event: Any) -> None:
        raise SystemExit("no")

    seen = seen_by(bus.TaskStartedEvent, bus.TaskCompletedEvent)
    assert make_crew("done").kickoff().raw == "done"
    assert types_of(seen) == ["task_started", "task_completed"]
    assert "a handler of task_started failed" in caplog.text


def test_dependencies() -> None:
    """Handlers are called in the order of registration; a dependency has to be there."""
    order: list[str] = []

    @crewai_event_bus.on(bus.TaskStartedEvent)
    def first(source: Any, event: Any) -> None:
        order.append("first")

    @crewai_event_bus.on(bus.TaskStartedEvent, depends_on=[Depends(first)])
    def second(source: Any, event: Any) -> None:
        order.append("second")

    make_crew("done").kickoff()
    crewai_event_bus.flush()
    assert order == ["first", "second"]
    with pytest.raises(ConfigError, match="'print' is no handler yet"):
        crewai_event_bus.on(bus.TaskStartedEvent, depends_on=print)(first)
    with pytest.raises(ConfigError, match="subclass of BaseEvent"):
        crewai_event_bus.register_handler(str, first)  # type: ignore[arg-type]


class Docked(BaseEvent):
    type: str = "docked"
    ship: str


async def test_events_of_one_s_own() -> None:
    """Emitted anywhere; in a tool, they take their place in the run."""
    seen = seen_by(Docked, bus.ToolUsageStartedEvent, bus.ToolUsageFinishedEvent)
    assert crewai_event_bus.emit("me", BaseEvent()) is None  # nobody wants it
    future = crewai_event_bus.emit("me", Docked(ship="Anna"))
    assert future is not None
    await asyncio.wrap_future(future)
    await crewai_event_bus.aemit("me", Docked(ship="Berta"))
    assert [(source, event.ship) for source, event in seen] == [("me", "Anna"), ("me", "Berta")]

    @tool
    def dock(ship: str) -> str:
        """Dock."""
        crewai_event_bus.emit("tool", Docked(ship=ship))
        return "docked"

    agent = Agent(role="Pilot", goal="Know", llm=ScriptedLLM([call("dock", ship="Carla"), "done"]), tools=[dock])
    await Crew(tasks=[Task(description="Do.", expected_output="It", agent=agent)]).akickoff(run_id="r")
    await asyncio.to_thread(crewai_event_bus.flush)
    assert [event.type for _, event in seen[2:]] == ["tool_usage_started", "docked", "tool_usage_finished"]
    assert seen[3][1].run_id == "r"


def test_a_listener() -> None:
    """A class that registers its handlers when an object of it is made."""
    seen: list[str] = []

    class Listener(BaseEventListener):
        def setup_listeners(self, crewai_event_bus: bus.CrewAIEventsBus) -> None:
            @crewai_event_bus.on(bus.CrewKickoffCompletedEvent)
            def completed(source: Any, event: Any) -> None:
                seen.append(f"{event.crew_name}: {event.output}")

    Listener()
    make_crew("done").kickoff()
    crewai_event_bus.flush()
    assert seen == ["harbour: done"]


def test_crewai_s_modules_and_names() -> None:
    """The classes are in the modules that CrewAI has them in, and each has a type of its own."""
    import importlib

    for module in ("crew", "task", "agent", "tool_usage", "llm", "flow", "llm_guardrail", "memory", "knowledge"):
        importlib.import_module(f"quarterdeck.bus.types.{module}_events")
    kinds = [getattr(bus, name) for name in bus.__all__]
    made = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseEvent)]
    types = [kind.model_fields["type"].default for kind in made if not kind.__subclasses__() and kind is not BaseEvent]
    assert len(types) == len(set(types)) > 60


def test_hooks_of_a_crew_class() -> None:
    """The decorated methods of a @CrewBase class are hooks of its crew."""
    from quarterdeck.hooks import InterceptionPoint, on

    seen: list[str] = []

    @CrewBase
    class Harbour:
        @agent_of
        def pilot(self) -> Agent:
            return Agent(role="Pilot", goal="Know", llm=ScriptedLLM(["done"] * 2))

        @task_of
        def steer(self) -> Task:
            return Task(description="Do.", expected_output="It", agent=self.pilot())

        @on(InterceptionPoint.PRE_MODEL_CALL)
        def note(self, ctx: Any) -> None:
            seen.append(ctx.crew.name)

        @crew_of
        def crew(self) -> Crew:
            return Crew(agents=self.agents, tasks=self.tasks)  # type: ignore[attr-defined]

    Harbour().crew().kickoff()
    make_crew("done").kickoff()
    assert seen == ["Harbour"]


def test_plans() -> None:
    """An agent's plan, and one that could not be made; each call is part of it."""
    seen = seen_by(ReasoningEvent, LLMCallStartedEvent)
    good = '{"steps": ["Look."], "ready": true}'
    crew = make_crew('{"steps": ["Guess."], "ready": false}', good, "done")
    agent = crew.tasks[0].agent
    assert agent
    agent.planning = True
    crew.kickoff()
    agent.llm = ScriptedLLM(["no"] * 3 + ["done"])
    crew.kickoff()
    assert crewai_event_bus.flush()
    started, first, second, completed, _, again, *_, failed, _ = [event for _, event in seen]
    assert (started.type, again.type) == ("agent_reasoning_started", "agent_reasoning_started")
    assert (completed.plan, completed.ready, completed.attempt) == ("1. Look.", True, 2)
    assert (completed.agent_role, completed.task_name) == ("Pilot", "t")
    assert completed.started_event_id == started.event_id == first.parent_event_id == second.parent_event_id
    assert (failed.type, failed.attempt) == ("agent_reasoning_failed", 1)
    assert "does not fit" in failed.error
