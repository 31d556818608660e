"""Hooks: what they see, change and stop, and that a run that goes on is none the wiser."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from quarterdeck import Agent, Crew, CrewOutput, Task, hooks
from quarterdeck.errors import ConfigError, HookError
from quarterdeck.events import LLMFinished, ToolFinished
from quarterdeck.hooks import Hook, HookAborted, InterceptionPoint, LLMCallHookContext, ToolCallHookContext, on
from quarterdeck.runtime.human import HumanAnswer, HumanRequest, Later
from quarterdeck.testing import ScriptedLLM, call
from quarterdeck.tools import tool

P = InterceptionPoint


@pytest.fixture(autouse=True)
def no_hooks() -> Iterator[None]:
    """Each test begins and ends with none."""
    hooks.clear_all_hooks()
    yield
    hooks.clear_all_hooks()


@tool("look up")
def look_up(query: str) -> str:
    """Look up a record."""
    return f"record of {query}"


def make_crew(answers: list[Any], **fields: Any) -> Crew:
    """One agent, one task: ``crew.tasks[0].agent.llm`` is the scripted model."""
    agent = Agent(role="Pilot", goal="Know", llm=ScriptedLLM(answers, schemas=True), tools=[look_up])
    return Crew(tasks=[Task(description="Do {what}.", expected_output="It", agent=agent, **fields)])


def requests(crew: Crew) -> Any:
    agent = crew.tasks[0].agent
    assert agent
    return agent.llm.requests


def test_the_points_come_in_order() -> None:
    """Each point is called once, in order, with its payload; the crew, the task and the agent are there."""
    seen: list[tuple[str, str, str | None]] = []
    for point in P:
        hooks.register_hook(
            point, lambda ctx, point=point: seen.append((point, type(ctx.payload).__name__, ctx.agent_role))
        )
    crew = make_crew([call("look_up", query="x"), "done"])
    assert crew.kickoff({"what": "it"}).raw == "done"
    assert seen == [
        ("execution_start", "dict", None),
        ("input", "dict", None),
        ("pre_step", "str", "Pilot"),
        ("pre_model_call", "list", "Pilot"),
        ("post_model_call", "str", "Pilot"),
        ("pre_tool_call", "dict", "Pilot"),
        ("post_tool_call", "str", "Pilot"),
        ("pre_model_call", "list", "Pilot"),
        ("post_model_call", "str", "Pilot"),
        ("post_step", "TaskOutput", "Pilot"),
        ("output", "CrewOutput", None),
        ("execution_end", "CrewOutput", None),
    ]


def test_each_point_can_change_what_passes() -> None:
    """In place or by a returned value; each change reaches what comes after it."""

    @on(P.EXECUTION_START)
    def start(ctx: Any) -> None:
        ctx.inputs["what"] = "A"

    @on(P.INPUT)
    def ready(ctx: Any) -> dict[str, str]:
        return {"what": ctx.payload["what"] + "B"}

    @on(P.PRE_MODEL_CALL)
    async def add(ctx: LLMCallHookContext) -> None:
        ctx.messages.append({"role": "system", "content": f"call {ctx.iterations}"})

    @on(P.POST_MODEL_CALL)
    def shout(ctx: LLMCallHookContext) -> str:
        return (ctx.response or "").upper()

    @on(P.PRE_TOOL_CALL, tools=["look up"])
    def lower(ctx: ToolCallHookContext) -> None:
        ctx.tool_input["query"] = ctx.tool_input["query"].lower()

    @on(P.POST_TOOL_CALL)
    def mark(ctx: ToolCallHookContext) -> str:
        return f"<{ctx.tool_result}|{ctx.raw_tool_result}>"

    @on(P.POST_STEP)
    def sign(ctx: Any) -> None:
        ctx.output.raw += "!"

    @on(P.OUTPUT)
    def wrap(ctx: Any) -> str:
        return f"[{ctx.output.raw}]"

    crew = make_crew([call("look_up", query="X"), "done"])
    output = crew.kickoff({"what": "it"})
    assert output.raw == "[DONE!]"
    assert output.tasks_output[0].raw == "DONE!"
    first, second = requests(crew)
    assert first.messages[1]["content"].startswith("Do AB.")
    assert [m["content"] for m in first.messages if m["role"] == "system"][1:] == ["call 0"]
    assert [m["content"] for m in second.messages if m["role"] == "system"][1:] == ["call 1"]  # for one call only
    assert next(m for m in second.messages if m["role"] == "tool")["content"] == "<record of x|record of x>"


def test_replaced_messages_and_arguments() -> None:
    """A returned list is what is sent; a returned dict is what the tool is called with."""
    hooks.register_hook(P.PRE_MODEL_CALL, lambda ctx: [{"role": "user", "content": "just this"}])
    hooks.register_hook(P.PRE_TOOL_CALL, lambda ctx: {"query": "other"})
    crew = make_crew([call("look_up", query="x"), "done"])
    seen: list[Any] = []
    crew.kickoff({"what": "it"}, on_event=seen.append)
    assert [r.messages for r in requests(crew)] == [({"role": "user", "content": "just this"},)] * 2
    assert next(e.messages for e in seen if isinstance(e, LLMFinished)) == [{"role": "user", "content": "just this"}]
    assert [e.output for e in seen if isinstance(e, ToolFinished)] == ["record of other"]


def test_context_of_a_task() -> None:
    """PRE_STEP changes what a task is told of the earlier ones."""
    agent = Agent(role="Pilot", goal="Know", llm=ScriptedLLM(["one", "two"]))
    tasks = [Task(description="Do.", expected_output="It", agent=agent, name=name) for name in ("a", "b")]
    hooks.register_hook(P.PRE_STEP, lambda ctx: f"{ctx.payload}+{ctx.step_name}")
    Crew(tasks=tasks).kickoff()
    texts = [r.messages[-1]["content"] for r in agent.llm.requests]
    assert texts[0].endswith("Context:\n+a")
    assert texts[1].endswith("Context:\none+b")


class Mark(BaseModel):
    depth: int


@pytest.mark.parametrize("what", ["raw", "pydantic"])
def test_a_structured_output_stays_consistent(what: str) -> None:
    """The text follows the instance, and the instance the text."""

    @on(P.POST_STEP)
    def change(ctx: Any) -> Any:
        if what == "raw":
            return '{"depth": 7}'
        ctx.payload.pydantic = Mark(depth=7)
        return None

    output = make_crew(['{"depth": 3}'], output_pydantic=Mark).kickoff({"what": "it"})
    assert output.pydantic == Mark(depth=7)
    assert Mark.model_validate_json(output.raw) == Mark(depth=7)


def test_a_changed_output_must_still_fit() -> None:
    hooks.register_hook(P.POST_STEP, lambda ctx: "no JSON")
    with pytest.raises(HookError, match="no longer fits Mark"):
        make_crew(['{"depth": 3}'], output_pydantic=Mark).kickoff({"what": "it"})


@pytest.mark.parametrize(
    "point", [P.EXECUTION_START, P.INPUT, P.PRE_STEP, P.PRE_MODEL_CALL, P.POST_MODEL_CALL, P.POST_STEP, P.OUTPUT]
)
def test_an_abort_ends_the_run(point: InterceptionPoint) -> None:
    """The error says why and who, is a ValueError too, and the task is not tried again."""

    @on(point)
    def never(ctx: Any) -> None:
        raise HookAborted("not today")

    crew = make_crew(["done"])
    with pytest.raises(HookAborted, match="not today \\(stopped by never\\)") as caught:
        crew.kickoff({"what": "it"})
    assert isinstance(caught.value, ValueError)
    assert caught.value.source == "never"
    before = point in (P.EXECUTION_START, P.INPUT, P.PRE_STEP, P.PRE_MODEL_CALL)
    assert len(requests(crew)) == (0 if before else 1)


@pytest.mark.parametrize("point", [P.PRE_TOOL_CALL, P.POST_TOOL_CALL])
def test_a_blocked_tool_is_told_to_the_model(point: InterceptionPoint) -> None:
    """The run goes on; before the call, the tool is not called; after it, its result stays hidden."""
    called: list[str] = []

    @tool
    def secret(query: str) -> str:
        """Tell."""
        called.append(query)
        return "the secret"

    @on(point, tools=["secret"])
    def guard(ctx: ToolCallHookContext) -> None:
        raise HookAborted("policy", source="guard 1")

    agent = Agent(role="Pilot", goal="Know", llm=ScriptedLLM([call("secret", query="x"), "done"]), tools=[secret])
    seen: list[Any] = []
    Crew(tasks=[Task(description="Do.", expected_output="It", agent=agent)]).kickoff(on_event=seen.append)
    event = next(e for e in seen if isinstance(e, ToolFinished))
    assert (event.ok, event.reason) == (False, "blocked")
    assert "guard 1" in event.error
    told = agent.llm.requests[1].messages[-1]["content"]
    assert "blocked: policy" in told
    assert "the secret" not in told
    assert len(called) == (0 if point is P.PRE_TOOL_CALL else 1)


def test_a_failing_hook_ends_the_run() -> None:
    """A guard that breaks does not let through; the error names the hook, and nothing is tried again."""

    @on(P.PRE_TOOL_CALL)
    def broken(ctx: Any) -> None:
        raise KeyError("x")

    crew = make_crew([call("look_up", query="x"), "done"])
    with pytest.raises(HookError, match="hook broken at pre_tool_call failed: KeyError: 'x'"):
        crew.kickoff({"what": "it"})
    assert len(requests(crew)) == 1


@pytest.mark.parametrize(
    ("point", "value"), [(P.PRE_MODEL_CALL, "x"), (P.POST_MODEL_CALL, 3), (P.PRE_TOOL_CALL, "x"), (P.INPUT, 3)]
)
def test_a_value_of_the_wrong_type(point: InterceptionPoint, value: Any) -> None:
    hooks.register_hook(point, lambda ctx: value)
    with pytest.raises(HookError, match="expected"):
        make_crew([call("look_up", query="x"), "done"]).kickoff({"what": "it"})


def test_filters() -> None:
    """Roles and tool names, in any spelling; a filter that has no meaning at a point is refused."""
    seen: list[str] = []
    hooks.register_hook(P.PRE_MODEL_CALL, lambda ctx: seen.append("pilot"), agents=["  pilot "])
    hooks.register_hook(P.PRE_MODEL_CALL, lambda ctx: seen.append("mate"), agents=["Mate"])
    hooks.register_hook(P.PRE_TOOL_CALL, lambda ctx: seen.append("tool"), agents=["Pilot"], tools=["Look Up"])
    hooks.register_hook(P.PRE_TOOL_CALL, lambda ctx: seen.append("other"), tools=["drop"])
    make_crew([call("look_up", query="x"), "done"]).kickoff({"what": "it"})
    assert seen == ["pilot", "tool", "pilot"]
    with pytest.raises(ConfigError, match="tools= has no meaning at pre_model_call"):
        on(P.PRE_MODEL_CALL, tools=["x"])(print)
    with pytest.raises(ConfigError, match="agents= has no meaning at input"):
        on(P.INPUT, agents=["x"])(print)
    with pytest.raises(ConfigError, match="there is no point 'before'"):
        on("before")(print)


def test_the_older_names() -> None:
    """False blocks, a text replaces; they share the registry with ``on``."""

    @hooks.before_llm_call
    def allow(ctx: LLMCallHookContext) -> bool | None:
        return False if ctx.iterations > 1 else None

    @hooks.after_llm_call(agents=["Pilot"])
    def keep(ctx: LLMCallHookContext) -> str | None:
        return ctx.response.replace("done", "DONE") if ctx.response else None

    @hooks.before_tool_call(tools=["look_up"])
    def block(ctx: ToolCallHookContext) -> bool:
        return False

    def seen(ctx: ToolCallHookContext) -> str:
        return "never"

    hooks.register_after_tool_call_hook(seen)
    crew = make_crew([call("look_up", query="x"), "done"])
    assert crew.kickoff({"what": "it"}).raw == "DONE"
    assert "blocked by block" in requests(crew)[1].messages[-1]["content"]
    with pytest.raises(HookAborted, match="blocked by allow"):
        make_crew([call("look_up", query="x")] * 3).kickoff({"what": "it"})
    assert hooks.get_before_llm_call_hooks() == [allow]
    assert hooks.get_hooks("post_tool_call") == [seen]
    assert hooks.unregister_before_llm_call_hook(allow)
    assert not hooks.unregister_before_llm_call_hook(allow)
    assert hooks.clear_all_tool_call_hooks() == (1, 1)
    assert hooks.clear_all_llm_call_hooks() == (0, 1)
    assert hooks.clear_all_global_hooks() == 0


def test_hooks_of_one_crew() -> None:
    """Methods are not called by other crews' runs; those of all runs come first."""
    seen: list[str] = []

    class Harbour:
        name = "harbour"

        @on(P.PRE_MODEL_CALL)
        def model(self, ctx: Any) -> None:
            seen.append(f"{self.name} model")

        @hooks.before_tool_call
        def block(self, ctx: Any) -> bool:
            seen.append(f"{self.name} {ctx.tool_name}")
            return False

    crew, other = (make_crew([call("look_up", query="x"), "done"]) for _ in range(2))
    crew.add_hooks(*hooks.hooks_of(Harbour()))
    crew.add_hooks(Hook(P.OUTPUT, lambda ctx: seen.append("own")))
    hooks.register_hook(P.OUTPUT, lambda ctx: seen.append("all"))
    other.kickoff({"what": "it"})
    assert seen == ["all"]
    crew.kickoff({"what": "it"})
    assert seen[1:] == ["harbour model", "harbour look_up", "harbour model", "all", "own"]


