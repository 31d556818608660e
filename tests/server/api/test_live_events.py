"""Server-sent events: what the journal does not keep, between the numbered events; many, late and slow readers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.server.api.conftest import TOKEN, Server, serving

from quarterdeck import Agent, Crew, Task
from quarterdeck.events import Event, LLMDelta, LLMFinished, LLMRetried, ToolStarted
from quarterdeck.llm.base import BaseLLM
from quarterdeck.llm.types import LLMRequest, LLMResponse, OnDelta
from quarterdeck.project import Entry
from quarterdeck.server.live import Live
from quarterdeck.testing import LoopbackServer, call, slow
from quarterdeck.tools import tool

AUTH = {"Authorization": f"Bearer {TOKEN}"}
ANSWER = " ".join(f"word{n}" for n in range(20))

Message = tuple[int | None, str, dict[str, Any]]


@tool
def look(what: str) -> str:
    """Looks."""
    return f"saw {what}"


def crew_of(model: LoopbackServer) -> list[Entry]:
    agent = Agent(role="Writer", goal="g", backstory="b", llm=model.llm(), tools=[look])
    crew = Crew(name="c", tasks=[Task(name="text", description="Write {topic}", expected_output="e", agent=agent)])
    return [Entry("c", "1", crew)]


@pytest.fixture
def database(tmp_path: Path) -> str:
    return str(tmp_path / "runs.db")


@asynccontextmanager
async def reading(session: aiohttp.ClientSession, url: str, **more: Any) -> AsyncIterator[AsyncIterator[Message]]:
    """The messages of a run, as they come."""
    async with session.get(url, headers=AUTH, **more) as response:
        assert response.status == 200, await response.text()
        yield _messages(response)


async def _messages(response: aiohttp.ClientResponse) -> AsyncIterator[Message]:
    fields: dict[str, str] = {}
    while line := await response.content.readuntil(b"\n", max_size=10_000_000):
        name, _, value = line.decode().rstrip("\r\n").partition(": ")
        if name:
            fields[name] = value
            continue
        if "data" in fields:
            yield int(fields["id"]) if "id" in fields else None, fields["event"], json.loads(fields["data"])
        fields = {}


async def all_of(session: aiohttp.ClientSession, url: str, **more: Any) -> list[Message]:
    async with asyncio.timeout(20), reading(session, url, **more) as messages:
        return [message async for message in messages]


async def kickoff(session: aiohttp.ClientSession, url: str) -> str:
    async with session.post(f"{url}/kickoff", json={"inputs": {"topic": "t"}}, headers=AUTH) as response:
        body = await response.json()
        return f"{url}/{body['kickoff_id']}"


def text_of(messages: list[Message]) -> str:
    return "".join(data["text"] for _, kind, data in messages if kind == "llm.delta")


def numbers_of(messages: list[Message]) -> list[int]:
    return [number for number, _, _ in messages if number is not None]


class Calls:
    """A model that calls a tool, as soon as so many listen, and then answers in pieces."""

    def __init__(self) -> None:
        self.listeners = 1
        self.live = Live()
        self.server: LoopbackServer

    def __call__(self, request: LLMRequest) -> Any:
        return self.first if len(request.messages) < 3 else slow(ANSWER, 0.02)

    async def first(self, request: LLMRequest) -> Any:
        run_id = (request.step_key or "").partition(":")[0]
        while self.live.listeners(run_id) < self.listeners:  # noqa: ASYNC110 - they are in another thread
            await asyncio.sleep(0.01)
        return call("look", what="x")


@pytest.fixture
def model() -> Iterator[Calls]:
    calls = Calls()
    with LoopbackServer(by=calls) as calls.server:
        yield calls


@pytest.fixture
def server(database: str, model: Calls) -> Iterator[Server]:
    with serving(database, crew_of(model.server)) as served:
        model.live = served.app.state.services.live
        yield served


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield session


async def test_deltas_between_the_numbered_events(server: Server, session: aiohttp.ClientSession) -> None:
    """Whole, in order, without a number; what is begun too; numbered events without gap."""
    run = await kickoff(session, server.url)
    messages = await all_of(session, f"{run}/events")
    numbers = numbers_of(messages)
    assert numbers == list(range(1, len(numbers) + 1))
    assert text_of(messages) == ANSWER
    kinds = [kind for _, kind, _ in messages]
    assert kinds.count("llm.delta") >= 2
    order = [k for k in kinds if k in ("llm.finished", "tool.started", "tool.finished", "llm.started")]
    assert order[-5:] == ["llm.finished", "tool.started", "tool.finished", "llm.started", "llm.finished"]
    last = len(kinds) - 1 - kinds[::-1].index("llm.delta")
    assert last < len(kinds) - 1 - kinds[::-1].index("llm.finished")
    unnumbered = {kind for number, kind, _ in messages if number is None}
    begun = {"task.started", "agent.started", "agent.finished", "llm.started", "llm.delta", "tool.started", "end"}
    assert unnumbered <= begun
    again = await all_of(session, f"{run}/events")
    assert [kind for number, kind, _ in again if number is None] == ["end"]


async def test_types_choose_among_both(server: Server, session: aiohttp.ClientSession, model: Calls) -> None:
    """Only deltas are whole to the last letter; without deltas models are not asked to stream."""
    run = await kickoff(session, server.url)
    messages = await all_of(session, f"{run}/events", params={"types": "llm.delta"})
    assert {kind for _, kind, _ in messages} == {"llm.delta", "end"}
    assert text_of(messages) == ANSWER
    assert [received.body.get("stream", False) for received in model.server.requests][-1]
    model.server.clear()
    run = await kickoff(session, server.url)
    messages = await all_of(session, f"{run}/events", params={"types": "tool.started, run.finished"})
    assert [kind for _, kind, _ in messages][-2:] == ["run.finished", "end"]
    assert not any(received.body.get("stream") for received in model.server.requests)


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


class Halves(BaseLLM):
    """Waits for two listeners and answers; then writes half an answer, and the other half when it is let go."""

    def __init__(self) -> None:
        super().__init__("halves")
        self.go = False
        self.live = Live()
        self.streamed: list[bool] = []

    async def complete(self, request: LLMRequest, on_delta: OnDelta | None = None) -> LLMResponse:
        self.streamed.append(on_delta is not None)
        if len(self.streamed) == 1:
            while self.live.listeners((request.step_key or "").partition(":")[0]) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            return LLMResponse(text="begun")
        if on_delta:
            on_delta("the first half ")
        while not self.go:  # noqa: ASYNC110 - let go in another thread
            await asyncio.sleep(0.01)
        if on_delta:
            on_delta("and the other")
        return LLMResponse(text="the first half and the other")


async def test_who_comes_in_the_middle(database: str, session: aiohttp.ClientSession) -> None:
    """Gets in one piece what the answer under way has so far, then the rest; who leaves disturbs nobody."""
    model = Halves()
    agent = Agent(role="Writer", goal="g", backstory="b", llm=model)
    tasks = [Task(name=n, description="Write {topic}", expected_output="e", agent=agent) for n in ("plan", "text")]
    with serving(database, [Entry("c", "1", Crew(name="c", tasks=tasks))]) as server:
        live: Live = server.app.state.services.live
        model.live = live
        try:
            run = await kickoff(session, server.url)
            run_id = run.rpartition("/")[2]
            url = f"{run}/events?types=llm.delta"
            async with reading(session, url) as first, reading(session, url) as second:
                async with asyncio.timeout(30):
                    _, _, data = await anext(first)
                assert data["text"] == "the first half "
                assert (data["agent"], data["run_id"], data["seq"]) == ("Writer", run_id, None)
                assert (await anext(second))[2]["text"] == "the first half "
                async with reading(session, url) as third:
                    assert (await anext(third))[2]["text"] == "the first half "
                    assert live.listeners(run_id) == 3
                await until(lambda: live.listeners(run_id) == 2)
                model.go = True
                for messages in (first, second):
                    assert text_of([message async for message in messages]) == "and the other"
            await until(lambda: live.listeners(run_id) == 0)
            assert model.streamed[1:] == [True]
        finally:
            model.go = True


async def test_a_hundred_listeners(server: Server, session: aiohttp.ClientSession, model: Calls) -> None:
    """All get all."""
    model.listeners = 100
    run = await kickoff(session, server.url)
    found = await asyncio.gather(*(all_of(session, f"{run}/events?types=llm.delta,task.finished") for _ in range(100)))
    for messages in found:
        assert text_of(messages) == ANSWER
        assert [kind for number, kind, _ in messages if number is not None] == ["task.finished"]
    await until(lambda: model.live.listeners(run.rpartition("/")[2]) == 0)


async def test_a_reader_that_does_not_read(database: str, session: aiohttp.ClientSession) -> None:
    """The run ends all the same, and later the numbered events are all there."""
    long = "x" * 10_000

    def answer(request: LLMRequest) -> Any:
        return call("look", what=long) if len(request.messages) < 60 else "done"

    with LoopbackServer(by=answer) as model:
        agent = Agent(role="Writer", goal="g", llm=model.llm(), tools=[look], max_iter=50)
        task = Task(name="text", description="Write {topic}", expected_output="e", agent=agent)
        with serving(database, [Entry("c", "1", Crew(name="c", tasks=[task]))]) as server:
            run = await kickoff(session, server.url)
            async with reading(session, f"{run}/events") as messages:
                first = await anext(messages)
                await until_ended(session, run)
                rest = [message async for message in messages]
            numbers = numbers_of([first, *rest])
            assert numbers == list(range(1, len(numbers) + 1))
            assert len(numbers) > 50
            assert rest[-1][1] == "end"


async def until_ended(session: aiohttp.ClientSession, run: str) -> None:
    async with asyncio.timeout(30):
        while True:
            async with session.get(f"{run}/status", headers=AUTH) as response:
                if (await response.json())["status"] in ("completed", "error"):
                    return
            await asyncio.sleep(0.05)


# -- what a listener is kept ----------------------------------------------------------------------------------


def stamped(event: Event, seq: int | None = None) -> Event:
    return event.stamped("r", seq)


def delta(text: str, path: str = "t/1/llm/1") -> Event:
    return stamped(LLMDelta(path=path, text=text))


def test_pieces_are_joined_and_a_retry_begins_again() -> None:
    """What a failed try wrote and nobody has taken is gone; what a finished one wrote is not."""
    live = Live()
    path = "t/1/llm/1"
    with live.listen("r", frozenset(), lambda: None) as listener:
        for text in "abc":
            live.show(delta(text), 1)
        live.show(stamped(LLMRetried(path=path, model="m", error="e", attempt=1, wait=0.0)), 1)
        live.show(delta("A"), 1)
        live.show(delta("B"), 1)
        live.show(stamped(LLMFinished(path=path, model="m"), 2), 2)
        taken = listener.take()
        assert [item.event.type for item in taken] == ["llm.retried", "llm.delta"]
        assert isinstance(taken[1].event, LLMDelta)
        assert (taken[1].event.text, taken[1].after) == ("AB", 1)
        assert listener.take() == []


def test_an_answer_that_was_given_up_is_not_shown_to_those_who_come_later() -> None:
    """Its run goes on elsewhere, or has been cancelled."""
    live = Live()
    with live.listen("r", frozenset(), lambda: None) as early:
        live.show(delta("half"), 1)
        live.stop("r")
        with live.listen("r", frozenset(), lambda: None) as late:
            assert late.take() == []
            live.show(delta("again"), 2)
            assert [item.event.to_dict()["text"] for item in late.take()] == ["again"]
        assert [item.event.to_dict()["text"] for item in early.take()] == ["half", "again"]


def test_what_waits_for_a_slow_listener_is_bounded() -> None:
    """The oldest goes first; nothing is kept for a run that nobody listens to."""
    live = Live()
    with live.listen("r", frozenset(), lambda: None) as slow, live.listen("r", frozenset(), lambda: None) as quick:
        for number in range(10_000):
            live.show(stamped(ToolStarted(path=f"t/1/tool/{number}", tool="x")), number)
            assert [item.after for item in quick.take()] == [number]
        taken = slow.take()
        assert len(taken) < 1000
        assert [item.after for item in taken] == list(range(10_000 - len(taken), 10_000))
    live.show(delta("x"), 1)
    with live.listen("r", frozenset(), lambda: None) as late:
        assert late.take() == []


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["piece", "finish", "take"])), max_size=60))
def test_every_piece_once_and_in_order(happens: list[tuple[str, str]]) -> None:
    """Whenever it is taken, of however many answers at once."""
    live = Live()
    written: dict[str, str] = {}
    got: dict[str, str] = {}
    calls = dict.fromkeys("abc", 1)

    def take() -> None:
        for item in listener.take():
            assert isinstance(item.event, LLMDelta)
            got[item.event.path] = got.get(item.event.path, "") + item.event.text

    with live.listen("r", frozenset(), lambda: None) as listener:
        for number, (task, what) in enumerate(happens):
            path = f"{task}/1/llm/{calls[task]}"
            if what == "piece":
                written[path] = written.get(path, "") + f"{number},"
                live.show(delta(f"{number},", path), number)
            elif what == "finish":
                live.show(stamped(LLMFinished(path=path, model="m"), number + 1), number + 1)
                calls[task] += 1
            else:
                take()
        take()
    assert got == written
