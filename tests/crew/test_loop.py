"""The agent loop: the messages that the model gets, tools, limits."""

from __future__ import annotations

import asyncio
import datetime
import json
from typing import Any

import pytest
from pydantic import BaseModel
from tests.crew.conftest import prompt, roles

from quarterdeck import Agent, Budget, Crew, Task
from quarterdeck.agent import AgentAction, AgentFinish
from quarterdeck.errors import (
    BadRequestError,
    ConfigError,
    ContextTooLongError,
    MalformedResponseError,
    TaskTimeoutError,
)
from quarterdeck.events import LimitReached, ToolFinished
from quarterdeck.testing import LoopbackServer, ScriptedLLM, after, call
from quarterdeck.tools import BaseTool, tool


def test_no_tools_one_task(make_agent: Any, make_task: Any) -> None:
    """System and user, and any text is final."""
    agent = make_agent(["any text"])
    assert Crew(tasks=[make_task(agent)]).kickoff().raw == "any text"
    system, user = agent.llm.requests[0].messages
    assert (system["role"], user["role"]) == ("system", "user")
    assert all(part in system["content"] for part in ("Pilot", "Know the way", "Old."))
    assert user["content"] == "Do it.\n\nExpected output: It"


def test_native_tool_call(make_agent: Any, make_task: Any, lookup: Any) -> None:
    """The assistant's calls, then one tool message for each, then the answer; the spec is the function's."""
    agent = make_agent([call("lookup", query="x"), "final"], tools=[lookup])
    assert Crew(tasks=[make_task(agent)]).kickoff().raw == "final"
    first, second = agent.llm.requests
    assert [t.name for t in first.tools] == ["lookup"]
    assert first.tools[0].parameters["required"] == ["query"]
    assert roles(agent, 1) == ["system", "user", "assistant", "tool"]
    assistant, result = second.messages[2:]
    assert assistant["tool_calls"][0]["function"] == {"name": "lookup", "arguments": '{"query": "x"}'}
    assert result["tool_call_id"] == assistant["tool_calls"][0]["id"]
    assert (result["name"], result["content"]) == ("lookup", "record of x")


def test_parallel_calls_keep_the_models_order(make_agent: Any, make_task: Any) -> None:
    """Several calls of one answer run at once; their results stand in the model's order."""
    running, most = 0, 0

    @tool
    async def wait(seconds: float) -> str:
        """Wait.

        Args:
            seconds: How long.
        """
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(seconds)
        running -= 1
        return f"waited {seconds}"

    agent = make_agent([[call("wait", seconds=0.1), call("wait", seconds=0.01)], "final"], tools=[wait])
    Crew(tasks=[make_task(agent)]).kickoff()
    assert most == 2
    contents = [m["content"] for m in agent.llm.requests[1].messages if m["role"] == "tool"]
    assert contents == ["waited 0.1", "waited 0.01"]


def test_wrong_calls_are_told_to_the_model(make_agent: Any, make_task: Any, lookup: Any) -> None:
    """An unknown tool and wrong arguments are answered with what would be right; the loop goes on."""
    agent = make_agent([call("nothing"), call("lookup", wrong=1), "final"], tools=[lookup])
    assert Crew(tasks=[make_task(agent)]).kickoff().raw == "final"
    first, second = (agent.llm.requests[n].messages[-1]["content"] for n in (1, 2))
    assert "nothing" in first
    assert "lookup" in first
    assert "query" in second


def test_an_exception_in_a_tool_is_told_to_the_model(make_agent: Any, make_task: Any) -> None:
    """The type and the words, and no traceback."""

    @tool
    def broken() -> str:
        """Fail."""
        raise LookupError("the drawer is empty")

    agent = make_agent([call("broken"), "sorry"], tools=[broken])
    assert Crew(tasks=[make_task(agent)]).kickoff().raw == "sorry"
    told = agent.llm.requests[1].messages[-1]["content"]
    assert "LookupError: the drawer is empty" in told
    assert "Traceback" not in told


def test_result_as_answer(make_agent: Any, make_task: Any) -> None:
    """The tool's text is the answer, unmodified, with no further call; a failure of it is not."""

    class Report(BaseTool):
        name: str = "report"
        description: str = "Reports."
        result_as_answer: bool = True

        def _run(self, fail: bool = False) -> str:
            if fail:
                raise ValueError("no ink")
            return "  the report\n"

    agent = make_agent([call("report", fail=True), call("report")], tools=[Report()])
    assert Crew(tasks=[make_task(agent)]).kickoff().raw == "  the report\n"
    agent.llm.assert_done()


