"""An agent on its own."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel
from tests.crew.conftest import roles

from quarterdeck import Budget
from quarterdeck.errors import ConfigError, InputError, OutputFormatError
from quarterdeck.testing import call


class Berth(BaseModel):
    harbour: str
    depth: float


GOOD = '{"harbour": "Bergen", "depth": 14.5}'
TALK: list[dict[str, Any]] = [
    {"role": "user", "content": "Where are you?"},
    {"role": "assistant", "content": "In Bergen."},
    {"role": "user", "content": "How deep is it?"},
]


def test_a_conversation_is_kept_as_it_is(make_agent: Any) -> None:
    """The agent's system message, then the messages; the caller's list is not changed."""
    agent = make_agent(["14.5"])
    given = [dict(message) for message in TALK]
    output = agent.kickoff(given)
    assert list(agent.llm.requests[0].messages[1:]) == TALK
    assert given == TALK
    assert [m["role"] for m in output.messages] == ["system", "user", "assistant", "user", "assistant"]


def test_a_conversation_without_a_system_role(make_agent: Any) -> None:
    """Who the agent is stands in the first user message."""
    agent = make_agent(["14.5"], use_system_prompt=False)
    agent.kickoff(TALK)
    assert roles(agent, 0) == ["user", "assistant", "user"]
    first = agent.llm.requests[0].messages[0]["content"]
    assert "Pilot" in first
    assert first.endswith("Where are you?")


def test_a_conversation_with_an_answer_model(make_agent: Any) -> None:
    """A model that cannot be held to a schema is told it, in a conversation too; a wrong answer is repaired."""
    agent = make_agent(["deep", GOOD])
    output = agent.kickoff(TALK, Berth)
    assert (output.pydantic, output.raw, output.to_dict()["depth"]) == (Berth(harbour="Bergen", depth=14.5), GOOD, 14.5)
    assert '"depth"' in agent.llm.requests[0].messages[-1]["content"]
    native = make_agent([GOOD], schemas=True)
    native.kickoff(TALK, response_format=Berth)
    assert list(native.llm.requests[0].messages[1:]) == TALK
    assert native.llm.requests[0].output_schema.name == "Berth"
    never = make_agent(["a", "b", "c"])
    with pytest.raises(OutputFormatError, match="Berth"):
        never.kickoff("How deep?", Berth)


@pytest.mark.parametrize(
    "messages",
    [
        None,
        "",
        "  ",
        [],
        [1],
        ["text"],
        [{"content": "no role"}],
        [{"role": "captain", "content": "x"}],
        {"role": "user"},
    ],
)
def test_what_is_no_conversation(make_agent: Any, messages: Any) -> None:
    """One error that says what is expected; no call."""
    agent = make_agent(["never"])
    with pytest.raises(ConfigError, match="messages"):
        agent.kickoff(messages)
    assert agent.llm.requests == []


def test_an_agent_with_placeholders_has_no_inputs_here(make_agent: Any) -> None:
    """The error names them and the way out, which is not a kickoff of a crew."""
    with pytest.raises(InputError, match=r"(?s)sea.*on its own") as caught:
        make_agent(["x"], role="Pilot of {sea}", goal="Know {place}").kickoff("q")
    assert caught.value.missing == ("place", "sea")


def test_usage_is_this_kickoffs_and_a_budget_ends_it(make_agent: Any, lookup: Any) -> None:
    """Usage does not add up over kickoffs; a limit gives what there is."""
    agent = make_agent(["one", "two", call("lookup", query="x"), "never"], tools=[lookup])
    assert [agent.kickoff("q").usage_metrics["successful_requests"] for _ in range(2)] == [1, 1]
    output = agent.kickoff("q", budget=Budget(max_llm_calls=1))
    assert (output.status, output.ended_by) == ("limited", "max_llm_calls")
