"""One call of a tool: good and bad arguments, errors, time limits, results."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest
from pydantic import BaseModel, field_validator

from quarterdeck.concurrency import call_in_thread
from quarterdeck.errors import RunStopped, ToolError, UsageError
from quarterdeck.tools import BaseTool, ToolFailure, current_step, step_key, tool
from quarterdeck.tools.usage import ToolUsage


class Item(BaseModel):
    name: str
    count: int = 1


@tool
def order(item: Item, tags: list[str] | None = None, express: bool = False) -> dict[str, Any]:
    """Orders an item.

    Args:
        item: What to order.
    """
    return {"item": item, "tags": tags, "express": express}


class TestArguments:
    async def test_good_arguments_are_converted(self, call: Any):
        result = await call(order, '{"item": {"name": "pen", "count": "2"}, "express": "true"}')
        assert result.ok
        assert result.output == '{"item":{"name":"pen","count":2},"tags":null,"express":true}'
        assert result.value["item"] == Item(name="pen", count=2)
        assert result.arguments == {"item": {"name": "pen", "count": "2"}, "express": "true"}
        assert (result.error, result.reason, result.failure) == ("", "", None)
        assert result.seconds > 0

    @pytest.mark.parametrize("text", ["", "  ", "null", "{}", '""', '"{}"', {}])
    async def test_no_arguments(self, call: Any, text: Any):
        @tool
        def now() -> str:
            """Tells the time."""
            return "12:00"

        assert (await call(now, text)).output == "12:00"

    async def test_json_that_was_encoded_twice(self, call: Any):
        assert (await call(order, '"{\\"item\\": {\\"name\\": \\"pen\\"}}"')).ok

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ('{"item": ', "not valid JSON"),
            ("item=pen", "not valid JSON"),
            ('{"item": {"name": "pen"}} thanks', "not valid JSON"),
            ('{"item": NaN}', "not valid JSON"),
            ('{"item": "\\ud800"}', "not valid JSON"),
            ("[" * 100_000, "not valid JSON"),
            ("[1, 2]", "must be a JSON object"),
            ("3", "must be a JSON object"),
            ('"\\"\\\\\\"{}\\\\\\"\\""', "must be a JSON object"),
            ("{}", "- item: is missing; expected"),
            ('{"item": {}}', "- item.name: is missing"),
            ('{"item": {"name": 3}}', "- item.name: got 3; input should be a valid string"),
            ('{"item": {"name": "pen"}, "tags": ["a", 1]}', "- tags.1: got 1; input should be a valid string"),
            ('{"item": {"name": "pen"}, "tag": []}', "- tag: is not an argument; did you mean 'tags'?"),
            ('{"item": {"name": "pen"}, "xyz": []}', "- xyz: is not an argument; known are item, tags, express"),
            ('{"item": {"name": "pen"}, "express": "perhaps"}', '- express: got "perhaps"; input should be a valid'),
        ],
    )
    async def test_a_wrong_call_is_explained(self, call: Any, text: str, said: str):
        result = await call(order, text)
        assert not result.ok
        assert said in result.output
        assert len(result.output) < 600
        assert result.reason == "invalid_input"
        assert "ToolArgumentsError" in result.error
        assert result.value is None

    async def test_many_mistakes_are_not_all_told(self, call: Any):
        result = await call(order, {"item": {"name": "x"}, "tags": list(range(50))})
        assert "- and 40 more" in result.output

    async def test_a_validator_with_an_error_of_its_own(self, call: Any):
        class Input(BaseModel):
            x: int

            @field_validator("x")
            @classmethod
            def check(cls, value: int) -> int:
                raise KeyError("no such row")

        class Checked(BaseTool):
            name: str = "checked"
            description: str = "d"
            args_schema: type[BaseModel] = Input

            def _run(self, x: int) -> int:
                return x

        result = await call(Checked(), '{"x": 1}')
        assert (result.ok, result.reason) == (False, "invalid_input")
        assert "KeyError: 'no such row'" in result.output


class TestErrors:
    async def test_an_exception_is_one_line_for_the_model_and_whole_in_the_trace(self, call: Any):
        @tool
        def fails() -> str:
            """Fails."""
            raise ValueError("first\nsecond")

        result = await call(fails)
        assert (result.ok, result.output) == (False, "The tool failed: ValueError: first second")
        assert result.error.startswith("Traceback")
        assert 'raise ValueError("first\\nsecond")' in result.error
        assert result.failure.code == "ValueError"
        assert result.reason == "exception"

    async def test_a_tool_error_is_told_as_it_is(self, call: Any):
        @tool
        async def fails() -> str:
            """Fails."""
            raise ToolError("The shop is closed on Sundays.")

        assert (await call(fails)).output == "The shop is closed on Sundays."

    async def test_a_long_message_is_cut(self, call: Any):
        @tool
        def fails() -> str:
            """Fails."""
            raise ValueError("x" * 10_000)

        assert len((await call(fails)).output) < 600

    async def test_errors_that_are_hard_to_show(self, call: Any):
        class Broken(Exception):
            def __str__(self) -> str:
                raise RuntimeError("no text")

        @tool
        def fails(kind: str) -> str:
            """Fails."""
            if kind == "broken":
                raise Broken
            if kind == "exit":
                sys.exit(3)
            if kind == "stop":
                raise StopIteration
            return fails(kind)

        assert (await call(fails, {"kind": "broken"})).output == "The tool failed: Broken"
        assert (await call(fails, {"kind": "exit"})).output == "The tool failed: SystemExit: 3"
        assert "StopIteration" in (await call(fails, {"kind": "stop"})).output
        assert "RecursionError" in (await call(fails, {"kind": "deep"})).output

    async def test_what_ends_the_run_passes_through(self, call: Any):
        @tool
        def stops() -> str:
            """Stops."""
            raise RunStopped("limited", "no money left")

        with pytest.raises(RunStopped, match="no money left"):
            await call(stops)

    async def test_cancelling_passes_through_and_a_tools_own_cancelled_work_does_not(self, call: Any):
        @tool
        async def waits() -> str:
            """Waits."""
            await asyncio.sleep(60)
            return ""

        @tool
        async def cancels_its_own() -> str:
            """Cancels."""
            work = asyncio.ensure_future(asyncio.sleep(60))
            work.cancel()
            return str(await work)

        task = asyncio.ensure_future(call(waits))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        result = await call(cancels_its_own)
        assert (result.ok, result.output) == (False, "The tool's own work was cancelled.")

    async def test_a_reported_failure(self, call: Any):
        @tool
        def post(channel: str) -> str | ToolFailure:
            """Posts."""
            return ToolFailure("No such channel.", code="channel_not_found", retryable=True, details={"id": 7})

        result = await call(post, {"channel": "x"})
        assert (result.ok, result.reason) == (False, "tool_reported")
        assert result.output == "No such channel. (code: channel_not_found) The same call may succeed later."
        assert "'id': 7" in result.error


class TestTimeLimit:
    async def test_of_an_async_tool(self, call: Any):
        @tool(timeout=0.05)
        async def slow() -> str:
            """Slow."""
            await asyncio.sleep(60)
            return ""

        result = await call(slow)
        assert (result.ok, result.reason) == (False, "exception")
        assert result.output == "The tool took longer than its time limit of 0.05 s."
        assert 0.05 <= result.seconds < 5

    async def test_of_a_sync_tool_whose_thread_runs_on(self, call: Any):
        ended = threading.Event()

        @tool(timeout=0.05)
        def slow() -> str:
            """Slow."""
            time.sleep(0.2)
            ended.set()
            return ""

        result = await call(slow)
        assert "time limit" in result.output
        assert not ended.is_set()
        assert await call_in_thread(ended.wait, 5)

    async def test_a_tools_own_timeout_is_its_own(self, call: Any):
        @tool(timeout=60)
        async def fails() -> str:
            """Fails."""
            raise TimeoutError("the printer")

        assert (await call(fails)).output == "The tool failed: TimeoutError: the printer"

    async def test_sync_tools_run_at_the_same_time(self, call: Any):
        barrier = threading.Barrier(4, timeout=5)

        @tool
        def meet() -> int:
            """Waits for the others."""
            return barrier.wait()

        results = await asyncio.gather(*(call(meet) for _ in range(4)))
        assert sorted(result.value for result in results) == [0, 1, 2, 3]


class Colour(Enum):
    RED = "red"


@dataclass
class Point:
    x: int
    at: date


class TestResults:
    @pytest.mark.parametrize(
        ("value", "output"),
        [
            ("plain \u00e9", "plain \u00e9"),
            ("", ""),
            (None, "Done. There is no result to show."),
            (3, "3"),
            (True, "true"),
            ([1, "a", None], '[1,"a",null]'),
            ({"a": Decimal("1.50"), "b": Colour.RED}, '{"a":"1.50","b":"red"}'),
            (Item(name="pen"), '{"name":"pen","count":1}'),
            ([Point(1, date(2026, 1, 2))], '[{"x":1,"at":"2026-01-02"}]'),
            ({1}, "[1]"),
            (b"text", '"text"'),
            (b"\xff", "b'\\xff'"),
            (object, "<class 'object'>"),
        ],
    )
    async def test_values_are_told_as_json(self, call: Any, value: Any, output: str):
        @tool
        def give() -> Any:
            """Gives."""
            return value

        result = await call(give)
        assert result.output.strip('"') == output.strip('"')
        assert result.value == value

    async def test_a_value_that_holds_itself(self, call: Any):
        loop: list[Any] = []
        loop.append(loop)

        @tool
        def give() -> Any:
            """Gives."""
            return loop

        assert (await call(give)).output == "[[...]]"

    async def test_an_awaitable_from_a_sync_function_is_awaited(self, call: Any):
        async def later() -> int:
            return 7

        @tool
        def give() -> Any:
            """Gives."""
            return later()

        assert (await call(give)).output == "7"

    async def test_own_formatting(self, call: Any):
        class Celsius(BaseTool):
            name: str = "t"
            description: str = "d"

            def _run(self) -> float:
                return 21.5

            def format_output_for_agent(self, raw: Any) -> str:
                return f"{raw} degrees"

        assert (await call(Celsius())).output == "21.5 degrees"

    async def test_the_answer(self, call: Any):
        @tool(result_as_answer=True)
        def give(x: int) -> int:
            """Gives."""
            return 1 // x

        assert (await call(give, {"x": 1})).is_answer
        assert not (await call(give, {"x": 0})).is_answer

    async def test_a_result_schema(self, call: Any):
        @tool(result_schema=Item)
        def give(kind: str) -> Any:
            """Gives."""
            return {"json": '{"name": "a", "count": "3"}', "dict": {"name": "a"}, "wrong": {"count": "x"}, "no": "oh"}[
                kind
            ]

        assert (await call(give, {"kind": "json"})).value == Item(name="a", count=3)
        assert (await call(give, {"kind": "dict"})).output == '{"name":"a","count":1}'
        wrong = await call(give, {"kind": "wrong"})
        assert (wrong.ok, wrong.reason) == (False, "exception")
        assert wrong.output == "The tool returned a result that does not fit its schema: name: Field required."
        assert "does not fit its schema: result: Invalid JSON" in (await call(give, {"kind": "no"})).output


class TestStep:
    async def test_the_step_is_known_inside_sync_and_async_tools_and_nowhere_else(self, call: Any):
        @tool
        def in_thread() -> str:
            """Gives the key."""
            return step_key()

        @tool
        async def on_loop() -> str:
            """Gives the path."""
            step = current_step()
            assert step is not None
            return step.path

        assert (await call(in_thread)).output == "run:task/1/tool/1"
        assert (await call(on_loop)).output == "task/1/tool/1"
        assert current_step() is None
        with pytest.raises(UsageError, match="outside of a run"):
            step_key()


class TestUsage:
    async def test_each_run_has_its_own_count(self, call: Any):
        @tool(max_usage_count=2)
        def give() -> str:
            """Gives."""
            return "x"

        first, second = ToolUsage(), ToolUsage()
        assert [(await call(give, usage=first)).ok for _ in range(3)] == [True, True, False]
        refused = await call(give, usage=first)
        assert refused.output == "This tool may be called 2 times in a run, and has been. Go on without it."
        assert refused.reason == "usage_limit"
        assert (await call(give, usage=second)).ok
        assert give.current_usage_count == 0

    async def test_what_counts(self, call: Any):
        @tool(max_usage_count=2)
        def halve(x: int) -> float:
            """Halves."""
            return 1 / x

        usage = ToolUsage()
        await call(halve, '{"x": "no number"}', usage=usage)
        assert usage.count(halve) == 0
        await call(halve, '{"x": 0}', usage=usage)
        assert usage.count(halve) == 1

    async def test_calls_at_once_do_not_pass_the_limit(self, call: Any):
        @tool(max_usage_count=3)
        def slow() -> str:
            """Slow."""
            time.sleep(0.01)
            return "x"

        usage = ToolUsage()
        results = await asyncio.gather(*(call(slow, usage=usage) for _ in range(10)))
        assert sum(result.ok for result in results) == 3

    def test_a_run_that_goes_on_counts_what_the_journal_has(self):
        @tool(max_usage_count=5)
        def give() -> str:
            """Gives."""
            return "x"

        usage = ToolUsage()
        for reason, cached in [
            ("", False),
            ("exception", False),
            ("invalid_input", False),
            ("usage_limit", False),
            ("", True),
        ]:
            usage.replay(give, reason=reason, cached=cached)
        assert usage.count(give) == 2


async def test_a_call_costs_less_than_100_microseconds_on_top_of_the_thread(call: Any):
    @tool
    def echo(text: str, times: int = 1) -> str:
        """Echoes."""
        return text * times

    async def cpu(function: Any) -> float:
        rounds = []
        for _ in range(5):
            begun = time.process_time()
            for _ in range(200):
                await function()
            rounds.append((time.process_time() - begun) / 200)
        return min(rounds)

    whole = await cpu(lambda: call(echo, '{"text": "a"}'))
    hop = await cpu(lambda: call_in_thread(echo.func, "a"))
    assert whole - hop < 100e-6
