"""Structured output and guardrails."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import BaseModel, Field
from tests.crew.conftest import prompt

from quarterdeck import Agent, Crew, Task, TaskOutput
from quarterdeck.errors import ConfigError, GuardrailError, OutputFormatError
from quarterdeck.testing import LoopbackServer, call


class Berth(BaseModel):
    harbour: str
    depth: float = Field(gt=0)


GOOD = '{"harbour": "Bergen", "depth": 14.5}'


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"Here it is:\n```json\n{GOOD}\n```\nBye.",
        f"Sure! {GOOD} I hope that helps.",
        f'{{"note": 1}} and then {GOOD}',
    ],
)
def test_json_is_found_in_a_text(make_agent: Any, make_task: Any, text: str) -> None:
    """Whole, fenced, or in the middle of words."""
    agent = make_agent([text])
    output = Crew(tasks=[make_task(agent, output_pydantic=Berth)]).kickoff()
    assert output.pydantic == Berth(harbour="Bergen", depth=14.5)
    assert '"depth"' in prompt(agent)  # the model was told the schema


def test_a_wrong_answer_is_repaired_with_the_error(make_agent: Any, make_task: Any) -> None:
    """The validation error is quoted: field, what is wrong, what was got."""
    agent = make_agent(['{"harbour": "Bergen", "depth": -3}', GOOD])
    output = Crew(tasks=[make_task(agent, output_json=Berth)]).kickoff()
    assert output.json_dict == {"harbour": "Bergen", "depth": 14.5}
    asked = agent.llm.requests[1].messages
    assert [m["role"] for m in asked] == ["system", "user", "assistant", "user"]
    assert "depth" in asked[-1]["content"]
    assert "greater than 0" in asked[-1]["content"]
    assert "-3" in asked[-1]["content"]


def test_an_answer_that_never_fits_is_an_error(make_agent: Any, make_task: Any) -> None:
    """Two repairs, then OutputFormatError, with no further try."""
    agent = make_agent(["no", "still no", "never"])
    with pytest.raises(OutputFormatError, match=r"Berth.*no JSON"):
        Crew(tasks=[make_task(agent, output_pydantic=Berth)]).kickoff()
    assert len(agent.llm.requests) == 3


def test_a_provider_with_schemas_is_held_to_it(lookup: Any) -> None:
    """The schema goes with the request, also beside tools; nothing of it is in the prompt."""
    with LoopbackServer([call("lookup", query="x"), GOOD]) as server:
        agent = Agent(role="R", goal="g", llm=server.llm("gpt-4o-mini"), tools=[lookup])
        task = Task(description="d", expected_output="e", agent=agent, response_model=Berth)
        output = Crew(tasks=[task]).kickoff()
        bodies = [request.body for request in server.requests]
    assert output.pydantic == Berth(harbour="Bergen", depth=14.5)
    assert all(body["response_format"]["type"] == "json_schema" for body in bodies)
    assert "depth" not in json.dumps(bodies[0]["messages"])


def test_agent_response_format(make_agent: Any) -> None:
    """An agent alone gives a model too."""
    assert make_agent([GOOD]).kickoff("Fill it in", Berth).pydantic == Berth(harbour="Bergen", depth=14.5)


def test_guardrail_sends_back_with_the_reason(make_agent: Any, make_task: Any) -> None:
    """The refused output and the reason are in the next prompt; the verdicts are asked in order."""
    agent = make_agent(["none", "14", "14 m"])

    def has_a_figure(output: TaskOutput) -> tuple[bool, Any]:
        return (True, output) if any(c.isdigit() for c in output.raw) else (False, "give a figure")

    async def has_a_unit(output: TaskOutput) -> tuple[bool, Any]:
        return (True, output.raw + "!") if output.raw.endswith("m") else (False, "give a unit")

    output = Crew(tasks=[make_task(agent, guardrails=[has_a_figure, has_a_unit])]).kickoff()
    assert output.raw == "14 m!"
    assert "give a figure" in prompt(agent, 1)
    assert "none" in prompt(agent, 1)
    assert "give a unit" in prompt(agent, 2)


def test_guardrail_gives_up(make_agent: Any, make_task: Any) -> None:
    """``guardrail_max_retries`` tries more, then GuardrailError with the last reason."""
    agent = make_agent(["a", "b", "c"])
    task = make_task(agent, guardrail=lambda output: (False, f"not {output.raw}"), guardrail_max_retries=2)
    with pytest.raises(GuardrailError, match="not c"):
        Crew(tasks=[task]).kickoff()
    assert len(agent.llm.requests) == 3


def test_guardrails_output_is_parsed_again(make_agent: Any, make_task: Any) -> None:
    """A guardrail's own text replaces the output, and must fit the model too."""
    better = '{"harbour": "Oslo", "depth": 1}'
    task = make_task(make_agent([GOOD]), output_pydantic=Berth, guardrail=lambda output: (True, better))
    assert Crew(tasks=[task]).kickoff().pydantic == Berth(harbour="Oslo", depth=1)
    wrong = make_task(make_agent([GOOD]), output_pydantic=Berth, guardrail=lambda output: (True, "no json"))
    with pytest.raises(GuardrailError, match="Berth"):
        Crew(tasks=[wrong]).kickoff()