def test_max_usage_count_is_per_run(make_agent: Any, make_task: Any) -> None:
    """A tool may be called so often in each run, also when the runs share it."""

    @tool("once", max_usage_count=1)
    def once() -> str:
        """Do once."""
        return "did it"

    agent = make_agent([call("once"), call("once"), "end", call("once"), "end"], tools=[once])
    crew = Crew(tasks=[make_task(agent)])
    crew.kickoff()
    crew.kickoff()
    results = [agent.llm.requests[n].messages[-1]["content"] for n in (1, 2, 4)]
    assert results[0] == results[2] == "did it"
    assert "once" in results[1]
    assert results[1] != "did it"


def test_task_tools_replace_the_agents(make_agent: Any, make_task: Any, lookup: Any) -> None:
    """``Task(tools=[...])`` is what the model is offered."""

    @tool
    def other() -> str:
        """Other."""
        return ""

    agent = make_agent(["x"], tools=[lookup])
    Crew(tasks=[make_task(agent, tools=[other])]).kickoff()
    assert [t.name for t in agent.llm.requests[0].tools] == ["other"]


def test_max_iter_forces_an_answer(make_agent: Any, make_task: Any, lookup: Any) -> None:
    """After ``max_iter`` calls the model is asked once more, and may call no tool."""
    agent = make_agent(
        [call("lookup", query="1"), call("lookup", query="2"), "what I have"], tools=[lookup], max_iter=2
    )
    limits: list[Any] = []
    output = Crew(tasks=[make_task(agent)]).kickoff(
        on_event=lambda e: limits.append(e) if isinstance(e, LimitReached) else None
    )
    assert output.raw == "what I have"
    assert [(e.limit, e.allowed) for e in limits] == [("max_iter", 2.0)]
    last = agent.llm.requests[-1]
    assert last.tool_choice == "none"
    assert last.messages[-1]["role"] == "user"


def test_max_execution_time(make_agent: Any, make_task: Any) -> None:
    """An agent that takes too long is interrupted, and not tried again."""
    agent = make_agent([after(5, "late")], max_execution_time=0.1)
    with pytest.raises(TaskTimeoutError, match=r"Pilot.*0\.1"):
        Crew(tasks=[make_task(agent)]).kickoff()
    assert len(agent.llm.requests) == 1


def test_max_retry_limit_belongs_to_a_task(make_agent: Any, make_task: Any) -> None:
    """Each task of each run has its own tries: one task's do not use up another's."""
    agent = make_agent(["", "", "first", "", "", "second"], max_retry_limit=2)
    output = Crew(tasks=[make_task(agent), make_task(agent)]).kickoff()
    assert [t.raw for t in output.tasks_output] == ["first", "second"]
    none = make_agent(["", "never"], max_retry_limit=0)
    with pytest.raises(MalformedResponseError):
        Crew(tasks=[make_task(none)]).kickoff()
    assert len(none.llm.requests) == 1


def test_an_unexpected_error_is_tried_again_and_a_refusal_is_not(make_agent: Any, make_task: Any) -> None:
    """What a custom model raises is tried again; what the provider refuses would be refused again."""
    agent = make_agent([LookupError("hiccup"), "fine"])
    assert Crew(tasks=[make_task(agent)]).kickoff().raw == "fine"
    refused = make_agent([BadRequestError("no such parameter"), "never"])
    with pytest.raises(BadRequestError):
        Crew(tasks=[make_task(refused)]).kickoff()
    assert len(refused.llm.requests) == 1


def test_a_conversation_that_is_too_long_is_cut(make_agent: Any, make_task: Any) -> None:
    """Old tool results are cut first, and the call is sent again; with ``respect_context_window=False`` it fails."""

    @tool
    def big() -> str:
        """Much."""
        return "x" * 6000

    too_long = ContextTooLongError("too long")
    agent = make_agent([call("big"), too_long, "final"], tools=[big])
    assert Crew(tasks=[make_task(agent)]).kickoff().raw == "final"
    sizes = [len(str(agent.llm.requests[n].messages[-1]["content"])) for n in (1, 2)]
    assert sizes[0] == 6000
    assert sizes[1] < 600
    strict = make_agent([call("big"), too_long], tools=[big], respect_context_window=False)
    with pytest.raises(ContextTooLongError):
        Crew(tasks=[make_task(strict)]).kickoff()


