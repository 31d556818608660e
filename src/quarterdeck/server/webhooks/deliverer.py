"""Sends what the outbox has kept: in order for each run and URL, at least once, again where it fails."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal, get_args

from quarterdeck.errors import JournalError
from quarterdeck.server.settings import Settings
from quarterdeck.server.store import Store, Waiter
from quarterdeck.server.webhooks import sql
from quarterdeck.server.webhooks.outbox import TOPIC, outbox_for
from quarterdeck.server.webhooks.sender import Outcome, Sender
from quarterdeck.server.webhooks.sql import Job, Limits

logger = logging.getLogger("quarterdeck.server")

_LOOK_SECONDS = 5.0
_LEASE_SECONDS = 5.0
_RESTART_SECONDS = 1.0

DeliveryState = Literal["pending", "delivered", "dead"]
DeliveryType = Literal["task", "step", "crew", "human_input", "event", "events"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """When a request that has failed is sent again.

    Args:
        first: Seconds after the first failure; after each further one, twice as many.
        longest: Seconds at most between two tries.
        total: Seconds from the event after which it is given up, and kept as ``dead``.
        jitter: By what part the seconds vary, up or down, so that not all come at once.
    """

    first: float = 5.0
    longest: float = 3600.0
    total: float = 86_400.0
    jitter: float = 0.2

    def wait(self, failures: int) -> float:
        """Seconds until the next try, after so many failures."""
        seconds = min(self.longest, self.first * 2 ** min(failures - 1, 32))
        return seconds * random.uniform(1 - self.jitter, 1 + self.jitter)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A request to a webhook, as an administrator sees it. Times are seconds since 1970.

    Args:
        id: Its id, which the receiver gets as ``webhook-id``.
        run_id: The run.
        tenant: The run's tenant.
        url: Where it goes.
        type: ``task``, ``step``, ``crew``, ``human_input``, ``event`` or ``events``.
        seq: The seq of the event, or of the first one in it.
        state: ``pending``, ``delivered`` or ``dead``.
        tries: How often it was sent.
        last_error: Why it was not accepted the last time.
        created: When the event happened.
        delivered: When it was accepted.
    """

    id: str
    run_id: str
    tenant: str
    url: str
    type: DeliveryType
    seq: int
    state: DeliveryState
    tries: int
    last_error: str
    created: float
    delivered: float | None


