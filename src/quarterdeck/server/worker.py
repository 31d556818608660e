"""A worker: takes runs from the queue and runs them, many at once, on one event loop.

A run belongs to one worker at a time: by its row (worker and attempt, which every write about it names) and by the
journal's epoch, which was raised in the transaction that gave the worker the run. A worker that has slept through its
run's being taken over can write neither.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from quarterdeck.errors import FencedError, HandedOver, JournalError, RunStopped
from quarterdeck.events import Subscriber
from quarterdeck.project import Registry
from quarterdeck.server.housekeeping import Housekeeping
from quarterdeck.server.live import Live
from quarterdeck.server.running import Ending, Running
from quarterdeck.server.store import Claim, RunRecord, Store

T = TypeVar("T")

logger = logging.getLogger("quarterdeck.server")

_GATHER = 0.02  # kickoffs that come within this time are claimed together
_LAST_WAIT = 5.0
_LEASE = 0.75  # of the time after which others think it dead: so long after a heartbeat it is sure of its runs


class Worker:
    """Runs what is queued. ``run()`` works until ``drain()`` was called.

    Args:
        store: The runs.
        registry: The crews that it can run.
        concurrency: Runs at once.
        live: Shows events to those who listen in this process.
        on_event: Called with each event of each run.
        beat_seconds: Seconds between two heartbeats.
        housekeeping: Looks after the store, as every worker does by default; None: one with the default times.
        poll_seconds: Seconds after which the queue is looked at without a wake-up.
    """

    def __init__(
        self,
        store: Store,
        registry: Registry,
        *,
        concurrency: int = 100,
        live: Live | None = None,
        on_event: Subscriber | None = None,
        beat_seconds: float = 2.0,
        housekeeping: Housekeeping | None = None,
        poll_seconds: float = 1.0,
    ) -> None:
        self.id = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._store = store
        self._registry = registry
        self._concurrency = concurrency
        self._live = live or Live()
        self._on_event = on_event
        self._beat_seconds = beat_seconds
        self._poll_seconds = poll_seconds
        self._housekeeping = housekeeping or Housekeeping(store)
        self._lease_seconds = self._housekeeping.dead_after * _LEASE
        self._renewed = float("-inf")
        self._running: dict[str, Running] = {}
        # A claim and a heartbeat each tell the store or are told what this worker has: never both at once.
        self._lock = asyncio.Lock()
        self._freed = asyncio.Event()
        self._draining = asyncio.Event()
        self._ended = asyncio.Event()

    @property
    def running(self) -> list[str]:
        """The runs under way."""
        return list(self._running)

    @property
    def draining(self) -> bool:
        """Whether it takes no more runs."""
        return self._draining.is_set()

    # -- life ---------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Works until ``drain`` was called and its runs are ended or handed over.

        Cancelled, it ends at once, as a killed process does: others take over its runs after a while.
        """
        side: list[asyncio.Task[None]] = []
        try:
            await self._first_beat()
            side = [asyncio.create_task(work) for work in (self._beats(), self._claims(), self._housekeeping.run())]
            ended = asyncio.create_task(self._ended.wait())
            done, _ = await asyncio.wait([*side, ended], return_when=asyncio.FIRST_COMPLETED)
            for task in done - {ended}:
                task.result()  # a defect: what it raised ends the worker
        finally:
            await _cancel([*side, *(item.task for item in self._running.values() if item.task)])
            self._ended.set()

    async def drain(self, grace: float = 25.0) -> None:
        """Takes no more runs; those under way finish their steps and go to another worker.

        Args:
            grace: Seconds for the steps under way; those that take longer are interrupted, and done again elsewhere.
        """
        self._draining.set()
        self._freed.set()
        async with self._lock:  # a claim under way ends first
            running = list(self._running.values())
        for item in running:
            item.stop(HandedOver(), now=False)
        await self._all_ended(running, grace)
        for item in running:
            item.stop(HandedOver(), now=True)
        await self._all_ended(running, _LAST_WAIT)
        for item in list(self._running.values()):
            await self._hand_over(item.claim.run)
        try:
            await self._store.leave(self.id)
        except JournalError as error:
            logger.warning("worker %s: %s", self.id, error)
        self._ended.set()

    async def _all_ended(self, running: Sequence[Running], seconds: float) -> None:
        tasks = [item.task for item in running if item.task and not item.task.done()]
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)

    # -- heartbeats and claims ----------------------------------------------------------------------------

    async def _beats(self) -> None:
        async with self._store.wake.on("cancel") as woken:
            while True:
                due = self._renewed + self._beat_seconds
                if await woken(max(0.0, due - time.monotonic())) and not await self._is_to_cancel():
                    continue
                if not await self._try("heartbeat", self._beat):
                    await asyncio.sleep(min(1.0, self._beat_seconds))

    async def _is_to_cancel(self) -> bool:
        return bool(await self._try("looking for cancels", lambda: self._store.has_cancels(self.id)))

    async def _first_beat(self) -> None:
        while not self._ended.is_set():
            try:
                await self._beat()
                return
            except JournalError as error:
                logger.warning("worker %s: %s; trying again", self.id, error)
                await asyncio.sleep(1.0)

    async def _beat(self) -> bool:
        async with self._lock:
            began = time.monotonic()
            have = {run_id: item.claim.run.attempt for run_id, item in self._running.items()}
            told = await self._store.beat(self.id, self._registry.versions(), have, self.draining)
            self._renewed = began
        for run_id in told.cancel:
            self._tell(run_id, RunStopped("cancelled", "cancelled on request", "cancel"))
        for run_id in told.lost:
            if self._tell(run_id, HandedOver()):
                logger.warning("run %s was taken over by another worker", run_id)
        return True

    def _tell(self, run_id: str, stop: RunStopped) -> bool:
        item = self._running.get(run_id)
        if item is None or item.stopping or item.has_ended:
            return False
        item.stop(stop, now=True)
        return True

    async def _claims(self) -> None:
        async with self._store.wake.on("queue") as woken:
            while not self.draining:
                self._freed.clear()
                free = self._concurrency - len(self._running)
                if free <= 0:
                    await self._freed.wait()
                elif not await self._try("claim", lambda free=free: self._claim(free)):
                    await woken(self._poll_seconds)
                await asyncio.sleep(_GATHER)
        await self._ended.wait()

    async def _claim(self, free: int) -> int:
        if not self._has_lease():  # it has slept: others think it dead
            await self._beat()
        async with self._lock:
            if self.draining:
                return 0
            claims = await self._store.claim(self.id, self._registry.versions(), min(free, 100))
            for claim in claims:
                item = self._running[claim.run.id] = self._begin(claim)
                item.task = asyncio.create_task(self._work(item))
        return len(claims)

    def _begin(self, claim: Claim) -> Running:
        entry = self._registry.get(claim.run.crew, claim.run.version)
        return Running(claim, entry, self._has_lease, self._live, self._on_event)

    def _has_lease(self) -> bool:
        return time.monotonic() - self._renewed < self._lease_seconds

    async def _try(self, what: str, work: Callable[[], Awaitable[T]]) -> T | None:
        try:
            return await work()
        except JournalError as error:
            logger.warning("worker %s: %s failed: %s; trying again", self.id, what, error)
            return None

    # -- one run ------------------------------------------------------------------------------------------

    async def _work(self, item: Running) -> None:
        run = item.claim.run
        try:
            ending = await item.execute(await self._store.open_claimed(item.claim))
            await self._finish(run, ending)
        except FencedError as error:
            logger.info("run %s: %s", run.id, error)  # another worker has it: nothing is left to say
        except HandedOver:
            await self._hand_over(run)
        except JournalError as error:
            logger.warning("run %s: %s", run.id, error)
            await self._give_up(run, str(error))
        except Exception:  # a defect in the server: the run must not be lost for it
            logger.exception("run %s: the worker failed", run.id)
            await self._give_up(run, "a defect of the server, see its log")
        finally:
            if self._running.get(run.id) is item:
                del self._running[run.id]
            self._freed.set()

    async def _finish(self, run: RunRecord, ending: Ending) -> None:
        await self._store.finish(
            run.id,
            self.id,
            run.attempt,
            ending.state,
            detail=ending.detail,
            ended_by=ending.ended_by,
            questions=ending.questions,
            answer_seconds=run.answer_seconds if ending.state == "pending_human_input" else None,
        )

    async def _hand_over(self, run: RunRecord) -> None:
        await self._try("handing over", lambda: self._store.hand_over(run.id, self.id, run.attempt))

    async def _give_up(self, run: RunRecord, reason: str) -> None:
        await self._try("giving up", lambda: self._store.give_up(run.id, self.id, run.attempt, reason))


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def run_worker(worker: Worker, grace: float = 25.0) -> None:
    """Works until SIGTERM or SIGINT, then drains.

    Args:
        worker: The worker.
        grace: See ``Worker.drain``.
    """
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked.set)
    working = asyncio.create_task(worker.run())
    waiting = asyncio.create_task(asked.wait())
    await asyncio.wait([working, waiting], return_when=asyncio.FIRST_COMPLETED)
    if not working.done():
        await worker.drain(grace)
    waiting.cancel()
    await working