def test_a_prompt_that_is_too_long_ends(make_agent: Any, make_task: Any) -> None:
    """A model that takes nothing at all ends in its own error, not in a loop."""
    agent = make_agent(by=lambda request: ContextTooLongError("too long"))
    with pytest.raises(ContextTooLongError):
        Crew(tasks=[make_task(agent, description="y" * 50_000)]).kickoff()
    assert 1 < len(agent.llm.requests) < 20


def test_text_mode(make_agent: Any, make_task: Any, lookup: Any) -> None:
    """A model without tool calls is told the tools in words, and one malformed call is repaired."""
    answers = [
        "Thought: look\nAction: lookup\nAction Input: not json",
        'Thought: look\nAction: lookup\nAction Input: {"query": "x"}',
        "Thought: done\nFinal Answer: found it",
    ]
    agent = make_agent(answers, tools=[lookup], tools_native=False)
    assert Crew(tasks=[make_task(agent)]).kickoff().raw == "found it"
    first = agent.llm.requests[0]
    assert not first.tools
    assert "lookup" in first.messages[0]["content"]
    assert any("record of x" in str(m["content"]) for m in agent.llm.requests[2].messages)


def test_text_mode_gives_up_after_one_repair(make_agent: Any, make_task: Any, lookup: Any) -> None:
    """A second malformed call in a row is a malformed answer; the task is tried again, then fails."""
    agent = make_agent(by=lambda request: "Action: nothing\nAction Input: {}", tools=[lookup], tools_native=False)
    with pytest.raises(MalformedResponseError):
        Crew(tasks=[make_task(agent)]).kickoff()
    assert len(agent.llm.requests) == 6  # three tries of two calls


def test_a_model_held_to_a_schema_calls_tools(make_agent: Any, make_task: Any, lookup: Any) -> None:
    """Without tool calls but with schemas, every answer is a JSON object: a call or the answer."""
    answers = ['{"tool": "lookup", "arguments": {"query": "x"}}', '{"answer": "found it"}']
    agent = make_agent(answers, tools=[lookup], tools_native=False, schemas=True)
    assert Crew(tasks=[make_task(agent)]).kickoff().raw == "found it"
    assert agent.llm.requests[0].output_schema is not None


def test_step_callbacks(make_agent: Any, make_task: Any, lookup: Any) -> None:
    """One for each tool call and one at the end, to the agent's and the crew's; one that is both is called once."""
    steps: list[Any] = []
    crews: list[Any] = []

    async def crew_step(step: Any) -> None:
        crews.append(step)

    for function in (crew_step, steps.append):
        steps.clear()
        agent = make_agent([call("lookup", query="x"), "final"], tools=[lookup], step_callback=steps.append)
        Crew(tasks=[make_task(agent)], step_callback=function).kickoff()
        assert [type(s) for s in steps] == [AgentAction, AgentFinish]
        assert (steps[0].tool, steps[0].tool_input, steps[0].result) == ("lookup", {"query": "x"}, "record of x")
        assert steps[-1].output == "final"
    assert crews == steps


def test_the_last_step_is_the_answer(make_agent: Any, make_task: Any) -> None:
    """Also where a tool gave it, and after a repair: once, with the text that was accepted."""

    class Note(BaseModel):
        text: str

    @tool("note", result_as_answer=True)
    def note() -> str:
        """Note."""
        return '{"text": "noted"}'

    steps: list[Any] = []
    by_tool = make_agent([call("note")], tools=[note], step_callback=steps.append)
    Crew(tasks=[make_task(by_tool)]).kickoff()
    assert [type(s) for s in steps] == [AgentAction, AgentFinish]
    assert steps[1].output == '{"text": "noted"}'
    steps.clear()
    repaired = make_agent(["no", '{"text": "x"}'], step_callback=steps.append)
    Crew(tasks=[make_task(repaired, output_pydantic=Note)]).kickoff()
    assert [s.output for s in steps] == ['{"text": "x"}']


