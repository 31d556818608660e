"""Answers of any shape, written wrongly in any way: a valid instance or a clear error, and seldom a second call."""

from __future__ import annotations

import datetime
import decimal
import enum
import itertools
import json
import uuid
from collections import Counter
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple, Optional

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, RootModel, create_model

from quarterdeck import Agent
from quarterdeck.errors import OutputFormatError
from quarterdeck.llm.structured import output_schema
from quarterdeck.testing import ScriptedLLM


class Colour(enum.Enum):
    RED = "red"
    SEA = "sea green"


class Node(BaseModel):
    value: int
    children: list[Node] = []


class Shape(NamedTuple):
    """A type, and JSON values that fit it."""

    kind: Any
    values: st.SearchStrategy[Any]


numbers = itertools.count()
texts = st.text(max_size=12) | st.sampled_from(["it's", '"quoted"', "{a: 1}", "// no", "a,]", "é\n\t\\", "😀", "None"])
nodes = st.recursive(
    st.builds(lambda v: {"value": v, "children": []}, st.integers(-9, 9)),
    lambda inner: st.builds(lambda v, c: {"value": v, "children": c}, st.integers(-9, 9), st.lists(inner, max_size=2)),
    max_leaves=4,
)
LEAVES = [
    Shape(int, st.integers(-(10**6), 10**6)),
    Shape(Annotated[int, Field(ge=0, le=100)], st.integers(0, 100)),
    Shape(float, st.floats(allow_nan=False, allow_infinity=False, width=32)),
    Shape(bool, st.booleans()),
    Shape(str, texts),
    Shape(Annotated[str, Field(min_length=1, max_length=20)], st.text(min_size=1, max_size=12)),
    Shape(decimal.Decimal, st.integers(0, 10**6).map(lambda n: f"{n / 100:.2f}")),
    Shape(datetime.datetime, st.datetimes().map(datetime.datetime.isoformat)),
    Shape(datetime.date, st.dates().map(datetime.date.isoformat)),
    Shape(uuid.UUID, st.uuids().map(str)),
    Shape(Literal["north", "south", 3], st.sampled_from(["north", "south", 3])),
    Shape(Colour, st.sampled_from(["red", "sea green"])),
    Shape(Node, nodes),
]


def containers(inner: st.SearchStrategy[Shape]) -> st.SearchStrategy[Shape]:
    return st.one_of(
        inner.map(lambda s: Shape(list[s.kind], st.lists(s.values, max_size=3))),
        inner.map(lambda s: Shape(dict[str, s.kind], st.dictionaries(texts, s.values, max_size=3))),
        inner.map(lambda s: Shape(Optional[s.kind], st.none() | s.values)),  # noqa: UP045 - a type made at run time
        st.tuples(inner, inner).map(lambda p: Shape(p[0].kind | p[1].kind, p[0].values | p[1].values)),
        models(inner),
    )


@st.composite
def models(draw: st.DrawFn, inner: st.SearchStrategy[Shape]) -> Shape:
    fields: dict[str, Any] = {}
    values: dict[str, st.SearchStrategy[Any]] = {}
    for n, shape in enumerate(draw(st.lists(inner, min_size=1, max_size=4))):
        alias = draw(st.sampled_from([None, None, f"field-{n}", f"Field{n}"]))
        required = n == 0 or draw(st.booleans())
        fields[f"f{n}"] = (shape.kind if required else shape.kind | None, Field(... if required else None, alias=alias))
        values[alias or f"f{n}"] = shape.values
    extra = draw(st.sampled_from(["ignore", "ignore", "forbid"]))
    made = create_model(f"Made{next(numbers)}", __config__=ConfigDict(extra=extra), **fields)
    return Shape(made, st.fixed_dictionaries(values))


shapes = st.recursive(st.sampled_from(LEAVES), containers, max_leaves=4)
roots = st.one_of(
    models(shapes),
    models(shapes),
    shapes.map(lambda s: Shape(RootModel[list[s.kind]], st.lists(s.values, min_size=1, max_size=3))),
    st.tuples(models(shapes), models(shapes)).map(
        lambda p: Shape(RootModel[p[0].kind | p[1].kind], p[0].values | p[1].values)
    ),
    st.just(Shape(Node, nodes)),
)