def test_an_agent_on_its_own() -> None:
    """Hooks of calls work with no crew."""
    seen: list[tuple[Any, Any]] = []
    hooks.register_hook(P.PRE_MODEL_CALL, lambda ctx: seen.append((ctx.crew, ctx.agent)))
    agent = Agent(role="Pilot", goal="Know", llm=ScriptedLLM(["done"]))
    agent.kickoff("Go.")
    assert seen == [(None, agent)]


class _Stop(Exception):
    pass


def test_a_run_that_goes_on_has_what_the_hooks_made(tmp_path: Path) -> None:
    """Finished steps keep their changed results, and their hooks are not called again."""
    counts: dict[str, int] = {}

    def count(name: str) -> None:
        counts[name] = counts.get(name, 0) + 1

    hooks.register_hook(P.INPUT, lambda ctx: {"what": "changed"})
    hooks.register_hook(P.PRE_MODEL_CALL, lambda ctx: count("pre_model"))
    hooks.register_hook(P.POST_TOOL_CALL, lambda ctx: count("post_tool") or f"{ctx.tool_result} hooked")
    answers = [call("look_up", query="x"), _Stop()]
    crew = make_crew(answers)
    options: Any = {"journal": str(tmp_path / "runs.db"), "run_id": "r"}
    crew.tasks[0].agent.max_retry_limit = 0  # type: ignore[union-attr]
    with pytest.raises(_Stop):
        crew.kickoff({"what": "it"}, **options)
    assert counts == {"pre_model": 2, "post_tool": 1}
    hooks.clear_hooks(P.INPUT)
    again = make_crew(["done"])
    assert again.kickoff({"what": "it"}, **options).raw == "done"
    assert counts == {"pre_model": 3, "post_tool": 1}
    assert requests(again)[0].messages[-1]["content"] == "record of x hooked"
    assert requests(again)[0].messages[1]["content"].startswith("Do changed.")