def test_a_call_of_an_unknown_tool_is_in_the_trace(make_agent: Any, make_task: Any, lookup: Any) -> None:
    """A refused call is an event like any other, with its reason."""
    agent = make_agent([call("nothing", a=1), "final"], tools=[lookup])
    events: list[Any] = []
    Crew(tasks=[make_task(agent)]).kickoff(on_event=events.append)
    (event,) = [e for e in events if isinstance(e, ToolFinished)]
    assert (event.tool, event.arguments, event.ok, event.reason) == ("nothing", {"a": 1}, False, "unknown_tool")
    assert event.output == agent.llm.requests[1].messages[-1]["content"]


def test_a_wait_for_the_rate_is_an_event(make_agent: Any, make_task: Any) -> None:
    """A live view can tell why nothing happens."""
    agent = make_agent(["one", "two"], max_rpm=1)
    events: list[Any] = []
    crew = Crew(tasks=[make_task(agent), make_task(agent)])
    output = crew.kickoff(on_event=events.append, budget=Budget(max_seconds=0.3))
    assert (output.status, len(agent.llm.requests)) == ("limited", 1)
    limits = [(e.path, e.limit, e.allowed) for e in events if isinstance(e, LimitReached)]
    assert limits == [("task_2/1", "max_rpm", 1.0), ("", "max_seconds", 0.3)]


def test_tool_cache(make_agent: Any, make_task: Any) -> None:
    """``Crew(cache=True)`` uses the result of an equal call again, within a run; an agent can refuse."""
    made: list[str] = []

    @tool
    def count(query: str) -> str:
        """Count.

        Args:
            query: What.
        """
        made.append(query)
        return f"{query}-{len(made)}"

    script = [call("count", query="a"), call("count", query="a"), "end"]
    Crew(tasks=[make_task(make_agent(script, tools=[count]))], cache=True).kickoff()
    assert made == ["a"]
    Crew(tasks=[make_task(make_agent(script, tools=[count]))]).kickoff()
    Crew(tasks=[make_task(make_agent(script, tools=[count], cache=False))], cache=True).kickoff()
    assert made == ["a"] * 5


def test_long_results_are_read_on_by_handle(make_agent: Any, make_task: Any) -> None:
    """A long result is cut, and ``read_result`` is offered from then on."""
    text = "".join(f"line {n}\n" for n in range(4000))

    @tool
    def archive() -> str:
        """Everything."""
        return text

    agent = make_agent(
        [call("archive"), call("read_result", handle="task_1/1/tool/1", offset=20_000, limit=100), "end"],
        tools=[archive],
    )
    Crew(tasks=[make_task(agent)]).kickoff()
    cut = agent.llm.requests[1].messages[-1]["content"]
    assert len(cut) < 9000
    assert "task_1/1/tool/1" in cut
    assert [t.name for t in agent.llm.requests[0].tools] == ["archive"]
    assert [t.name for t in agent.llm.requests[1].tools] == ["archive", "read_result"]
    assert text[20_000:20_100] in agent.llm.requests[2].messages[-1]["content"]


def test_prompt_control(make_agent: Any, make_task: Any) -> None:
    """One user message without a system role; own templates; the date."""
    one = make_agent(["x"], use_system_prompt=False)
    Crew(tasks=[make_task(one)]).kickoff()
    assert roles(one, 0) == ["user"]
    assert "Pilot" in prompt(one)
    own = make_agent(["x"], system_template="I am {role}: {goal}")
    Crew(tasks=[make_task(own)]).kickoff()
    assert own.llm.requests[0].messages[0] == {"role": "system", "content": "I am Pilot: Know the way"}
    asked = make_agent(["x"], prompt_template="<<{{ .Prompt }}>>")
    Crew(tasks=[make_task(asked)]).kickoff()
    assert roles(asked, 0) == ["system", "user"]
    assert prompt(asked).startswith("<<Do it.")
    dated = make_agent(["x"], inject_date=True, date_format="%d.%m.%Y")
    Crew(tasks=[make_task(dated)]).kickoff()
    assert datetime.datetime.now().strftime("%d.%m.%Y") in dated.llm.requests[0].messages[0]["content"]
    marked = make_agent(["x"])
    Crew(tasks=[make_task(marked, markdown=True)]).kickoff()
    assert "Markdown" in prompt(marked)


