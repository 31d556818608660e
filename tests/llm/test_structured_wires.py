"""Structured output over real sockets: what is sent for which class, and answers that are no objects."""

from __future__ import annotations

import datetime
import decimal
import json
import uuid
from collections.abc import Callable
from typing import Any, Literal

import pytest
from pydantic import BaseModel, RootModel

from quarterdeck import LLM, Agent, Crew, Task
from quarterdeck.errors import ConfigError
from quarterdeck.llm.structured import output_schema
from quarterdeck.testing import LoopbackServer, call
from quarterdeck.tools import tool


class Berth(BaseModel):
    harbour: str
    depth: decimal.Decimal


class Node(BaseModel):
    value: int
    children: list[Node] = []


class Log(BaseModel):
    id: uuid.UUID
    at: datetime.datetime
    kind: Literal["in", "out"] | None = None
    tags: dict[str, int] = {}


Berths = RootModel[list[Berth]]
BERTHS = '[{"harbour": "Oslo", "depth": "14.50"}]'


@tool
def gauge(harbour: str) -> str:
    """The depth of a harbour."""
    return "14.50"


def sent_schema(body: dict[str, Any]) -> Any:
    """The schema in a request, by whichever means."""
    if "response_format" in body:
        return body["response_format"]["json_schema"]["schema"]
    if "output_config" in body:
        return body["output_config"]["format"]["schema"]
    answers = [t["input_schema"] for t in body.get("tools", ()) if t.get("name") == "quarterdeck_answer"]
    return answers[0] if answers else None


@pytest.mark.parametrize("model", ["gpt-4o-mini", "claude-sonnet-4-5", "claude-3-5-haiku-latest"])
@pytest.mark.parametrize("answer", [BERTHS, f'{{"answer": {BERTHS}}}'])
def test_a_list_is_wrapped_for_the_provider(model: str, answer: str) -> None:
    """Providers take objects alone. Agents with tools are held to the schema too."""
    with LoopbackServer([call("gauge", harbour="Oslo"), answer]) as server:
        agent = Agent(role="R", goal="g", llm=server.llm(model), tools=[gauge])
        output = agent.kickoff("Which?", Berths)
        bodies = [received.body for received in server.requests]
    assert output.pydantic == Berths([Berth(harbour="Oslo", depth=decimal.Decimal("14.50"))])
    for body in bodies:
        schema = sent_schema(body)
        assert (schema["type"], list(schema["properties"])) == ("object", ["answer"])
        assert len(body["tools"]) == (2 if "haiku" in model else 1)
        assert "fitting this schema" not in json.dumps(body)


@pytest.mark.parametrize("model", ["gpt-4o-mini", "claude-sonnet-4-5", "claude-3-5-haiku-latest"])
def test_recursive_models_have_a_root_that_is_an_object(model: str) -> None:
    answer = '{"value": 1, "children": [{"value": 2, "children": []}]}'
    with LoopbackServer([answer]) as server:
        got = Agent(role="R", goal="g", llm=server.llm(model)).kickoff("Go", Node).pydantic
        schema = sent_schema(server.requests[0].body)
    assert got == Node(value=1, children=[Node(value=2)])
    assert schema["type"] == "object"


@pytest.mark.parametrize("model", ["gpt-4o-mini", "claude-sonnet-4-5"])
def test_patterns_that_providers_cannot_follow_are_left_out(model: str) -> None:
    """A Decimal's has a lookahead; free dicts are sent as they are, unenforced."""
    with LoopbackServer(['{"harbour": "Oslo", "depth": 1}']) as server:
        Agent(role="R", goal="g", llm=server.llm(model)).kickoff("Go", Berth)
        assert "pattern" not in json.dumps(sent_schema(server.requests[0].body))
    at = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
    log = Log(id=uuid.UUID(int=1), at=at, kind="in", tags={"a": 1})
    with LoopbackServer(['{"id": 5}', log.model_dump_json()]) as server:
        output = Agent(role="R", goal="g", llm=server.llm(model)).kickoff("Go", Log)
        repair = str(server.requests[1].body["messages"][-1]["content"])
    assert output.pydantic == log
    assert "id: UUID input should be" in repair
    assert "at: Field required" in repair


def test_a_provider_that_cannot_do_both_is_told_the_schema_while_it_has_tools() -> None:
    """A repair comes without tools, and is held to the schema."""
    with LoopbackServer(
        [call("gauge", harbour="Oslo"), "It is 14.5 m.", '{"harbour": "Oslo", "depth": 14.5}']
    ) as server:
        agent = Agent(role="R", goal="g", llm=server.llm("gemini/gemini-2.5-flash"), tools=[gauge])
        task = Task(description="How deep?", expected_output="e", agent=agent, output_pydantic=Berth)
        output = Crew(tasks=[task]).kickoff()
        bodies = [received.body for received in server.requests]
    assert output.pydantic == Berth(harbour="Oslo", depth=decimal.Decimal("14.5"))
    assert [("tools" in body, "response_format" in body) for body in bodies] == [
        (True, False),
        (True, False),
        (False, True),
    ]
    assert "fitting this schema" in json.dumps(bodies[0])
    assert [LLM(name).supports_schema_with_tools() for name in ("gemini/gemini-3-pro", "gpt-4o", "ollama/qwen3")] == [
        True,
        True,
        False,
    ]


def test_schemas_are_made_once_and_what_json_cannot_say_is_told() -> None:
    assert output_schema(Berth) is output_schema(Berth)

    class Held(BaseModel):
        function: Callable[[int], int]

    agent = Agent(role="R", goal="g", llm="gpt-4o-mini")
    with pytest.raises(ConfigError, match="Held cannot be an answer's model"):
        Task(description="d", expected_output="e", agent=agent, output_pydantic=Held)
    with pytest.raises(ConfigError, match=r"output_json .* is no object.*use output_pydantic"):
        Task(description="d", expected_output="e", agent=agent, output_json=Berths)


def test_a_model_alone_gives_instances() -> None:
    """``LLM.call(response_model=...)`` reads what agents read."""
    with LoopbackServer([f"Here:\n```json\n{BERTHS}\n```"]) as server:
        assert server.llm().call("Which?", response_model=Berths) == Berths.model_validate_json(BERTHS)