class _Answers:
    def __init__(self, *texts: str) -> None:
        self.texts = list(texts)
        self.asked: list[HumanRequest] = []

    async def ask(self, request: HumanRequest) -> HumanAnswer:
        self.asked.append(request)
        return HumanAnswer(True, self.texts.pop(0))


@pytest.mark.parametrize("is_async", [False, True])
def test_a_person_is_asked(is_async: bool) -> None:
    """From a sync hook and from an async one; the answer is what the person said."""

    def sync(ctx: ToolCallHookContext) -> None:
        if ctx.request_human_input(f"Approve {ctx.tool_name}?", "yes or no") != "yes":
            raise HookAborted("refused")

    async def in_loop(ctx: ToolCallHookContext) -> None:
        if await ctx.ask_human(f"Approve {ctx.tool_name}?", "yes or no") != "yes":
            raise HookAborted("refused")

    hooks.register_hook(P.PRE_TOOL_CALL, in_loop if is_async else sync)
    crew = make_crew([call("look_up", query="x"), call("look_up", query="y"), "done"])
    human = _Answers("yes", "no")
    crew.kickoff({"what": "it"}, human=human)
    results = [m["content"] for m in requests(crew)[2].messages if m["role"] == "tool"]
    assert results[0] == "record of x"
    assert "blocked: refused" in results[1]
    assert [(r.output, r.question) for r in human.asked] == [("Approve look_up?", "yes or no")] * 2
    assert human.asked[0].path == "task_1/1/tool/1/before/human/1"


