"""``max_rpm``: at most so many LLM calls in any minute."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial

from quarterdeck.events import LimitReached
from quarterdeck.runtime.run import Run


def wait_for(limit: RateLimit | None, run: Run, path: str) -> Callable[[], Awaitable[None]] | None:
    """What a step awaits before its call: its turn, with an event where it has to wait. None: there is no limit."""
    if limit is None:
        return None

    def waiting(allowed: int) -> None:
        run.emit(LimitReached(path=path, limit="max_rpm", allowed=allowed, used=allowed))

    return partial(limit.wait, waiting)


class RateLimit:
    """Lets at most so many callers pass in any window of time, in the order in which they came.

    It belongs to an Agent or a Crew, not to a run: the provider counts all runs together. It may be used from
    several event loops.

    Args:
        max_rpm: How many may pass in one window.
        window: Its length in seconds: a minute.
    """

    def __init__(self, max_rpm: int, window: float = 60.0) -> None:
        self._max = max_rpm
        self._window = window
        self._passed: deque[float] = deque()  # when, in the window that ends now
        self._waiting: deque[object] = deque()
        self._lock = threading.Lock()

    async def wait(self, waiting: Callable[[int], None] | None = None) -> None:
        """Waits until the caller may go. One that is cancelled meanwhile does not count.

        Args:
            waiting: Called once with ``max_rpm`` where the caller has to wait.
        """
        ticket = object()
        with self._lock:
            self._waiting.append(ticket)
        try:
            # Not the whole wait at once: callers before this one may give up, on other event loops too.
            while (seconds := self._pass(ticket)) > 0:
                if waiting:
                    waiting(self._max)
                    waiting = None
                await asyncio.sleep(min(seconds, self._window / 60))
        except BaseException:
            with self._lock:
                self._waiting.remove(ticket)
            raise

    def _pass(self, ticket: object) -> float:
        """Lets the caller pass (0), or says in how many seconds it may, if nobody gives up."""
        with self._lock:
            now = time.monotonic()
            while self._passed and self._passed[0] <= now - self._window:
                self._passed.popleft()
            before = self._waiting.index(ticket) - (self._max - len(self._passed))
            if before < 0:
                self._passed.append(now)
                self._waiting.remove(ticket)
                return 0.0
            windows, number = divmod(before, self._max)
            first = self._passed[number] if number < len(self._passed) else now
            return first + (windows + 1) * self._window - now
