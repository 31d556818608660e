"""The stream of events: read in any pieces, gone on with where it broke off."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quarterdeck.client import APIError, Client, StreamEvent
from quarterdeck.client.events import _blocks  # pyright: ignore[reportPrivateUsage]

RUN = "0197c0de-0000-7000-8000-000000000001"
END = 'event: end\r\ndata: {"status": "completed"}\r\n\r\n'


def event(number: int, kind: str = "task.finished") -> str:
    return f"id: {number}\r\nevent: {kind}\r\ndata: {json.dumps({'seq': number, 'text': 'ä'})}\r\n\r\n"


def stream(*parts: str, breaks: bool = False) -> Any:
    """An answer of these parts; ``breaks``: the connection is torn down after them."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for part in parts:
            await response.write(part.encode())
        if breaks:
            await asyncio.sleep(0.05)  # what was written is on its way
            assert request.transport
            request.transport.abort()
        return response

    return answer


async def all_of(stream: Any) -> list[StreamEvent]:
    return [event async for event in stream]


async def test_a_broken_stream_goes_on_without_gap_or_repeat(script: Any) -> None:
    script.answers(
        stream(": ping\r\n\r\n", event(1), event(2), "id: 3\r\nevent: task.fin", breaks=True),
        None,
        stream(event(2), event(3), "event: llm.delta\ndata: {}\n\n"),  # ends early, and repeats one
        stream(event(4), END),
    )
    events = await all_of(script.client().events(RUN))
    assert [(event.id, event.type) for event in events] == [
        (1, "task.finished"),
        (2, "task.finished"),
        (3, "task.finished"),
        (None, "llm.delta"),
        (4, "task.finished"),
        (None, "end"),
    ]
    assert events[0].data == {"seq": 1, "text": "ä"}
    assert events[-1].data == {"status": "completed"}
    assert [got.headers.get("last-event-id") for got in script.got] == [None, "2", "2", "3"]


async def test_it_asks_for_what_is_wanted(script: Any) -> None:
    script.answers(stream(event(9), END))
    events = await all_of(script.client().events(RUN, after=7, types=["task.finished", "run.finished"]))
    assert [event.id for event in events] == [9, None]
    assert script.got[0].path == f"/{RUN}/events?types=task.finished,run.finished"
    assert script.got[0].headers["last-event-id"] == "7"


async def test_refusals_and_nonsense_are_final(script: Any) -> None:
    for answer, says in (
        ({"kickoff_id": RUN}, "not with events"),
        (web.json_response({"error": "Execution not found"}, status=404), "404: Execution not found"),
        (stream("data: nonsense\n\n"), "no JSON object: 'nonsense'"),
    ):
        script.answers(answer)
        with pytest.raises(APIError, match=says):
            await all_of(script.client().events(RUN))
        assert len(script.got) == 1


async def test_tries_have_an_end(script: Any) -> None:
    script.answers(None)
    with pytest.raises(APIError, match="the connection broke"):
        await all_of(script.client(retries=1).events(RUN))
    assert 2 <= len(script.got) <= 4  # aiohttp itself sends a GET twice when the connection is closed under it


async def test_the_sync_client_can_stop_early(script: Any) -> None:
    script.answers(stream(event(1), event(2), END))

    def first() -> list[int | None]:
        found: list[int | None] = []
        for item in Client(script.url).events(RUN):
            found.append(item.id)
            break
        return found

    assert await asyncio.to_thread(first) == [1]


LINES = st.lists(
    st.sampled_from(["data: a", "data:b", "data: ä€", "id: 4", "event: x", ": comment", ":", "", "retry: 5", "other"]),
    max_size=12,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(LINES, st.sampled_from(["\n", "\r\n"]), st.lists(st.integers(1, 9), min_size=1, max_size=20))
def test_pieces_do_not_matter(lines: list[str], end: str, sizes: list[int]) -> None:
    body = "".join(line + end for line in lines).encode()

    async def pieces() -> AsyncIterator[bytes]:
        left, number = body, 0
        while left:
            size = sizes[number % len(sizes)]
            yield left[:size]
            left, number = left[size:], number + 1

    async def whole() -> AsyncIterator[bytes]:
        yield body

    async def both() -> tuple[list[dict[str, str]], list[dict[str, str]]]:
        return [b async for b in _blocks(pieces())], [b async for b in _blocks(whole())]

    in_pieces, at_once = asyncio.run(both())
    assert in_pieces == at_once
    assert len(at_once) == expected(lines)


def expected(lines: list[str]) -> int:
    """How many events there are: groups of lines that end with an empty one and have data."""
    count, has_data = 0, False
    for line in lines:
        if line == "":
            count, has_data = count + has_data, False
        has_data = has_data or line.startswith("data")
    return count
