"""A run in the background: its id, its result, and a way to cancel it."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

from quarterdeck.concurrency import background_loop
from quarterdeck.errors import RunStopped
from quarterdeck.runtime.run import Run

T = TypeVar("T")


class RunHandle(Generic[T]):
    """A run in the background. It may be used from any thread, and awaited.

    Args:
        run_id: The run's id.
        begin: Makes the run's coroutine; is given a function to be called with the ``Run``.
    """

    def __init__(self, run_id: str, begin: Callable[[Callable[[Run], None]], Coroutine[Any, Any, T]]) -> None:
        self.id = run_id
        self._run: Run | None = None
        self._cancel: RunStopped | None = None
        self._loop = background_loop()
        self._future: concurrent.futures.Future[T] = asyncio.run_coroutine_threadsafe(begin(self._attach), self._loop)

    def _attach(self, run: Run) -> None:
        self._run = run
        if self._cancel:
            run.stop(self._cancel)

    def cancel(self, reason: str = "cancelled by the program") -> None:
        """Ends the run with status ``cancelled``: the call under way is interrupted, what is finished is kept."""

        def interrupt() -> None:
            self._cancel = RunStopped("cancelled", reason, "cancel")
            if self._run:
                self._run.interrupt(self._cancel)

        self._loop.call_soon_threadsafe(interrupt)

    def done(self) -> bool:
        """Whether the run has ended."""
        return self._future.done()

    def result(self, timeout: float | None = None) -> T:
        """Waits for the run's output.

        Args:
            timeout: Seconds to wait at most; the run goes on after that.

        Raises:
            TimeoutError: It has not ended by then.
            Exception: What the run raised.
        """
        return self._future.result(timeout)

    def __await__(self) -> Generator[Any, None, T]:
        return asyncio.wrap_future(self._future).__await__()
