"""Flows as streams, with hooks, and on the event bus."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from quarterdeck import Agent, Crew, Task, bus, hooks
from quarterdeck.bus import crewai_event_bus
from quarterdeck.errors import HookError
from quarterdeck.flow import Flow, human_feedback, listen, router, start
from quarterdeck.hooks import HookAborted, InterceptionPoint, on
from quarterdeck.llm.types import LLMRequest, LLMResponse, OnDelta
from quarterdeck.runtime.human import HumanAnswer, HumanRequest
from quarterdeck.streaming import FlowStreamingOutput
from quarterdeck.testing import ScriptedLLM, call
from quarterdeck.tools import tool

P = InterceptionPoint


@pytest.fixture(autouse=True)
def nobody_else() -> Iterator[None]:
    """Neither hooks nor handlers of other tests."""
    hooks.clear_all_hooks()
    with crewai_event_bus.scoped_handlers():
        yield
    hooks.clear_all_hooks()


@tool
def look_up(query: str) -> str:
    """Look up a record."""
    return f"record of {query}"


class Harbour(Flow):
    """A crew in one method, an agent in the next, then a router."""

    llm: Any = None

    @start()
    def survey(self) -> str:
        pilot = Agent(role="Pilot", goal="Know", llm=self.llm, tools=[look_up])
        crew = Crew(name="crew", tasks=[Task(description="Do.", expected_output="It", agent=pilot, name="t")])
        return crew.kickoff().raw

    @listen(survey)
    async def report(self, text: str) -> str:
        clerk = Agent(role="Clerk", goal="Write", llm=self.llm)
        return (await clerk.akickoff(f"Write of {text}.")).raw

    @router(report)
    def decide(self) -> str:
        return "end"


def harbour(*answers: Any, **fields: Any) -> Harbour:
    flow = Harbour(**fields)
    flow.llm = ScriptedLLM(answers or [call("look_up", query="x"), "surveyed", "written"])
    return flow


def test_a_flow_as_chunks() -> None:
    """What the crews and agents in its methods write; then its result."""
    stream: Any = harbour(stream=True).kickoff()
    assert isinstance(stream, FlowStreamingOutput)
    chunks = [(c.content, c.agent_role, c.task_name) for c in stream]
    assert chunks == [("", "Pilot", "t"), ("surveyed", "Pilot", "t"), ("written", "Clerk", "")]
    assert stream.result == "end"
    assert stream.get_full_text() == "surveyedwritten"
    assert harbour(stream=True).kickoff(stream=False) == "end"


async def test_a_flow_as_chunks_async() -> None:
    flow = harbour(stream=True)
    stream: Any = await flow.akickoff()
    async with stream:
        assert [c.content async for c in stream if c.content] == ["surveyed", "written"]
    assert stream.result == "end"
    assert flow.method_outputs == ["surveyed", "written", "end"]


def test_a_flow_as_frames() -> None:
    """All that happens, on channels, numbered."""
    with harbour().stream_events() as stream:
        assert "".join(frame.content for frame in stream.llm) == "surveyedwritten"
    assert stream.result == "end"
    assert [frame.seq for frame in stream.events] == list(range(1, len(stream.chunks) + 1))
    assert [(f.type, f.data["method_name"]) for f in stream.flow if "method_name" in f.data] == [
        ("method_execution_started", "survey"),
        ("method_execution_finished", "survey"),
        ("method_execution_started", "report"),
        ("method_execution_finished", "report"),
        ("method_execution_started", "decide"),
        ("method_execution_finished", "decide"),
    ]
    flow_frames = [frame.type for frame in stream.flow]
    assert (flow_frames[0], flow_frames[-1]) == ("flow_started", "flow_finished")
    assert flow_frames.count("flow_started") == 1
    assert [(f.type, f.event["tool_name"]) for f in stream.tools] == [
        ("tool_usage_started", "look_up"),
        ("tool_usage_finished", "look_up"),
    ]
    order = [f.channel for f in stream.interleave(["llm", "tools"])]
    assert order.index("tools") > order.index("llm")


class Slow(ScriptedLLM):
    """Begins an answer and does not end it."""

    interrupted = False

    async def complete(self, request: LLMRequest, on_delta: OnDelta | None = None) -> LLMResponse:
        if on_delta:
            on_delta("first")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.interrupted = True
            raise
        return await super().complete(request, on_delta)


async def test_closing_a_flow_s_stream() -> None:
    """The call under way is interrupted, also one that a sync method has made."""
    llm = Slow(["never"])
    clerk = Agent(role="Clerk", goal="Write", llm=llm)

    class Ask(Flow):
        @start()
        async def ask(self) -> str:
            return (await clerk.akickoff("Write.")).raw

    class AskInThread(Flow):
        @start()
        def ask(self) -> str:
            task = Task(description="Do.", expected_output="It", agent=clerk)
            return Crew(tasks=[task]).kickoff().raw

    class AskModel(Flow):
        @start()
        def ask(self) -> Any:
            return llm.call("Write.")

    for kind in (Ask, AskInThread, AskModel):
        llm.interrupted = False
        async with kind().astream() as stream:
            async for frame in stream.llm:
                if frame.content:
                    break
        assert llm.interrupted, kind
        assert stream.result.status == "cancelled"


def test_closing_from_sync_code() -> None:
    """The same on the background loop."""
    llm = Slow(["never"])
    flow = harbour(stream=True)
    flow.llm = llm
    with flow.kickoff() as stream:
        for chunk in stream:
            assert chunk.content == "first"
            break
    assert llm.interrupted
    assert stream.result.status == "cancelled"


def test_hooks_of_a_flow(tmp_path: Path) -> None:
    """Inputs, each method's parameters and result, the output."""
    seen: list[tuple[str, str, Any]] = []

    @on(P.INPUT)
    def named(ctx: Any) -> None:
        ctx.inputs["ship"] = ctx.inputs["ship"].upper()

    @on(P.PRE_STEP)
    def before(ctx: Any) -> None:
        seen.append((ctx.kind, ctx.step_name, dict(ctx.payload)))
        if "_0" in ctx.payload:
            ctx.payload["_0"] += "?"

    @on(P.POST_STEP)
    def after(ctx: Any) -> Any:
        return f"{ctx.output}!"

    @on(P.OUTPUT)
    def wrap(ctx: Any) -> str:
        return f"[{ctx.output}]"

    class Dock(Flow):
        @start()
        def hail(self) -> str:
            return str(self.state["ship"])

        @listen(hail)
        def answer(self, text: str) -> str:
            return text

    options: Any = {"journal": str(tmp_path / "runs.db"), "run_id": "r"}
    assert Dock().kickoff({"ship": "anna"}, **options) == "[ANNA!?!]"
    assert seen == [("flow_method", "hail", {}), ("flow_method", "answer", {"_0": "ANNA!"})]
    assert Dock().kickoff({"ship": "anna"}, **options) == "[ANNA!?!]"  # completed: no method again
    assert len(seen) == 2


