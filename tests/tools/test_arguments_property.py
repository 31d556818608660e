"""Arguments of every kind through the JSON text that a model writes."""

from __future__ import annotations

import asyncio
import inspect
import json
from keyword import iskeyword
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, create_model

from quarterdeck.tools import BaseTool, CrewStructuredTool
from quarterdeck.tools.base import tool_spec
from quarterdeck.tools.result import ToolResult

# No lone surrogates: JSON text in UTF-8 cannot hold them.
texts = st.text(st.characters(codec="utf-8"), max_size=20)
SCALARS: dict[Any, st.SearchStrategy[Any]] = {
    str: texts,
    int: st.integers(-(2**70), 2**70),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
}
kinds = st.recursive(
    st.sampled_from([*SCALARS]),
    lambda inner: st.one_of(
        inner.map(lambda kind: list[kind]),  # type: ignore[valid-type]
        inner.map(lambda kind: dict[str, kind]),  # type: ignore[valid-type]
        inner.map(lambda kind: kind | None),
    ),
    max_leaves=3,
)
names = st.from_regex(r"[a-z_][a-z0-9_]{0,10}", fullmatch=True) | st.sampled_from(
    ["schema", "json", "copy", "model_x", "self_", "_schema", "argument_0"]
)


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    if kind in SCALARS:
        return SCALARS[kind]
    origin, args = getattr(kind, "__origin__", None), kind.__args__
    if origin is list:
        return st.lists(values_of(args[0]), max_size=3)
    if origin is dict:
        return st.dictionaries(texts, values_of(args[1]), max_size=3)
    return st.one_of(*(st.none() if arg is type(None) else values_of(arg) for arg in args))


@st.composite
def calls(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    hints = draw(
        st.dictionaries(names.filter(lambda name: not name.startswith("__") and not iskeyword(name)), kinds, max_size=4)
    )
    return hints, {name: draw(values_of(kind)) for name, kind in hints.items()}


def echo_tool(hints: dict[str, Any]) -> BaseTool:
    """A tool with these parameters that gives back what it gets."""

    def function(**kwargs: Any) -> dict[str, Any]:
        return kwargs

    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind) for name, kind in hints.items()
    ]
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return CrewStructuredTool.from_function(function, "echo", "Gives back its arguments.")


@given(drawn=calls())
@settings(deadline=None, max_examples=60)
def test_every_value_comes_through_json_unchanged(call: Any, drawn: tuple[dict[str, Any], dict[str, Any]]):
    hints, values = drawn
    tool = echo_tool(hints)
    result = asyncio.run(call(tool, json.dumps(values)))
    assert result.ok, result.output
    assert result.value == values
    assert result.arguments == values
    assert list(tool_spec(tool).parameters["properties"]) == list(hints)
    json.dumps(tool_spec(tool).parameters)


class Inner(BaseModel):
    name: str
    sizes: list[int] = []


class Fixed(BaseTool):
    name: str = "fixed"
    description: str = "Has arguments of several kinds."

    async def _arun(self, count: int, inner: Inner, flag: bool = False, note: str | None = None) -> str:
        return "ran"


FIXED = Fixed()
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
near_misses = st.dictionaries(
    st.sampled_from(["count", "inner", "flag", "note", "cuont", "name"]),
    anything | st.just({"name": "x"}) | st.integers(),
    max_size=5,
)


def assert_told(result: ToolResult) -> None:
    """A call either ran, or its output says what is wrong."""
    if result.ok:
        assert result.output == "ran"
    else:
        assert result.reason == "invalid_input"
        assert result.output.startswith(("Wrong arguments:", "The arguments"))
        assert len(result.output) < 3000
        assert result.error
    json.dumps(result.arguments)


@given(text=st.text(max_size=60) | anything.map(json.dumps) | near_misses.map(json.dumps))
@settings(deadline=None, max_examples=150)
def test_no_text_makes_a_call_raise(call: Any, text: str):
    assert_told(asyncio.run(call(FIXED, text)))


@given(text=near_misses.map(json.dumps), data=st.data())
@settings(deadline=None, max_examples=100)
def test_broken_json_is_always_refused_with_words(call: Any, text: str, data: st.DataObject):
    cut = data.draw(st.integers(1, max(1, len(text) - 1)))
    broken = text[:cut]
    try:
        json.loads(broken)
    except ValueError:
        result = asyncio.run(call(FIXED, broken))
        assert not result.ok
        assert "not valid JSON" in result.output


@given(arguments=near_misses)
@settings(deadline=None, max_examples=100)
def test_what_is_refused_is_what_pydantic_refuses(call: Any, arguments: dict[str, Any]):
    model = create_model(
        "Model", __config__={"extra": "forbid"}, count=int, inner=Inner, flag=(bool, False), note=(str | None, None)
    )
    try:
        model.model_validate(arguments)
        fits = True
    except ValueError:
        fits = False
    assert asyncio.run(call(FIXED, arguments)).ok == fits


@pytest.mark.parametrize("text", ["{'count': 1}", "{count: 1}", '{"count": 1,}', '```json\n{"count": 1}\n```'])
async def test_json_that_is_nearly_right_is_not_guessed_at(call: Any, text: str):
    assert "not valid JSON" in (await call(FIXED, text)).output