@pytest.mark.parametrize("answer", [None, True, (1, "x"), ("yes", 1), (True, None), (True, 3), (True,)])
def test_a_guardrail_that_answers_something_else_is_named(make_agent: Any, make_task: Any, answer: Any) -> None:
    """The error names the guardrail, what it returned and what is expected."""

    def odd(output: TaskOutput) -> Any:
        return answer

    with pytest.raises(GuardrailError, match=r"odd.*return"):
        Crew(tasks=[make_task(make_agent(["x"]), guardrail=odd)]).kickoff()


def test_guardrail_signatures_are_checked(make_agent: Any, make_task: Any) -> None:
    """One argument, and an annotation that says tuple[bool, ...]."""

    def two(a: Any, b: Any) -> tuple[bool, Any]:
        return True, a

    def text(output: TaskOutput) -> str:
        return ""

    agent = make_agent(["x"])
    with pytest.raises(ConfigError, match="two must take one argument"):
        make_task(agent, guardrail=two)
    text.__annotations__["return"] = str
    with pytest.raises(ConfigError, match=r"text must return tuple\[bool"):
        make_task(agent, guardrail=text)


def test_an_accepted_output_has_passed_every_guardrail(make_agent: Any, make_task: Any) -> None:
    """A new answer, asked for by the second guardrail, is shown to the first one too."""
    seen: list[tuple[str, str]] = []

    def short(output: TaskOutput) -> tuple[bool, Any]:
        seen.append(("short", output.raw))
        return (True, output) if len(output.raw) < 10 else (False, "be shorter")

    def polite(output: TaskOutput) -> tuple[bool, Any]:
        seen.append(("polite", output.raw))
        return (True, output) if "please" in output.raw else (False, "say please")

    agent = make_agent(["go", "go now, if you please", "please go"])
    assert Crew(tasks=[make_task(agent, guardrails=[short, polite])]).kickoff().raw == "please go"
    assert [name for name, _ in seen] == ["short", "polite", "short", "short", "polite"]


def test_each_guardrail_has_its_own_retries(make_agent: Any, make_task: Any) -> None:
    """``guardrail_max_retries`` counts each guardrail's refusals, and only those."""
    agent = make_agent(["a", "b", "ab", "b"])
    with_a = lambda o: (True, o) if "a" in o.raw else (False, "no a")  # noqa: E731
    with_b = lambda o: (True, o) if "b" in o.raw else (False, "no b")  # noqa: E731
    crew = Crew(tasks=[make_task(agent, guardrails=[with_a, with_b], guardrail_max_retries=1)])
    assert crew.kickoff().raw == "ab"


@pytest.mark.parametrize("in_place", [True, False])
def test_a_guardrail_may_change_the_instance(make_agent: Any, make_task: Any, tmp_path: Any, in_place: bool) -> None:
    """What it changes in the output, in place or in a copy, is the task's output, also from the journal."""

    def deeper(output: TaskOutput) -> tuple[bool, Any]:
        assert isinstance(output.pydantic, Berth)
        if in_place:
            output.pydantic.depth += 1
            return True, output
        better = output.pydantic.model_copy(update={"depth": output.pydantic.depth + 1})
        return True, output.model_copy(update={"pydantic": better})

    stop: list[Any] = [RuntimeError("the callback's fault")]

    def once(output: TaskOutput) -> None:
        if stop:
            raise stop.pop()

    task = make_task(make_agent([GOOD]), output_pydantic=Berth, guardrail=deeper, callback=once)
    crew = Crew(tasks=[task])
    run: dict[str, Any] = {"journal": tmp_path / "runs.db", "run_id": "r"}
    with pytest.raises(RuntimeError, match="callback"):
        crew.kickoff(**run)
    for _ in range(2):  # goes on after the guardrail; then all from the journal
        assert crew.kickoff(**run).pydantic == Berth(harbour="Bergen", depth=15.5)


def test_output_json_with_a_response_model(make_agent: Any, make_task: Any) -> None:
    """``response_model`` beside the same class asks for the same; the output's form is the other's."""
    output = Crew(tasks=[make_task(make_agent([GOOD]), output_json=Berth, response_model=Berth)]).kickoff()
    assert (output.json_dict, output.pydantic) == ({"harbour": "Bergen", "depth": 14.5}, None)