def test_an_answer_that_comes_later(tmp_path: Path) -> None:
    """The run waits for a person before a tool call, and goes on with the answer."""

    @on(P.PRE_TOOL_CALL)
    def ask(ctx: ToolCallHookContext) -> None:
        if ctx.request_human_input("Approve?") != "yes":
            raise HookAborted("refused")

    options: Any = {"journal": str(tmp_path / "runs.db"), "run_id": "r"}
    output = make_crew([call("look_up", query="x")]).kickoff({"what": "it"}, human=Later(), **options)
    assert output.status == "pending_human_input"
    crew = make_crew(["done"])
    answers = {output.ended_by: HumanAnswer(True, "yes")}
    assert crew.kickoff({"what": "it"}, answers=answers, **options).raw == "done"
    assert requests(crew)[0].messages[-1]["content"] == "record of x"


def test_asking_on_the_loop_is_refused() -> None:
    @on(P.PRE_TOOL_CALL)
    async def ask(ctx: ToolCallHookContext) -> None:
        ctx.request_human_input("Approve?")

    with pytest.raises(HookError, match=r"await ctx\.ask_human"):
        make_crew([call("look_up", query="x"), "done"]).kickoff({"what": "it"})


def test_a_cached_result_is_hooked_each_time() -> None:
    """The cache has what the tool gave; the hook sees each call, and sees it once."""
    hooks.register_hook(P.POST_TOOL_CALL, lambda ctx: f"<{ctx.tool_result}>")
    crew = make_crew([call("look_up", query="x"), call("look_up", query="x"), "done"])
    crew = crew.model_copy(update={"cache": True})
    crew.kickoff({"what": "it"})
    results = [m["content"] for m in requests(crew)[2].messages if m["role"] == "tool"]
    assert results == ["<record of x>"] * 2


