"""A receiver of webhooks on the loopback, and runs that have events to tell of."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import web

from quarterdeck.events import Event
from quarterdeck.server.settings import Settings
from quarterdeck.server.store import Hooks, NewRun, RunRecord, Store
from quarterdeck.server.webhooks import Deliverer, Limits, Retries, outbox_for

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
VERSION = ("report", "1")


@dataclass
class Got:
    """A request that has arrived."""

    path: str
    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.raw)

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


class Receiver:
    """Answers 200, or what ``answer`` says for a request."""

    def __init__(self) -> None:
        self.url = ""
        self.got: list[Got] = []
        self.answer: Callable[[Got], Awaitable[int] | int] = lambda got: 200
        self.headers: dict[str, str] = {}
        self._came = asyncio.Event()

    async def handle(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        got = Got(request.path, headers, await request.read())
        self.got.append(got)
        self._came.set()
        status = self.answer(got)
        return web.Response(status=status if isinstance(status, int) else await status, headers=self.headers)

    def at(self, path: str) -> list[Got]:
        return [got for got in self.got if got.path == path]

    async def until(self, found: Callable[[], Any], seconds: float = 10.0) -> None:
        """Waits until something is so, looking at each request."""
        async with asyncio.timeout(seconds):
            while not found():
                self._came.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.05):
                        await self._came.wait()


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", receiver.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield receiver
    await runner.cleanup()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
async def other_receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


class Writer:
    """Runs whose events the tests write themselves."""

    def __init__(self, store: Store, new: Callable[..., NewRun]) -> None:
        self._store = store
        self._new = new
        store.outbox = outbox_for(store)

    async def run(self, hooks: Hooks, *events: Event, **fields: Any) -> RunRecord:
        """A run with these events."""
        record, _ = await self._store.kickoff(self._new(hooks=hooks, **fields))
        worker = f"w-{record.id}"
        await self._store.beat(worker, [VERSION], {})
        (claim,) = await self._store.claim(worker, [VERSION], 1)
        opened = await self._store.open_claimed(claim)
        for seq, event in enumerate(events, 1):
            await opened.append(event.stamped(record.id, seq))
        return claim.run


@pytest.fixture
async def writer(store: Store, new: Callable[..., NewRun]) -> Writer:
    return Writer(store, new)


QUICK = Retries(first=0.03, longest=0.1, total=60.0)


@asynccontextmanager
async def delivering(
    store: Store,
    *,
    retries: Retries = QUICK,
    timeout: float = 5.0,
    limits: Limits | None = None,
    lease: float | None = None,
    dev: bool = True,
    secret: str = SECRET,
) -> AsyncIterator[Deliverer]:
    """A deliverer at work."""
    settings = Settings(dev=dev, webhook_secret=secret)
    deliverer = Deliverer(store, settings, retries=retries, timeout=timeout, limits=limits, lease=lease)
    task = asyncio.create_task(deliverer.run())
    try:
        yield deliverer
    finally:
        await deliverer.stop(0.2)
        await task


Delivering = Callable[..., Any]


@pytest.fixture
def deliver(store: Store) -> Delivering:
    def start(place: Store = store, **fields: Any) -> Any:
        return delivering(place, **fields)

    return start


async def until(look: Callable[[], Awaitable[Any]], wanted: Any, seconds: float = 20.0) -> None:
    """Looks until it sees what is wanted."""
    async with asyncio.timeout(seconds):
        while await look() != wanted:  # noqa: ASYNC110 - it is in the database
            await asyncio.sleep(0.02)


async def settled(deliverer: Deliverer, *wanted: str) -> None:
    """Waits until there are deliveries in these states, and in no others."""

    async def states() -> set[str]:
        return {item.state for item in await deliverer.deliveries("acme", limit=10_000)}

    await until(states, set(wanted))
