"""JSON with comments: the same values as Python's own reader, and the line of each."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.project.jsonc import JSONCError, load

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES, st.booleans(), st.sampled_from([None, 1, "\t"]))
def test_it_reads_what_json_reads(value: Any, ascii_only: bool, indent: Any) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    found, lines = load(text)
    assert found == value
    assert max(lines.values()) <= text.count("\n") + 1
    commented = text.replace("\n", ' // a "comment" { [\n /* and\n another */') if indent else text
    assert load(f"/* first */ {commented} // last")[0] == value


def test_lines() -> None:
    found, lines = load('{\n  "a": [\n    1, // one\n    {"b": "x//y"},\n  ],\n}')
    assert found == {"a": [1, {"b": "x//y"}]}
    assert lines == {(): 1, ("a",): 2, ("a", 0): 3, ("a", 1): 4, ("a", 1, "b"): 4}


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("", 1, "expected a value, got the end"),
        ("{", 1, "expected a key in double quotes or '}', got the end"),
        ('{"a": 1,\n"a": 2}', 2, "the key 'a' is there twice"),
        ('{"a"\n: tru}', 2, "expected a value, got 'tru}'"),
        ('["a\n"]', 1, "this text is not ended well"),
        ("[1 2]", 1, "expected ',' or ']', got '2]'"),
        ("[,]", 1, "expected a value, got ',]'"),
        ("{} x", 1, "there is 'x' after the end"),
        ("'a'", 1, "expected a value"),
    ],
)
def test_errors(text: str, line: int, said: str) -> None:
    with pytest.raises(JSONCError) as raised:
        load(text)
    assert (raised.value.line, said in str(raised.value)) == (line, True), str(raised.value)
