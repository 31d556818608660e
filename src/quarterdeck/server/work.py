"""What a server process does besides answering: it runs crews, or looks after the store for those that do."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from types import TracebackType
from typing import Self

from quarterdeck.errors import JournalError
from quarterdeck.project import Registry
from quarterdeck.server.housekeeping import Housekeeping
from quarterdeck.server.live import Live
from quarterdeck.server.settings import Settings
from quarterdeck.server.store import Store
from quarterdeck.server.worker import Worker

logger = logging.getLogger("quarterdeck.server")

_DAY = 86_400.0


class Work:
    """The background work of a server, for as long as the ``async with`` block.

    Args:
        store: The runs.
        registry: The crews.
        settings: How the server behaves.
        live: Shows events to those who listen.
    """

    def __init__(self, store: Store, registry: Registry, settings: Settings, live: Live | None = None) -> None:
        self._store = store
        days = settings.retention_days
        self._housekeeping = Housekeeping(store, retention_seconds=None if days is None else days * _DAY)
        self._worker: Worker | None = None
        if settings.worker:
            self._worker = Worker(
                store, registry, concurrency=settings.concurrency, live=live, housekeeping=self._housekeeping
            )
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._worker.run() if self._worker else self._housekeeping.run())
        self._task.add_done_callback(_tell)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is None:
            return
        if self._worker is not None:
            await self._worker.drain()
        else:
            self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    @property
    def has_failed(self) -> bool:
        """Whether a defect has ended it: the process is to be started again."""
        return self._task is not None and self._task.done() and not (self._worker and self._worker.draining)

    async def not_ready(self) -> str | None:
        """Why the server should get no requests; None when it may."""
        if self._worker is not None and self._worker.draining:
            return "draining"
        if self.has_failed:
            return "the worker has failed"
        try:
            await self._store.get("")
        except JournalError:
            return "the database does not answer"
        return None


def _tell(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        logger.error("the worker of this server has failed: start the server again", exc_info=error)