def test_a_hook_stops_a_method() -> None:
    """Before it is called; a hook that loses a parameter is an error."""
    called: list[str] = []

    class Dock(Flow):
        @start()
        def hail(self) -> str:
            return "x"

        @listen(hail)
        def publish(self, text: str) -> None:
            called.append(text)

    @on(P.PRE_STEP)
    def guard(ctx: Any) -> None:
        if ctx.step_name == "publish":
            raise HookAborted("not reviewed")

    with pytest.raises(HookAborted, match="not reviewed"):
        Dock().kickoff()
    hooks.clear_all_hooks()
    hooks.register_hook(P.PRE_STEP, lambda ctx: {} if ctx.step_name == "publish" else None)
    with pytest.raises(HookError, match="must leave the parameters _0"):
        Dock().kickoff()
    assert called == []


def test_a_flow_on_the_bus() -> None:
    """The flow's events, those of the crew and the agent in it, and their tree."""
    seen: list[tuple[Any, Any]] = []
    crewai_event_bus.register_handler(bus.BaseEvent, lambda source, event: seen.append((source, event)))
    harbour().kickoff(run_id="r")
    crewai_event_bus.flush()
    types = [event.type for _, event in seen]
    assert (types[0], types[-1]) == ("flow_started", "flow_finished")
    for kind in ("crew_kickoff_started", "crew_kickoff_completed", "lite_agent_execution_completed"):
        assert types.count(kind) == 1, types
    assert {type(source) for source, event in seen if isinstance(event, bus.FlowEvent)} == {Harbour}
    names = {event.event_id: event.type for _, event in seen}
    tree = {(names.get(event.parent_event_id), event.type) for _, event in seen}
    assert tree >= {
        ("flow_started", "method_execution_started"),
        ("method_execution_started", "crew_kickoff_started"),
        ("crew_kickoff_started", "task_started"),
        ("task_started", "agent_execution_started"),
        ("method_execution_started", "lite_agent_execution_started"),
        ("lite_agent_execution_started", "agent_execution_started"),
    }


def test_a_flow_that_fails_on_the_bus() -> None:
    seen: list[Any] = []
    crewai_event_bus.register_handler(bus.FlowEvent, lambda source, event: seen.append(event))

    class Broken(Flow):
        @start()
        def fail(self) -> None:
            raise LookupError("gone")

    with pytest.raises(LookupError):
        Broken().kickoff()
    crewai_event_bus.flush()
    assert [event.type for event in seen][-2:] == ["method_execution_failed", "flow_failed"]
    assert all("gone" in event.error for event in seen[-2:])


class Captain:
    """Says yes."""

    async def ask(self, request: HumanRequest) -> HumanAnswer:
        return HumanAnswer(True, "anchor")


def test_persons_on_the_bus() -> None:
    """Feedback on a method's result, and a question within one."""
    seen: list[Any] = []
    for kind in (
        bus.HumanFeedbackRequestedEvent,
        bus.HumanFeedbackReceivedEvent,
        bus.FlowInputRequestedEvent,
        bus.FlowInputReceivedEvent,
    ):
        crewai_event_bus.register_handler(kind, lambda source, event: seen.append(event))

    class Dock(Flow):
        @start()
        def where(self) -> str:
            return str(self.ask("Where?"))

        @listen(where)
        @human_feedback(message="Is it good?")
        def plan(self, text: str) -> str:
            return text

    Dock().kickoff(human=Captain())
    crewai_event_bus.flush()
    assert [(event.type, event.method_name) for event in seen] == [
        ("flow_input_requested", "where"),
        ("flow_input_received", "where"),
        ("human_feedback_requested", "plan"),
        ("human_feedback_received", "plan"),
    ]
    assert (seen[0].message, seen[1].response, seen[2].output, seen[3].feedback) == (
        "Where?",
        "anchor",
        "anchor",
        "anchor",
    )


def test_a_reader_in_another_thread() -> None:
    """A stream may be read where it was not made."""
    stream: Any = harbour(stream=True).kickoff()
    texts: list[str] = []
    reader = threading.Thread(target=lambda: texts.extend(chunk.content for chunk in stream))
    reader.start()
    reader.join(30)
    assert "".join(texts) == "surveyedwritten"
    assert stream.result == "end"