class Deliverer:
    """Delivers webhooks. Several, also in several processes, share the work.

    Args:
        store: Where they are kept.
        settings: ``webhook_secret`` and ``dev``.
        retries: When a request that has failed is sent again.
        timeout: Time limit of one request in seconds.
        limits: Requests under way at once.
        lease: Seconds after which another process sends what this one has begun and not ended; by default the timeout
            and 5 more.

    Raises:
        ConfigError: ``webhook_secret`` is none.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        *,
        retries: Retries | None = None,
        timeout: float = 15.0,
        limits: Limits | None = None,
        lease: float | None = None,
    ) -> None:
        self._store = store
        self._sender = Sender(settings.webhook_secret, settings.dev, timeout)
        self._retries = retries or Retries()
        self._lease = timeout + _LEASE_SECONDS if lease is None else lease
        self._id = uuid.uuid4().hex
        self._busy = sql.Busy(limits or Limits())
        self._under_way: dict[asyncio.Task[None], Job] = {}
        self._stopping = False
        self._waiter: Waiter | None = None
        self._ended = asyncio.Event()
        self._ended.set()

    # -- life ---------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Delivers until ``stop`` is called. Cancelled, it ends at once; another one goes on after the lease."""
        self._ended.clear()
        try:
            async with self._sender, self._store.wake.on(TOPIC) as self._waiter:
                while not self._stopping:
                    wait = await self._try_round()
                    if wait > 0:
                        await self._waiter(wait)
                while self._under_way:  # until ``stop`` has had enough
                    await asyncio.wait(list(self._under_way))
        finally:
            tasks = list(self._under_way)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._ended.set()

    async def stop(self, grace: float = 5.0) -> None:
        """Begins nothing more, and waits for the requests under way; ``run`` returns.

        Args:
            grace: Seconds for them; those that take longer are broken off, and sent again later.
        """
        self._stopping = True
        self._wake()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self._ended.wait()
        left = [job.queue for job in self._under_way.values()]
        for task in self._under_way:
            task.cancel()
        await self._ended.wait()
        if left:
            with contextlib.suppress(JournalError):
                await self._store.write(lambda database: sql.release(database, left, self._id), (TOPIC,))

    # -- administration -----------------------------------------------------------------------------------

    async def deliveries(
        self,
        tenant: str,
        *,
        state: DeliveryState | None = None,
        run_id: str | None = None,
        before: tuple[float, str] | None = None,
        limit: int = 50,
    ) -> list[Delivery]:
        """A tenant's deliveries, the newest first.

        Args:
            tenant: Whose.
            state: Only ``pending``, ``delivered`` or ``dead`` ones.
            run_id: Only this run's.
            before: ``created`` and ``id`` of the last one of the page before.
            limit: How many at most.
        """
        among = {"tenant": tenant} | ({} if run_id is None else {"run_id": run_id})
        states = [state] if state else list(get_args(DeliveryState))
        rows = await self._store.journal.read(lambda database: sql.rows(database, among, states, before, limit))
        return [Delivery(**dict(zip(sql.COLUMNS, row, strict=True))) for row in rows]

    async def resend(self, delivery_id: str, tenant: str | None = None) -> bool:
        """Has a delivery sent again, dead or not, with the same ``webhook-id`` and another 24 hours of tries.

        Returns:
            False where there is none with this id, or it is another tenant's.
        """
        return await self._store.write(lambda database: sql.send_again(database, delivery_id, tenant), (TOPIC,))

    # -- delivering ---------------------------------------------------------------------------------------

    def _wake(self) -> None:
        if self._waiter is not None:
            self._waiter.wake()

    async def _try_round(self) -> float:
        try:
            return await self._round()
        except JournalError as error:
            logger.warning("webhooks: %s; trying again", error)
            return 1.0

    async def _round(self) -> float:
        """Begins what is due and may be begun; gives the seconds until it is to be looked again."""
        if self._busy.free <= 0:
            return _LOOK_SECONDS  # or until a request has ended
        busy = self._busy.copy()
        jobs, due = await self._store.write(lambda database: sql.claim(database, self._id, self._lease, busy))
        for job in jobs:
            self._busy.add(job.url)
            task = asyncio.create_task(self._deliver(job))
            self._under_way[task] = job
            task.add_done_callback(self._done)
        return 0.0 if jobs else min(due, _LOOK_SECONDS)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._busy.remove(self._under_way.pop(task).url)
        if not task.cancelled() and task.exception():
            logger.error("webhooks: a delivery failed", exc_info=task.exception())
        self._wake()

    async def _deliver(self, job: Job) -> None:
        outcome = await self._sender.send(job)
        try:
            await self._settle(job, outcome)
        except JournalError as error:
            logger.warning("webhooks: %s; %s is sent again", error, job.id)

    async def _settle(self, job: Job, outcome: Outcome) -> None:
        if not outcome.error:
            await self._store.write(lambda database: sql.delivered(database, job, self._id))
            return
        wait = self._retries.wait(job.tries + 1)
        total = 0.0 if outcome.final else self._retries.total
        again = await self._store.write(
            lambda database: sql.failed(database, job, self._id, outcome.error, wait, total)
        )
        if not again:
            logger.warning("webhook %s to %s is given up: %s", job.id, _host(job.url), outcome.error)


@asynccontextmanager
async def delivering(store: Store, deliverer: Deliverer, grace: float = 5.0) -> AsyncGenerator[None]:
    """Keeps what the runs of this process cause to be sent, and sends it, for as long as the ``async with`` block.

    A deliverer that fails is started again.

    Args:
        store: The store; to be entered before a worker has it.
        deliverer: The deliverer.
        grace: See ``Deliverer.stop``.
    """
    store.outbox = outbox_for(store)
    task = asyncio.create_task(_keep_running(deliverer))
    try:
        yield
    finally:
        await deliverer.stop(grace)
        task.cancel()  # where it is about to be started again
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _keep_running(deliverer: Deliverer) -> None:
    while True:
        try:
            return await deliverer.run()
        except Exception:  # a defect: runs are not to end for it, and what is kept is not lost
            logger.exception("webhooks: the deliverer failed; starting it again")
        await asyncio.sleep(_RESTART_SECONDS)


def _host(url: str) -> str:
    """The URL without what may be secret in it."""
    return url.partition("?")[0].partition("//")[2].partition("/")[0]