def with_commas(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + "".join(f"{json.dumps(k)}: {with_commas(v)}," for k, v in value.items()) + "}"
    return "[" + "".join(f"{with_commas(v)}," for v in value) + "]" if isinstance(value, list) else json.dumps(value)


def first_replaced(value: Any, by: Any) -> Any:
    if isinstance(value, dict):
        return {k: by if n == 0 else v for n, (k, v) in enumerate(value.items())}
    return [by, *value[1:]]


def without_first(value: Any) -> Any:
    return dict(list(value.items())[1:]) if isinstance(value, dict) else value[1:]


Way = Callable[[Any, str, type[BaseModel]], str]

LOSSLESS: dict[str, Way] = {
    "plain": lambda v, t, m: t,
    "fence": lambda v, t, m: f"```json\n{t}\n```",
    "fence and prose": lambda v, t, m: f"Sure!\n\n```\n{t}\n```\nAnything else?",
    "prose": lambda v, t, m: f"Here is [it], as asked: {t} I hope that {{this}} helps.",
    "indented": lambda v, t, m: json.dumps(v, indent=2),
    "trailing commas": lambda v, t, m: with_commas(v),
    "python": lambda v, t, m: repr(v),
    "comments": lambda v, t, m: t[0] + " // first\n/* then */" + t[1:] + " # done",
    "in a string": lambda v, t, m: json.dumps(t),
    "own name": lambda v, t, m: json.dumps({m.__name__: v}) if isinstance(v, dict) and "[" not in m.__name__ else t,
    "wrapped": lambda v, t, m: json.dumps({"answer": v}) if issubclass(m, RootModel) else t,
    "a list of one": lambda v, t, m: t if issubclass(m, RootModel) else f"[{t}]",
}
LOSSY: dict[str, Way] = {
    "cut off": lambda v, t, m: t[:-1],
    "cut off in the middle": lambda v, t, m: t[: max(1, len(t) * 2 // 3)],
    "cut off in a fence": lambda v, t, m: f"```json\n{t[: max(1, len(t) // 2)]}",
    "another type": lambda v, t, m: json.dumps(first_replaced(v, {"of": ["another", "kind"]})),
    "a field is missing": lambda v, t, m: json.dumps(without_first(v)),
    "one field too many": lambda v, t, m: json.dumps({**v, "more": 1}) if isinstance(v, dict) else t,
    "NaN": lambda v, t, m: json.dumps(first_replaced(v, float("nan"))),
    "no JSON": lambda v, t, m: "I cannot answer in that form.",
    "empty object": lambda v, t, m: "{}",
}

tried: Counter[str] = Counter()


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def check_one_schema(data: st.DataObject) -> None:
    root = data.draw(roots)
    model: type[BaseModel] = root.kind
    value = data.draw(root.values)
    text = json.dumps(value, ensure_ascii=False)
    assert output_schema(model).schema["type"] == "object"
    expected = model.model_validate_json(text)
    for name, way in {**LOSSLESS, **LOSSY}.items():
        answer = way(value, text, model)
        llm = ScriptedLLM([answer, text])
        got = Agent(role="R", goal="g", llm=llm).kickoff("Fill it in", model).pydantic
        repairs = len(llm.requests) - 1
        tried.update(cases=1, repairs=repairs)
        assert isinstance(got, model)
        if name in LOSSLESS:
            assert (got, repairs) == (expected, 0), (name, answer)
        elif name.startswith("cut off") and answer != text:
            assert (got, repairs) == (expected, 1), (name, answer)


def test_200_schemas_and_every_malformed_answer() -> None:
    """Each ends in an instance; what is nearly JSON costs no call, an answer that breaks off is never filled up."""
    tried.clear()
    check_one_schema()
    assert tried["cases"] >= 200 * len(LOSSLESS | LOSSY)
    average = tried["repairs"] / tried["cases"]
    assert average <= 1
    print(f"{tried['cases']} answers, {tried['repairs']} repairs: {average:.2f} on average")


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_an_answer_that_stays_wrong_is_a_clear_error(data: st.DataObject) -> None:
    """An instance or OutputFormatError, after two repairs, each quoting what is wrong."""
    root = data.draw(roots)
    value = data.draw(root.values)
    way = data.draw(st.sampled_from(list(LOSSY.values())))
    answer = way(value, json.dumps(value), root.kind)
    llm = ScriptedLLM(by=lambda request: answer)
    try:
        got = Agent(role="R", goal="g", llm=llm).kickoff("Fill it in", root.kind).pydantic
    except OutputFormatError as error:
        got, failed = None, str(error)
    if got is not None:
        assert isinstance(got, root.kind)
        return
    assert root.kind.__name__ in failed
    assert len(llm.requests) == 3
    said = str(llm.requests[1].messages[-1]["content"])
    assert any(words in said for words in ("(got ", "no JSON", "breaks off", "cannot be read")), said


@pytest.mark.parametrize(
    "text", ["[" * 50_000, '{"value": ' * 5_000, "{" * 100, "\\", '"', "{'a': 'b\\", "{/*", '{"\\u12']
)
def test_odd_texts_are_told_of(text: str) -> None:
    llm = ScriptedLLM([text, '{"value": 1}'])
    assert Agent(role="R", goal="g", llm=llm).kickoff("Go", Node).pydantic == Node(value=1)
