"""Events to JSON and back."""

from __future__ import annotations

import dataclasses
import json
import math
import typing
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quarterdeck import events
from quarterdeck.errors import ConfigError
from quarterdeck.events import (
    EVENT_TYPES,
    VERSION,
    Event,
    LLMDelta,
    LLMFinished,
    RunFinished,
    ToolFinished,
    event_from_dict,
    event_from_json,
)

text = st.text(max_size=30) | st.sampled_from(
    ["", "\0", "\u2028", "e\u0301", "👩‍👩‍👧", "\\ud800", '{"$ref":"x"}', "\r\n"]
)
finite = st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | finite | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)
objects = st.dictionaries(text, json_values, max_size=4)
counts = st.integers(min_value=0, max_value=2**60)


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    """Values that a field of this type may have."""
    if typing.get_origin(kind) is typing.Literal:
        return st.sampled_from(typing.get_args(kind))
    by_type: dict[Any, st.SearchStrategy[Any]] = {
        str: text,
        int: counts,
        float: finite,
        bool: st.booleans(),
        int | None: st.none() | counts,
        float | None: st.none() | finite,
        str | None: st.none() | text,
        dict[str, Any]: objects,
        dict[str, Any] | None: st.none() | objects,
        dict[str, int]: st.dictionaries(text, counts, max_size=4),
        dict[str, str]: st.dictionaries(text, text, max_size=4),
        Any: json_values,
        list[dict[str, Any]]: st.lists(objects, max_size=3),
        list[str]: st.lists(text, max_size=4),
    }
    return by_type[kind]


def events_of(kind: type[Event]) -> st.SearchStrategy[Event]:
    """Events of a class, with all of its fields."""
    hints = typing.get_type_hints(kind)
    return st.builds(kind, **{field.name: values_of(hints[field.name]) for field in dataclasses.fields(kind)})


any_event = st.one_of([events_of(kind) for kind in EVENT_TYPES.values()])


def strictly(text: str) -> Any:
    """JSON as RFC 8259 has it, from the bytes that a client would get."""

    def refuse(constant: str) -> Any:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text.encode("utf-8"), parse_constant=refuse)


@pytest.mark.parametrize("name", sorted(EVENT_TYPES))
def test_every_type_comes_back_as_it_was(name: str) -> None:
    @settings(deadline=None, max_examples=50)
    @given(events_of(EVENT_TYPES[name]))
    def comes_back(event: Event) -> None:
        text = event.to_json()
        data = strictly(text)
        assert event_from_json(text) == event
        assert (data["v"], data["type"]) == (VERSION, name)
        assert "\n" not in text

    comes_back()


@settings(deadline=None, max_examples=50)
@given(any_event, st.text(st.characters(categories=["Cs", "L", "So"]), max_size=20))
def test_unpaired_surrogates_come_back_and_can_be_sent(event: Event, text: str) -> None:
    delta = LLMDelta(path=event.path, text=text)
    strictly(delta.to_json())
    # Two that make a pair are one character, in JSON as in UTF-16.
    paired = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    assert event_from_json(delta.to_json()) == dataclasses.replace(delta, text=paired)


@pytest.mark.parametrize(("number", "name"), [(math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity")])
def test_numbers_that_json_does_not_have_are_written_as_their_names(number: float, name: str) -> None:
    event = ToolFinished(tool="t", arguments={"a": [1, {"b": number}], "c": "NaN", "d": (number,)}, seconds=number)
    data = strictly(event.to_json())
    assert data["arguments"] == {"a": [1, {"b": name}], "c": "NaN", "d": [name]}
    assert data["seconds"] == name
    again = event_from_json(event.to_json())
    assert isinstance(again, ToolFinished)
    assert str(again.seconds) == str(number)  # a float field reads it back
    assert event.arguments["a"][1]["b"] is number  # the event itself is as it was


def test_deep_nesting_comes_back() -> None:
    value: Any = "bottom"
    for _ in range(200):
        value = [{"in": value}]
    event = LLMFinished(model="m", messages=[{"role": "user", "content": value}])
    assert event_from_json(event.to_json()) == event


def test_a_field_of_a_later_version_is_passed_over() -> None:
    data = RunFinished(status="completed").to_dict() | {"mood": "good"}
    assert event_from_dict(data) == RunFinished(status="completed", time=data["time"])


def test_a_missing_field_takes_its_default() -> None:
    event = event_from_dict({"type": "llm.delta", "text": "x", "time": 1.0})
    assert event == LLMDelta(text="x", time=1.0)


REFUSED: list[tuple[str, str]] = [
    ("", "must be a JSON object"),
    ("{", "must be a JSON object"),
    ("[]", "must be a JSON object, got '\\[\\]'"),
    ("null", "must be a JSON object, got 'null'"),
    ('"' + "x" * 500 + '"', "must be a JSON object, got '\"x{1,80}'"),
    ("{}", "event type None is not known; known are .*'run.finished'"),
    ('{"type": "run.exploded"}', "event type 'run.exploded' is not known"),
    ('{"type": ["run.started"]}', "event type \\['run.started'\\] is not known"),
    ('{"type": "llm.delta", "text": "x", "v": 2}', "event format 2 is newer than this version's 1: upgrade"),
    ('{"type": "thing.of.tomorrow", "v": 99}', "event format 99 is newer"),
    ('{"type": "llm.delta", "text": "x", "v": "2"}', "'v' must be a whole number from 1, got '2'"),
    ('{"type": "llm.delta", "text": "x", "v": null}', "'v' must be a whole number from 1, got None"),
    ('{"type": "llm.delta", "text": "x", "v": true}', "'v' must be a whole number from 1, got True"),
    ('{"type": "llm.delta", "text": "x", "v": 0}', "'v' must be a whole number from 1, got 0"),
    ('{"type": "llm.delta"}', "event llm.delta cannot be read: .*text"),
    ('{"type": "llm.delta", "text": 7}', "event llm.delta cannot be read: .*text"),
    ('{"type": "run.finished", "status": "exploded"}', "event run.finished cannot be read: .*status"),
    ('{"type": "run.started", "crew": "c", "inputs": [1]}', "event run.started cannot be read: .*inputs"),
    ("[" * 100_000, "must be a JSON object"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED, ids=[text[:44] for text, _ in REFUSED])
def test_what_is_no_event_is_refused_with_a_clear_error(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        event_from_json(text)


@settings(deadline=None, max_examples=50)
@given(st.text(max_size=80) | json_values.map(json.dumps) | objects.map(json.dumps))
def test_garbage_is_never_another_error(text: str) -> None:
    with pytest.raises(ConfigError):
        event_from_json(text)


def test_an_event_cannot_be_changed() -> None:
    event = LLMDelta(text="x")
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.text = "y"  # pyright: ignore[reportAttributeAccessIssue]


def test_every_class_of_the_module_has_its_own_type() -> None:
    kinds = [k for k in vars(events).values() if isinstance(k, type) and issubclass(k, Event) and k is not Event]
    assert {kind.type: kind for kind in kinds} == dict(EVENT_TYPES)
    assert len(kinds) == len(EVENT_TYPES)
