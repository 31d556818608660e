"""Inputs: interpolation and the contract."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field
from tests.crew.conftest import prompt

from quarterdeck import Crew
from quarterdeck.agent.interpolation import interpolate, placeholders
from quarterdeck.errors import InputError

names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,8}", fullmatch=True)
texts = st.text(max_size=40)
values = st.one_of(
    texts,
    st.integers(),
    st.booleans(),
    st.none(),
    st.recursive(
        texts | st.integers(), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3)
    ),
)


@given(name=names, value=values, before=texts, after_=texts)
def test_one_placeholder(name: str, value: Any, before: str, after_: str) -> None:
    """A value is put in once, whatever braces it holds; what stands around it is left alone."""
    before, after_ = before.replace("{", "").replace("}", ""), after_.replace("{", "").replace("}", "")
    written = json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)
    assert interpolate(f"{before}{{{name}}}{after_}", {name: value}, "x") == f"{before}{written}{after_}"


@given(
    data=st.recursive(st.integers() | texts, lambda i: st.dictionaries(names, i, max_size=3) | st.lists(i, max_size=3))
)
def test_json_is_no_placeholder(data: Any) -> None:
    """JSON in a description survives: its keys are quoted, so its braces are none of ours."""
    text = json.dumps(data)
    if not placeholders(text):
        assert interpolate(text, {}, "x") == text


@given(keys=st.lists(names, min_size=1, max_size=5, unique=True))
def test_missing_inputs_are_all_named(keys: list[str]) -> None:
    """One error for all that is missing."""
    text = " ".join(f"{{{key}}}" for key in keys)
    assert placeholders(text) == set(keys)
    with pytest.raises(InputError) as caught:
        interpolate(text, {}, "task 'x' description")
    assert caught.value.missing == tuple(sorted(keys))
    assert all(key in str(caught.value) for key in keys)


@given(a=names, b=names)
def test_values_are_not_interpolated_again(a: str, b: str) -> None:
    """A value that looks like a placeholder stays as it is."""
    assert interpolate(f"{{{a}}}", {a: f"{{{b}}}", **({b: "!"} if b != a else {})}, "x") == f"{{{b}}}"


def test_double_braces_and_unicode() -> None:
    """``{{name}}`` is plain braces unless there is such an input; names are ASCII, texts anything."""
    assert interpolate("{{x}} {ö} {1} { y } {}", {}, "t") == "{{x}} {ö} {1} { y } {}"
    assert interpolate("{{x}}", {"x": 1}, "t") == "{1}"
    assert interpolate("{x}", {"x": "日本 {y} 🚢"}, "t") == "日本 {y} 🚢"
    assert interpolate('{"a": {x}}', {"x": {"b": [1]}}, "t") == '{"a": {"b": [1]}}'


def test_inputs_reach_every_text(make_agent: Any, make_task: Any) -> None:
    """Role, goal, backstory, description, expected output; the definitions keep their placeholders."""
    agent = make_agent(["x", "x"], role="Pilot of {a}", goal="{b}", backstory="{c}")
    crew = Crew(tasks=[make_task(agent, description="{d}", expected_output="{e}")])
    assert crew.fetch_inputs() == set("abcde")
    for mark in ("1", "2"):
        output = crew.kickoff({name: name.upper() + mark for name in "abcde"})
        assert output.tasks_output[0].agent == f"Pilot of A{mark}"
        messages = agent.llm.requests[-1].messages
        assert all(f"{n}{mark}" in messages[0]["content"] for n in "ABC")
        assert all(f"{n}{mark}" in messages[1]["content"] for n in "DE")
    assert agent.role == "Pilot of {a}"


@pytest.mark.parametrize("inputs", [None, {}, {"other": 1}])
def test_a_missing_input_stops_before_any_call(make_agent: Any, make_task: Any, inputs: Any) -> None:
    """Also when no inputs are given at all."""
    agent = make_agent(["never"])
    with pytest.raises(InputError, match=r"task 'task_1' description needs the input place"):
        Crew(tasks=[make_task(agent, description="Go to {place}.")]).kickoff(inputs)
    assert agent.llm.requests == []


class Voyage(BaseModel):
    place: str = Field(min_length=2)
    days: int = 3


def test_inputs_model(make_agent: Any, make_task: Any) -> None:
    """A declared model checks, and gives defaults."""
    agent = make_agent(["x"])
    crew = Crew(tasks=[make_task(agent, description="{place} for {days} days")], inputs_model=Voyage)
    crew.kickoff({"place": "Oslo"})
    assert "Oslo for 3 days" in prompt(agent)
    assert crew.contract.required == ("place",)
    with pytest.raises(InputError) as caught:
        crew.kickoff({"place": "O", "days": "many"})
    assert [p.field for p in caught.value.problems] == ["place", "days"]
    with pytest.raises(InputError, match="place: is required"):
        crew.kickoff()


def test_all_that_is_missing_is_named_at_once(make_agent: Any, make_task: Any) -> None:
    """Over all tasks and agents, with the places."""
    tasks = [
        make_task(make_agent(["x"], goal="Know {sea}"), description="{place} and {day}", name="first"),
        make_task(make_agent(["x"]), expected_output="{place}", output_file="{file}.md", name="second"),
    ]
    with pytest.raises(InputError) as caught:
        Crew(tasks=tasks).kickoff({"day": 1})
    assert caught.value.missing == ("file", "place", "sea")
    assert [p.field for p in caught.value.problems] == ["file", "place", "sea"]
    text = str(caught.value)
    assert all(part in text for part in ("task 'first' description", "agent 'Pilot' goal", "second", "{{file}}"))
    assert "day" in text.partition("got")[2]
