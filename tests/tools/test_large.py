"""Results that are too long for a conversation."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.tools.base import tool_spec
from quarterdeck.tools.large import ResultStore

PATH = "research/1/tool/3"


def test_a_short_text_stays_whole_and_is_not_kept():
    store = ResultStore()
    assert store.cut(PATH, "x" * 8000) == "x" * 8000
    assert store.cut(PATH, "x" * 9000, None) == "x" * 9000
    assert not store


def test_a_long_text_is_cut_in_the_middle():
    store = ResultStore()
    text = "".join(f"{n:05d}," for n in range(5000))
    cut = store.cut(PATH, text)
    assert store
    assert len(cut) < 8200
    assert cut.startswith(text[:6000])
    assert cut.endswith(text[-2000:])
    assert f'read_result(handle="{PATH}", offset=6000)' in cut
    assert "22,000 of 30,000 characters are left out" in cut
    assert ResultStore().cut(PATH, text) == cut


@given(st.text(min_size=301, max_size=2000), st.integers(1, 400))
def test_a_model_that_reads_on_gets_all_of_it(text: str, step: int):
    store = ResultStore()
    store.cut(PATH, text, 300)
    read, offset = "", 0
    while True:
        part = store.read(PATH, offset, step)
        body, note = part.rsplit("\n", 1)
        read += body
        following = re.search(r"next offset (\d+)", note)
        if not following:
            break
        offset = int(following[1])
    assert read == text


async def test_the_tool(call: Any):
    store = ResultStore()
    store.cut(PATH, "a" * 5000 + "b" * 5000)
    reader = store.tool()
    assert reader is store.tool()
    assert tool_spec(reader).name == "read_result"
    result = await call(reader, {"handle": PATH, "offset": 4998, "limit": 4})
    assert result.output == "aabb\n[characters 4,998 to 5,002 of 10,000; next offset 5002]"
    whole = await call(reader, {"handle": PATH, "limit": 1_000_000})
    assert len(whole.output) < 8100


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"handle": "other"}, f"There is no result with the handle 'other'; known handles: {PATH}."),
        ({"handle": PATH, "offset": 10_000}, "offset must be from 0 to 9999, got 10000."),
        ({"handle": PATH, "offset": -1}, "offset must be from 0 to 9999, got -1."),
    ],
)
async def test_a_wrong_reading_is_explained(call: Any, arguments: dict[str, Any], said: str):
    store = ResultStore()
    store.cut(PATH, "a" * 10_000)
    result = await call(store.tool(), arguments)
    assert (result.ok, result.output) == (False, said)


async def test_stores_of_two_runs_are_apart(call: Any):
    first, second = ResultStore(), ResultStore()
    first.cut(PATH, "a" * 10_000)
    assert not (await call(second.tool(), {"handle": PATH})).ok
