"""Agents of a sequential crew that help each other: who can be asked, how deep, and never in a circle."""

from __future__ import annotations

from typing import Any

import pytest
from crew_prompts import asked

from quarterdeck import Agent, Crew, Task
from quarterdeck.events import Event, LLMFinished, ToolFinished
from quarterdeck.llm.types import ToolCall
from quarterdeck.testing import ScriptedLLM, call


def ask(coworker: str, question: str = "How deep?") -> ToolCall:
    return call("ask_question_to_coworker", question=question, context="", coworker=coworker)


def agent(role: str, answers: list[Any], delegates: bool = True) -> Agent:
    return Agent(role=role, goal=f"goal of {role}", llm=ScriptedLLM(answers), allow_delegation=delegates)


def crew(*agents: Agent, **fields: Any) -> Crew:
    """A crew with one task, of the first agent."""
    return Crew(agents=list(agents), tasks=[Task(description="d", expected_output="e", agent=agents[0])], **fields)


def coworkers(agent: Agent, number: int = 0) -> list[str]:
    """Whom an agent was offered in a call."""
    tools = agent.llm.requests[number].tools
    return tools[0].parameters["properties"]["coworker"]["enum"] if tools else []


async def test_all_others_can_be_asked() -> None:
    """Those of other tasks too, and not oneself."""
    a, b, c = agent("A", [ask("C"), "done"]), agent("B", ["b"], False), agent("C", ["c"], False)
    made = Crew(agents=[c], tasks=[Task(description="d", expected_output="e", agent=who) for who in (a, b)])
    output = await made.akickoff()
    assert [item.agent for item in output.tasks_output] == ["A", "B"]
    assert coworkers(a) == ["C", "B"]
    assert coworkers(b) == []
    assert coworkers(c) == []


@pytest.mark.parametrize("delegates", [True, False])
async def test_alone_or_not_allowed_there_are_no_tools(delegates: bool) -> None:
    others = [] if delegates else [agent("B", [])]
    a = agent("A", ["done"], delegates)
    await crew(a, *others).akickoff()
    assert a.llm.requests[0].tools == ()


@pytest.mark.parametrize(("depth", "reached"), [(1, 1), (2, 2), (3, 3), (9, 3)])
async def test_depth(depth: int, reached: int) -> None:
    """A asks B, who asks C, who asks D: as far as it may go. The last one has no tools to go on with."""
    names = ["A", "B", "C", "D"]
    people = [agent(name, [ask(after), "done"]) for name, after in zip(names, ["B", "C", "D", "A"], strict=True)]
    for person in people[reached:]:
        person.llm = ScriptedLLM(["done"])
    events: list[Event] = []
    output = await crew(*people, max_delegation_depth=depth).akickoff(on_event=events.append)
    assert output.raw == "done"
    paths = {e.path for e in events if isinstance(e, LLMFinished)}
    assert f"task_1/1/tool/1{'/ask/tool/1' * (reached - 1)}/ask/llm/1" in paths
    assert max(path.count("/ask") for path in paths) == reached
    assert coworkers(people[reached]) == []
    assert [coworkers(person) for person in people[:reached]] == [names[1:], ["C", "D"], ["D"]][:reached]


async def test_a_circle_is_refused() -> None:
    """Whoever waits is not among those that can be asked, and a model that asks all the same is told why."""
    a = agent("A", [ask("B"), "done"])
    b = agent("B", [ask("A"), ask("C"), "b"])
    c = agent("C", [ask("A"), ask("B"), "c"])
    d = agent("D", [])
    await crew(a, b, c, d, max_delegation_depth=3).akickoff()
    told = [str(m["content"]) for m in b.llm.requests[1].messages if m["role"] == "tool"]
    assert "waits for your own answer (A → B)" in told[0]
    assert "take one of: C, D" in told[0]
    told = [str(m["content"]) for m in c.llm.requests[2].messages if m["role"] == "tool"]
    assert all("(A → B → C)" in text for text in told)
    assert coworkers(c) == ["D"]


async def test_two_of_one_role_are_apart() -> None:
    """Each is the other's coworker."""
    a, b = agent("A", [ask("A (2)"), "done"]), agent("A", ["b"])
    events: list[Event] = []
    await crew(a, b).akickoff(on_event=events.append)
    assert coworkers(a) == ["A (2)"]
    assert [e.output for e in events if isinstance(e, ToolFinished)] == ["b"]
    assert coworkers(b) == []


async def test_the_limit_is_for_the_whole_try() -> None:
    """What a coworker hands on counts too, and each try begins anew."""
    a = agent("A", [ask("B"), ask("B"), "done"])
    b = agent("B", [ask("C"), "b"])
    c = agent("C", ["c"], False)
    await crew(a, b, c, max_delegations=2).akickoff()
    assert "limit of 2" in str(a.llm.requests[2].messages)
    assert a.llm.requests[2].tool_choice == "none"
    a.llm.assert_done()


async def test_own_tools_stay(lookup: Any) -> None:
    a = Agent(role="A", goal="g", llm=ScriptedLLM(["done"]), tools=[lookup], allow_delegation=True)
    await crew(a, agent("B", [])).akickoff()
    names = [spec.name for spec in a.llm.requests[0].tools]
    assert names == ["lookup", "delegate_work_to_coworker", "ask_question_to_coworker"]


async def test_the_prompt_of_others_is_as_it_was() -> None:
    """Delegation costs nothing where it is not used."""
    a = agent("A", ["done"], False)
    await crew(a, agent("B", [])).akickoff()
    assert asked(a.llm.requests[0]) == "d\n\nExpected output: e"


async def test_another_team_is_another_definition() -> None:
    """A journaled run must meet the coworkers that it began with, where they can be asked."""
    a, b = agent("A", []), agent("B", [])
    assert crew(a, b).definition != crew(a).definition
    assert crew(a, b).definition == crew(a, b, max_delegations=3).definition  # a run may go on with another limit
    plain = agent("A", [], False)
    assert crew(plain, b).definition == crew(plain).definition
