"""Tokens and calls are counted once, whoever shares a model; the step callback is told of every step in every mode."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from quarterdeck import Agent, Crew, Task
from quarterdeck.agent import AgentAction, AgentFinish
from quarterdeck.llm.types import LLMResponse, UsageMetrics
from quarterdeck.testing import ScriptedLLM, call
from quarterdeck.tools import tool


@tool
def look_up(query: str) -> str:
    """Look up a record."""
    return f"record of {query}"


def answer(text: str) -> LLMResponse:
    """Ten tokens in, five out."""
    usage = UsageMetrics(total_tokens=15, prompt_tokens=10, completion_tokens=5, successful_requests=1)
    return LLMResponse(text=text, model="scripted", usage=usage)


def shared_crew(calls: int) -> Crew:
    """Three agents with one model object, one of them with two tasks."""
    llm = ScriptedLLM([answer(str(n)) for n in range(calls)])
    agents = [Agent(role=f"Agent {n}", goal="Go", llm=llm) for n in range(3)]
    return Crew(
        agents=agents,
        tasks=[Task(description="Do.", expected_output="It", agent=agent) for agent in [*agents, agents[0]]],
    )


def test_a_shared_model_is_counted_once() -> None:
    """And a second run begins at nothing."""
    crew = shared_crew(8)
    for _ in range(2):
        usage = crew.kickoff().token_usage
        assert (usage.successful_requests, usage.total_tokens, usage.prompt_tokens) == (4, 60, 40)
        assert crew.usage_metrics == usage


async def test_runs_at_once_are_counted_apart() -> None:
    crew = shared_crew(40)
    outputs = await asyncio.gather(*(crew.akickoff() for _ in range(10)))
    assert [output.token_usage.total_tokens for output in outputs] == [60] * 10


TEXT_CALL = 'Action: look_up\nAction Input: {"query": "x"}'


@pytest.mark.parametrize("mode", ["native", "schema", "text"])
def test_the_step_callback_is_told_of_tool_calls(mode: str) -> None:
    """Once for each call and once for the answer; the agent's, the crew's, each once."""
    seen: list[Any] = []
    crews: list[Any] = []
    asked = call("look_up", query="x")

    def by(request: Any) -> Any:
        if mode == "native":
            return asked if len(request.messages) < 3 else "done"
        if any("record of x" in str(m["content"]) for m in request.messages):
            return '{"answer": "done"}' if mode == "schema" else "Final Answer: done"
        return '{"tool": "look_up", "arguments": {"query": "x"}}' if mode == "schema" else TEXT_CALL

    llm = ScriptedLLM(by=by, tools=mode == "native", schemas=mode == "schema")
    agent = Agent(role="Pilot", goal="Go", llm=llm, tools=[look_up], step_callback=seen.append)
    crew = Crew(tasks=[Task(description="Do.", expected_output="It", agent=agent)], step_callback=crews.append)
    assert crew.kickoff().raw == "done"
    action, finish = seen
    assert isinstance(action, AgentAction)
    assert (action.tool, action.tool_input, action.result) == ("look_up", {"query": "x"}, "record of x")
    assert isinstance(finish, AgentFinish)
    assert finish.output == "done"
    assert crews == seen
