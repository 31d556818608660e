"""Crews for the worker to run, with a model on a real socket, and a place where its pieces are put together."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from quarterdeck import Agent, Crew, Task
from quarterdeck.llm.types import LLMRequest
from quarterdeck.project import Entry, Registry
from quarterdeck.server.housekeeping import Housekeeping
from quarterdeck.server.store import NewRun, RunRecord, Store
from quarterdeck.server.worker import Worker
from quarterdeck.testing import LoopbackServer


class Place:
    """A store, crews and workers."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.entries: list[Entry] = []
        self.workers: list[tuple[Worker, asyncio.Task[None]]] = []

    def serve(self, *tasks: Task, name: str = "report", version: str = "1", **fields: Any) -> None:
        """A crew of these tasks."""
        self.entries.append(Entry(name, version, Crew(name=name, tasks=list(tasks), **fields)))

    async def kickoff(self, **fields: Any) -> str:
        given = {"id": str(uuid.uuid4()), "tenant": "acme", "crew": "report", "version": "1"} | fields
        record, _ = await self.store.kickoff(NewRun(**given))
        return record.id

    def start(self, store: Store | None = None, **settings: Any) -> Worker:
        """A worker with short times."""
        store = store or self.store
        housekeeping = Housekeeping(store, every=0.05, dead_after=1.5, strand_after=30.0)
        settings = {"beat_seconds": 0.05, "poll_seconds": 0.1, "housekeeping": housekeeping} | settings
        worker = Worker(store, Registry(self.entries), **settings)
        self.workers.append((worker, asyncio.create_task(worker.run())))
        return worker

    async def get(self, run_id: str) -> RunRecord:
        record = await self.store.get(run_id)
        assert record is not None
        return record

    async def reaches(self, run_id: str, *states: str, seconds: float = 15.0) -> RunRecord:
        """Waits until a run is in one of these states."""
        record = await self.get(run_id)
        async with asyncio.timeout(seconds), self.store.wake.on(f"run:{run_id}") as woken:
            while record.state not in states:
                await woken(0.05)
                record = await self.get(run_id)
        return record

    async def until(self, condition: Callable[[], Any], seconds: float = 15.0) -> None:
        """Waits for something that tells nobody."""
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def close(self) -> None:
        for worker, task in self.workers:
            if not task.done():
                await worker.drain(grace=0.0)
            await task


class Gate:
    """Holds up a model's answers until it is opened. The model is in a thread of its own."""

    def __init__(self, text: str = "fine") -> None:
        self.is_open = False
        self._text = text

    async def __call__(self) -> str:
        while not self.is_open:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        return self._text


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.is_open = True


@pytest.fixture
async def place(store: Store) -> AsyncIterator[Place]:
    place = Place(store)
    yield place
    await place.close()


@pytest.fixture
def model() -> Iterator[Callable[[Callable[[LLMRequest], Any]], LoopbackServer]]:
    """A model that answers with a function."""
    with ExitStack() as stack:
        yield lambda answer: stack.enter_context(LoopbackServer(by=answer))


@pytest.fixture
def agent() -> Callable[..., Agent]:
    def make(server: LoopbackServer, **fields: Any) -> Agent:
        return Agent(**{"role": "writer", "goal": "write", "backstory": "brief", "llm": server.llm()} | fields)

    return make
