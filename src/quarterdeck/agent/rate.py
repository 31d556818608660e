"""``max_rpm``: at most so many LLM calls in any minute."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque

_WINDOW = 60.0


class RateLimit:
    """Lets at most ``max_rpm`` callers pass in any 60 seconds, and makes the next wait just as long as it must.

    It belongs to an Agent or a Crew, not to a run: the provider counts all runs together. It may be used from
    several event loops.
    """

    def __init__(self, max_rpm: int) -> None:
        self._max = max_rpm
        self._slots: deque[float] = deque(maxlen=max_rpm)
        self._lock = threading.Lock()

    async def wait(self) -> None:
        """Waits until the caller may go."""
        with self._lock:
            now = time.monotonic()
            slot = max(now, self._slots[0] + _WINDOW) if len(self._slots) == self._max else now
            self._slots.append(slot)
        if slot > now:
            await asyncio.sleep(slot - now)
