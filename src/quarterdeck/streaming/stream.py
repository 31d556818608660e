"""Work that is read while it is done: from a thread or a loop, in order, to its result."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, Generic, Self, TypeVar

from quarterdeck.concurrency import background_loop

T = TypeVar("T")
R = TypeVar("R")


class Feed(Generic[T]):
    """The pieces that there are so far. Work puts them in; it is never held up by who reads them.

    Attributes:
        pieces: The pieces, in order.
        stop: Called on the work's loop to end it early; None cancels its task.
    """

    def __init__(self) -> None:
        self.pieces: list[T] = []
        self.stop: Callable[[], None] | None = None
        self._ended = False
        self._changed = threading.Condition()
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    def put(self, piece: T) -> None:
        """Adds a piece."""
        with self._changed:
            self.pieces.append(piece)
            self._wake()

    def end(self) -> None:
        """Tells the readers that no piece will follow."""
        with self._changed:
            self._ended = True
            self._wake()

    def _wake(self) -> None:
        self._changed.notify_all()
        for loop, event in self._waiting:
            with contextlib.suppress(RuntimeError):  # its loop is closed: nobody waits any more
                loop.call_soon_threadsafe(event.set)
        self._waiting.clear()

    def wait(self, number: int) -> bool:
        """Waits for piece ``number``, from 0; False where the work ended before it."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or len(self.pieces) > number)
            return len(self.pieces) > number

    def wait_end(self) -> None:
        """Waits until the work has ended."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended)

    async def wait_async(self, number: int) -> bool:
        """As ``wait``, on an event loop."""
        while True:
            with self._changed:
                if self._ended or len(self.pieces) > number:
                    return len(self.pieces) > number
                event = asyncio.Event()
                self._waiting.append((asyncio.get_running_loop(), event))
            await event.wait()


class Stream(Generic[T, R]):
    """Work that is read while it is done, with ``for`` or ``async for``, or in a ``with``, which closes it.

    The work begins when it is first read: on the reader's event loop with ``async for``, else on the background one.
    Each loop over it begins at the first piece. A reader that stops does not hold up the work: pieces wait in memory,
    where ``chunks`` keeps them anyway, so they take no more room than the answers themselves. ``close`` ends the work.

    Args:
        begin: Makes the work's coroutine; is given the feed to put pieces into.
    """

    def __init__(self, begin: Callable[[Feed[T]], Coroutine[Any, Any, R]]) -> None:
        self._begin = begin
        self._feed: Feed[T] = Feed()
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[R] | None = None
        self._future: concurrent.futures.Future[R] | None = None
        self._closed = False

    # -- reading ------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[T]:
        future = self._started(background_loop)
        number = 0
        while self._may_wait() and self._feed.wait(number):
            yield self._feed.pieces[number]
            number += 1
        if future and not self._closed:
            future.result()  # raises what the work raised

    async def __aiter__(self) -> AsyncIterator[T]:
        future = self._started(asyncio.get_running_loop)
        number = 0
        while await self._feed.wait_async(number):
            yield self._feed.pieces[number]
            number += 1
        if future and not self._closed:
            future.result()  # it is done: the feed ends after it

    def _started(self, loop: Callable[[], asyncio.AbstractEventLoop]) -> concurrent.futures.Future[R] | None:
        """Begins the work, once; None where it was closed before."""
        with self._lock:
            if self._future is None and not self._closed:
                self._loop = loop()
                self._future = asyncio.run_coroutine_threadsafe(self._work(), self._loop)
                self._future.add_done_callback(lambda _: self._feed.end())
            return self._future

    async def _work(self) -> R:
        self._task = asyncio.current_task()
        if self._closed:  # before there was anything to interrupt
            raise asyncio.CancelledError
        return await self._begin(self._feed)

    def _may_wait(self) -> bool:
        """Raises where waiting would block the loop that the work is done on."""
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            return True
        if running is self._loop and not self.is_exhausted:
            raise RuntimeError("this stream's work is done on this event loop: read it with 'async for', aclose() it")
        return True

    @property
    def chunks(self) -> list[T]:
        """The pieces so far."""
        return list(self._feed.pieces)

    @property
    def is_exhausted(self) -> bool:
        """Whether the work has ended, or was closed before it began."""
        return self._future.done() if self._future else self._closed

    @property
    def is_cancelled(self) -> bool:
        """Whether it was closed before the work had ended."""
        return self._closed

    @property
    def result(self) -> R:
        """What the work gave; of a run that was closed early, its partial output.

        Raises:
            RuntimeError: The work has not ended.
            Exception: What the work raised.
        """
        if self._future is None or not self._future.done():
            what = "was closed before it began" if self._closed else "has not ended: read it to its end first"
            raise RuntimeError(f"the stream {what}")
        try:
            return self._future.result()
        except concurrent.futures.CancelledError:
            raise RuntimeError("the stream was closed before it had a result") from None

    # -- closing ------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Ends the work, and waits until it has ended; nothing where it has. Pieces that are there can still be read.

        Raises:
            RuntimeError: Called on the loop that the work is done on: use ``aclose``.
        """
        if not self.is_exhausted:
            self._may_wait()
        if self._stop() and self._future:
            self._feed.wait_end()

    async def aclose(self) -> None:
        """The async form of ``close``."""
        if self._stop() and self._future:
            await self._feed.wait_async(sys.maxsize)

    def _stop(self) -> bool:
        with self._lock:
            if self._closed or self.is_exhausted:
                return False
            self._closed = True
            if self._loop is None:
                self._feed.end()
            else:
                self._loop.call_soon_threadsafe(self._interrupt)
            return True

    def _interrupt(self) -> None:
        if self._feed.stop:
            self._feed.stop()
        elif self._task:
            self._task.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()
