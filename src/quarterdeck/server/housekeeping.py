"""What somebody has to do for all: take over the runs of dead workers, strand, expire and erase what is old.

Every worker does it, and a server without one; several at once do no harm.
"""

from __future__ import annotations

import asyncio
import logging
import time

from quarterdeck.errors import JournalError
from quarterdeck.server.store import Store

logger = logging.getLogger("quarterdeck.server")

_PRUNE_SECONDS = 600.0
_BATCH = 100


class Housekeeping:
    """Looks after the store.

    Args:
        store: The runs.
        every: Seconds between two looks.
        dead_after: A worker that was not heard of for so many seconds is dead.
        strand_after: A version that no worker has had for so many seconds strands its runs.
        retention_seconds: Runs that ended longer ago are erased; None keeps them.
    """

    def __init__(
        self,
        store: Store,
        *,
        every: float = 2.0,
        dead_after: float = 10.0,
        strand_after: float = 30.0,
        retention_seconds: float | None = None,
    ) -> None:
        self._store = store
        self._every = every
        self.dead_after = dead_after
        self._strand_after = strand_after
        self._retention_seconds = retention_seconds
        self._pruned = -_PRUNE_SECONDS

    async def run(self) -> None:
        """Goes on until it is cancelled."""
        while True:
            try:
                await self.once()
            except JournalError as error:
                logger.warning("housekeeping: %s; trying again", error)
            await asyncio.sleep(self._every)

    async def once(self) -> None:
        """One look."""
        taken = await self._store.take_over_dead(self.dead_after)
        if taken:
            logger.warning("took over %d runs of dead workers: %s", len(taken), ", ".join(taken[:5]))
        await self._store.strand(self._strand_after)
        await self._store.expire_questions()
        if self._retention_seconds is not None and time.monotonic() - self._pruned > _PRUNE_SECONDS:
            await self._prune(self._retention_seconds)
            self._pruned = time.monotonic()

    async def _prune(self, older_than: float) -> None:
        """In small batches: between them, others have their turn."""
        erased = _BATCH
        while erased == _BATCH:
            erased = await self._store.prune(older_than, _BATCH)