async def test_runs_at_once_keep_their_own_context() -> None:
    """Hooks of overlapping runs see the crew of their own run."""
    seen: list[tuple[str, str]] = []

    @on(P.PRE_MODEL_CALL)
    async def note(ctx: LLMCallHookContext) -> None:
        await asyncio.sleep(0)
        seen.append((ctx.crew.name, ctx.messages[-1]["content"].split(".")[0]))

    crews = [make_crew(["done"]).model_copy(update={"name": f"crew {n}"}) for n in range(20)]
    await asyncio.gather(*(crew.akickoff({"what": f"crew {n}"}) for n, crew in enumerate(crews)))
    assert sorted(seen) == sorted((f"crew {n}", f"Do crew {n}") for n in range(20))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(["none", "change", "return", "abort"]), max_size=5))
def test_a_chain_of_hooks(kinds: list[str]) -> None:
    """Hooks see what those before them made; after an abort none is called."""
    hooks.clear_all_hooks()
    expected, calls, aborted = "done", 0, False
    for kind in kinds:
        hooks.register_hook(P.OUTPUT, _link(kind))
        if not aborted:
            calls += 1
            aborted = kind == "abort"
            expected += {"none": "", "change": "c", "return": "r", "abort": ""}[kind]
    _called.clear()
    try:
        output: CrewOutput | None = make_crew(["done"]).kickoff({"what": "it"})
    except HookAborted:
        output = None
    assert (output is None) == aborted
    assert len(_called) == calls
    if output:
        assert output.raw == expected


_called: list[str] = []


def _link(kind: str) -> Any:
    def hook(ctx: Any) -> Any:
        _called.append(kind)
        if kind == "change":
            ctx.output.raw += "c"
        if kind == "abort":
            raise HookAborted("enough")
        return ctx.output.raw + "r" if kind == "return" else None

    return hook
