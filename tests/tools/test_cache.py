"""The run's cache of results."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from quarterdeck.tools import tool
from quarterdeck.tools.cache import ToolCache
from quarterdeck.tools.result import ToolResult
from quarterdeck.tools.usage import ToolUsage


def counting(**settings: Any) -> Any:
    """A tool that returns how often it was called."""
    calls: list[int] = []

    @tool(**settings)
    async def count(x: int = 0, fail: bool = False) -> int:
        """Counts its calls."""
        calls.append(x)
        number = len(calls)
        await asyncio.sleep(0.01)
        if fail:
            raise ValueError("failed")
        return number

    return count


async def test_the_same_call_is_made_once(call: Any):
    count, cache, usage = counting(max_usage_count=2), ToolCache(), ToolUsage()
    first = await call(count, '{"x": 1, "fail": false}', cache=cache, usage=usage)
    second = await call(count, '{"fail": false, "x": 1}', cache=cache, usage=usage)
    assert (first.output, first.cached) == ("1", False)
    assert (second.output, second.cached, second.seconds) == ("1", True, 0.0)
    assert usage.count(count) == 1
    assert (await call(count, '{"x": 2}', cache=cache, usage=usage)).output == "2"
    assert (await call(count, '{"x": 1, "fail": false}', cache=ToolCache())).output == "3"


async def test_equal_calls_at_once_share_one_execution(call: Any):
    count, cache = counting(), ToolCache()
    results = await asyncio.gather(*(call(count, '{"x": 1}', cache=cache) for _ in range(5)))
    assert [result.output for result in results] == ["1"] * 5
    assert [result.cached for result in results] == [False, True, True, True, True]


async def test_failures_are_not_kept(call: Any):
    count, cache = counting(), ToolCache()
    results = await asyncio.gather(*(call(count, '{"fail": true}', cache=cache) for _ in range(3)))
    assert [result.ok for result in results] == [False] * 3
    assert (await call(count, "{}", cache=cache)).output == "4"


async def test_a_cancelled_call_leaves_the_others_to_do_it(call: Any):
    count, cache = counting(), ToolCache()
    first = asyncio.ensure_future(call(count, "{}", cache=cache))
    await asyncio.sleep(0)
    second = asyncio.ensure_future(call(count, "{}", cache=cache))
    await asyncio.sleep(0.002)
    first.cancel()
    assert (await second).output == "2"
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_cache_function_decides(call: Any):
    seen: list[Any] = []

    def odd(arguments: dict[str, Any], result: int) -> bool:
        seen.append((arguments, result))
        return result % 2 == 1

    count, cache = counting(cache_function=odd), ToolCache()
    outputs = [(await call(count, {"x": x}, cache=cache)).output for x in (1, 1, 2, 2, 2)]
    assert outputs == ["1", "1", "2", "3", "3"]
    assert seen == [({"x": 1}, 1), ({"x": 2}, 2), ({"x": 2}, 3)]


async def test_a_cache_function_that_fails_loses_no_result(call: Any, caplog: pytest.LogCaptureFixture):
    def broken(arguments: dict[str, Any], result: int) -> bool:
        raise KeyError("x")

    count, cache = counting(cache_function=broken), ToolCache()
    assert [(await call(count, "", cache=cache)).output for _ in range(2)] == ["1", "2"]
    assert "cache_function of tool 'count' failed" in caplog.text


async def test_tools_that_must_not_be_repeated_are_not_answered_from_the_cache(call: Any):
    count, cache = counting(retry="never"), ToolCache()
    assert [(await call(count, "", cache=cache)).output for _ in range(2)] == ["1", "2"]


async def test_two_tools_of_one_name_do_not_share(call: Any):
    cache = ToolCache()
    assert [(await call(counting(), "", cache=cache)).cached for _ in range(2)] == [False, False]


async def test_a_call_inside_of_the_same_call_does_not_wait_for_itself(call: Any):
    cache = ToolCache()
    depth = 0

    @tool
    async def nested() -> str:
        """Calls itself once."""
        nonlocal depth
        depth += 1
        return "inner" if depth == 2 else (await call(nested, "{}", cache=cache)).output

    result = await asyncio.wait_for(call(nested, "{}", cache=cache), 5)
    assert (result.output, depth) == ("inner", 2)


async def test_a_run_that_goes_on_puts_back_what_the_journal_has(call: Any):
    count, cache = counting(), ToolCache()
    cache.put(count, {"x": 1}, ToolResult("41", arguments={"x": 1}))
    result = await call(count, '{"x": 1}', cache=cache)
    assert (result.output, result.cached) == ("41", True)
