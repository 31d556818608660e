"""LoopbackServer: what it counts and how it misbehaves on demand."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import aiohttp
import pytest

from quarterdeck.errors import ConfigError, ProviderDownError
from quarterdeck.llm import LLMRequest
from quarterdeck.llm.send import send
from quarterdeck.testing import LoopbackServer, after, drop, raw, slow, status

ASK = LLMRequest([{"role": "user", "content": "hi"}])


async def test_what_came_is_recorded() -> None:
    with LoopbackServer(["one", "two"]) as server:
        await send(server.llm(), LLMRequest(ASK.messages, step_key="s1"))
        await send(server.llm("claude-sonnet-4-5"), ASK)
        assert [received.path for received in server.requests] == ["/v1/chat/completions", "/v1/messages"]
        assert server.requests[0].headers["authorization"] == "Bearer loopback-key"
        assert server.requests[0].request.step_key == "s1"
        assert [list(received.request.messages) for received in server.requests] == [list(ASK.messages)] * 2
        server.clear()
        assert (server.requests, server.keys) == ([], {})


async def test_keys_count_answers_and_not_failures() -> None:
    with LoopbackServer([status(500, retry_after=0), drop(), "ok", "again"]) as server:
        for _ in range(2):
            await send(server.llm(), LLMRequest(ASK.messages, step_key="k"))
        assert len(server.requests) == 4
        assert server.keys == {"k": 2}


async def test_an_answer_that_breaks_off_counts_for_it_was_made() -> None:
    with LoopbackServer([drop("an answer", after=10)]) as server:
        with pytest.raises(ProviderDownError):
            await send(server.llm(max_retries=0), LLMRequest(ASK.messages, step_key="k"))
        assert server.keys == {"k": 1}


async def test_a_function_of_the_request_and_latency() -> None:
    async def answer(request: LLMRequest) -> Any:
        return after(0.01, lambda again: f"{request.messages[0]['content']}!{again.messages[0]['content']}")

    with LoopbackServer(by=answer, latency=0.2) as server:
        llm = server.llm()
        start = time.monotonic()
        requests = [LLMRequest([{"role": "user", "content": str(n)}]) for n in range(40)]
        got = await asyncio.gather(*(send(llm, request) for request in requests))
        assert 0.2 < time.monotonic() - start < 7  # one after another they take 8
        assert [response.text for response in got] == [f"{n}!{n}" for n in range(40)]
        assert server.most_at_once == 40


async def test_pieces_come_with_pauses() -> None:
    with LoopbackServer([slow("one two three four", pause=0.05)]) as server:
        times: list[float] = []
        await send(server.llm(), ASK, lambda _: times.append(time.monotonic()))
    assert len(times) == 4
    assert times[-1] - times[0] > 0.1


async def test_raw_bodies_and_headers() -> None:
    answers = [raw("hello", "text/plain"), status(418, "tea", code="teapot", headers={"X-A": "b"}, retry_after=3)]
    with LoopbackServer(answers) as server:
        async with aiohttp.ClientSession() as session:
            url = server.base_url + "/chat/completions"
            async with session.post(url, json={"messages": []}) as response:
                assert (response.status, response.content_type, await response.text()) == (200, "text/plain", "hello")
            async with session.post(url, json={"messages": []}) as response:
                assert (response.status, response.headers["X-A"], response.headers["Retry-After"]) == (418, "b", "3")
                assert (await response.json())["error"] == {
                    "message": "tea",
                    "type": "invalid_request_error",
                    "param": None,
                    "code": "teapot",
                }


def test_it_leaves_nothing_behind_and_can_be_used_from_sync_code() -> None:
    before = threading.active_count()
    with LoopbackServer(by=lambda _: "ok") as server:
        assert server.llm().call("hi") == "ok"
        running = [thread for thread in threading.enumerate() if thread.name == "loopback-server"]
        assert len(running) == 1
    assert not any(thread.name == "loopback-server" for thread in threading.enumerate())
    assert threading.active_count() <= before + 1  # the background loop, started by the first sync call


async def test_it_ends_while_an_answer_is_under_way() -> None:
    start = time.monotonic()
    with LoopbackServer([after(30, "late")]) as server:
        task = asyncio.create_task(send(server.llm(max_retries=0), ASK))
        await asyncio.sleep(0.2)
        assert len(server.requests) == 1
    with pytest.raises(ProviderDownError):
        await task
    assert time.monotonic() - start < 5


def test_what_it_needs() -> None:
    for arguments in ({}, {"answers": [], "by": str}):
        with pytest.raises(ConfigError, match="answers or by="):
            LoopbackServer(**arguments)