def test_templates_as_in_crewai(make_agent: Any, make_task: Any) -> None:
    """Both templates make one user message, with the tokens of CrewAI put in; the response's tail stops the answer."""
    agent = make_agent(
        ["x"],
        system_template="<s>{{ .System }}</s>",
        prompt_template="<u>{{ .Prompt }}</u>",
        response_template="<a>{{ .Response }}</a>",
        inject_date=True,
    )
    Crew(tasks=[make_task(agent)]).kickoff()
    (message,) = agent.llm.requests[0].messages
    assert message["role"] == "user"
    text = message["content"]
    assert text.startswith("<s>You are Pilot.")
    assert f"{datetime.datetime.now().year}" in text.partition("</s>")[0]
    assert text.endswith("</s>\n<u>Do it.\n\nExpected output: It</u>\n<a>")
    assert list(agent.llm.requests[0].stop) == ["</a>"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"prompt_template": "no token"}, r"prompt_template.*\{\{ \.Prompt \}\}"),
        ({"response_template": "no token"}, r"response_template.*\{\{ \.Response \}\}"),
    ],
)
def test_templates_without_their_token(make_agent: Any, fields: Any, expected: str) -> None:
    """A prompt without its task is found when the agent is made."""
    with pytest.raises(ConfigError, match=expected):
        make_agent(["x"], **fields)


def test_max_tokens_reach_the_provider() -> None:
    """``Agent(max_tokens=n)`` limits each answer."""
    with LoopbackServer(["x"]) as server:
        agent = Agent(role="R", goal="g", llm=server.llm("gpt-4o-mini"), max_tokens=77)
        Crew(tasks=[Task(description="d", expected_output="e", agent=agent)]).kickoff()
        body = server.requests[0].body
    assert 77 in (body.get("max_tokens"), body.get("max_completion_tokens"))


def test_agent_alone(make_agent: Any, lookup: Any) -> None:
    """``agent.kickoff`` takes a text or a conversation, gives the usage of this call, and uses its tools."""
    agent = make_agent([call("lookup", query="x"), "found", "second"], tools=[lookup])
    output = agent.kickoff("Where is x?")
    assert (output.raw, output.agent_role, output.token_usage.successful_requests) == ("found", "Pilot", 2)
    again = agent.kickoff([{"role": "user", "content": "And y?"}])
    assert str(again) == "second"
    assert roles(agent, 2) == ["system", "user"]


async def test_agent_alone_inside_a_loop(make_agent: Any) -> None:
    """Inside a running loop ``kickoff`` gives an awaitable, as in CrewAI."""
    agent = make_agent(["one", "two"])
    assert (await agent.kickoff("q")).raw == "one"
    assert (await agent.kickoff_async("q")).raw == "two"


async def test_kickoff_inside_a_running_loop(make_agent: Any, make_task: Any) -> None:
    """Sync ``Crew.kickoff`` works in a notebook; the async forms run on the caller's loop."""
    crew = Crew(tasks=[make_task(make_agent(["a", "b", "c"]))])
    assert crew.kickoff().raw == "a"
    assert (await crew.akickoff()).raw == "b"
    assert (await crew.kickoff_async()).raw == "c"


def test_start_and_for_each(make_agent: Any, make_task: Any) -> None:
    """A handle in the background; once for each inputs."""
    llm = ScriptedLLM(by=lambda request: f"saw {request.messages[-1]['content'].split()[0]}")
    crew = Crew(tasks=[Task(description="{x}", expected_output="", agent=Agent(role="r", goal="g", llm=llm))])
    handle = crew.start({"x": "one"})
    assert handle.result(timeout=5).raw == "saw one"
    assert handle.done()
    assert [o.raw for o in crew.kickoff_for_each([{"x": "two"}, {"x": "three"}])] == ["saw two", "saw three"]


def test_config_dicts(lookup: Any) -> None:
    """``config`` gives what is not given beside it."""
    agent = Agent(config={"role": "A", "goal": "g", "max_iter": 3}, role="B", llm=ScriptedLLM(["x"]))
    task = Task(config={"description": "d", "expected_output": "e"}, agent=agent)
    assert (agent.role, agent.max_iter, task.description) == ("B", 3, "d")
    assert json.loads(json.dumps(Crew(tasks=[task]).kickoff().to_dict())) == {}
