"""ScriptedLLM: what it answers, what it records, and how it fails."""

from __future__ import annotations

import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from pydantic import BaseModel

from quarterdeck.errors import ConfigError, ContextTooLongError, RateLimitError
from quarterdeck.llm import LLMRequest, LLMResponse, ToolSpec
from quarterdeck.llm.send import send
from quarterdeck.testing import ScriptedLLM, after, call


def asking(text: str) -> LLMRequest:
    return LLMRequest([{"role": "user", "content": text}])


class Point(BaseModel):
    x: int


async def test_answers_in_order_and_the_requests_that_came() -> None:
    ready = LLMResponse("ready-made", response_id="r")
    llm = ScriptedLLM(
        [
            "text",
            call("lookup", query="tides"),
            [call("a"), call("b", n=1)],
            ready,
            Point(x=1),
            after(0.05, "late"),
            lambda request: request.messages[-1]["content"].upper(),
            lambda request: call("late", n=len(request.messages)),
        ]
    )
    pieces: list[str] = []
    start = time.monotonic()
    got = [await send(llm, asking(str(n)), pieces.append) for n in range(8)]
    assert time.monotonic() - start >= 0.05
    assert [answer.text for answer in got] == ["text", "", "", "ready-made", '{"x":1}', "late", "6", ""]
    assert [[(c.name, json.loads(c.arguments)) for c in answer.tool_calls] for answer in got if answer.tool_calls] == [
        [("lookup", {"query": "tides"})],
        [("a", {}), ("b", {"n": 1})],
        [("late", {"n": 1})],
    ]
    assert got[3] is ready
    assert got[1].finish_reason == "tool_calls"
    assert "".join(pieces) == 'textready-made{"x":1}late6'
    assert [request.messages[0]["content"] for request in llm.requests] == [str(n) for n in range(8)]
    assert got[0].usage.successful_requests == 1
    assert got[0].usage.total_tokens == got[0].usage.prompt_tokens + got[0].usage.completion_tokens > 0
    llm.assert_done()


def test_tool_calls_have_ids_of_their_own() -> None:
    assert call("a").id != call("a").id
    assert call("set", name="x").name == "set"  # an argument may be called name


async def test_errors_are_raised_and_tried_again_as_real_ones() -> None:
    llm = ScriptedLLM(
        [RateLimitError("slow down", retry_after=0), "done", ContextTooLongError("too long"), ValueError("odd")]
    )
    assert (await send(llm, asking("x"))).text == "done"
    with pytest.raises(ContextTooLongError):
        await send(llm, asking("x"))
    with pytest.raises(ValueError, match="odd"):
        await send(llm, asking("x"))
    llm.assert_done()


async def test_a_script_that_does_not_fit_the_calls() -> None:
    llm = ScriptedLLM(["one", "two"])
    await send(llm, asking("first"))
    with pytest.raises(AssertionError, match="1 of 2 answers were not used; the next is 'two'"):
        llm.assert_done()
    await send(llm, asking("second"))
    with pytest.raises(AssertionError, match=r"has 2 answers.*call 3.*the third question"):
        await send(llm, asking("the third question"))


@pytest.mark.parametrize("answer", [7, [], ["text"], None, {"a": 1}, ValueError])
async def test_an_answer_that_is_none(answer: Any) -> None:
    with pytest.raises(TypeError, match="an answer must be"):
        await send(ScriptedLLM([answer]), asking("x"))


def test_what_it_needs() -> None:
    with pytest.raises(ConfigError, match="answers or by="):
        ScriptedLLM()
    with pytest.raises(ConfigError, match="answers or by="):
        ScriptedLLM([], by=str)
    with pytest.raises(ConfigError, match="must be a list"):
        ScriptedLLM("text")


def test_what_it_can_do_is_a_setting() -> None:
    able = ScriptedLLM([], schemas=True, price=(1, 1), timeout=2, max_retries=0)
    assert (able.supports_function_calling(), able.supports_output_schema()) == (True, True)
    assert (able.timeout, able.max_retries, able.price) == (2, 0, (1, 1))
    assert not ScriptedLLM([], tools=False).supports_function_calling()


async def test_a_function_of_the_request_serves_many_at_once() -> None:
    async def answer(request: LLMRequest) -> Any:
        await asyncio.sleep(0.01)
        return f"echo {request.messages[-1]['content']}"

    llm = ScriptedLLM(by=answer)
    got = await asyncio.gather(*(send(llm, asking(str(n))) for n in range(100)))
    assert [response.text for response in got] == [f"echo {n}" for n in range(100)]
    assert len(llm.requests) == 100
    llm.assert_done()


def test_a_script_is_used_once_each_by_many_threads() -> None:
    llm = ScriptedLLM([str(n) for n in range(50)])
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda _: asyncio.run(send(llm, asking("x"))).text, range(50)))
    assert sorted(got, key=int) == [str(n) for n in range(50)]
    llm.assert_done()


async def test_cancelling_a_delay() -> None:
    task = asyncio.create_task(send(ScriptedLLM([after(30, "x")], timeout=None), asking("x")))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_call_with_functions() -> None:
    spec = ToolSpec("double", "", {"type": "object"})
    tool = {"type": "function", "function": {"name": spec.name, "parameters": spec.parameters}}
    llm = ScriptedLLM([call("double", x=4)])
    assert llm.call("x", tools=[tool], available_functions={"double": lambda x: x * 2}) == 8
