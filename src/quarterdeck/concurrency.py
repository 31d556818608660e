"""The seams between sync and async: one background event loop, and threads for blocking functions."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import inspect
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextvars import ContextVar
from queue import Empty, SimpleQueue
from typing import Any, ParamSpec, TypeVar, cast

P = ParamSpec("P")
T = TypeVar("T")

_IDLE_SECONDS = 10.0
"""A worker thread without work ends after this time."""


class _LoopThread:
    """An event loop in a daemon thread, started when first needed and kept for the process's life."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def get(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None or self._loop.is_closed():
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="quarterdeck-loop", daemon=True).start()
            return self._loop


_background = _LoopThread()
_users = [_LoopThread()]

_blocked: ContextVar[frozenset[asyncio.AbstractEventLoop]] = ContextVar("quarterdeck_blocked", default=frozenset())
"""The event loops that wait for a sync call of this context."""


def user_loop() -> asyncio.AbstractEventLoop:
    """A loop for coroutines of users that may block it, in a thread of its own; one that no sync call of this context
    blocks already: in a flow that is kicked off within another's async method, the next."""
    blocked = _blocked.get()
    for thread in _users:
        if (loop := thread.get()) not in blocked:
            return loop
    _users.append(_LoopThread())
    return _users[-1].get()


def background_loop() -> asyncio.AbstractEventLoop:
    """The loop that sync calls run on, in a thread of its own."""
    return _background.get()


def run_sync(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine from sync code and returns its result; works inside a running loop too (a notebook).

    The coroutine runs on a background loop. An interrupt (Ctrl-C) cancels it, and waits until it has ended.

    Raises:
        RuntimeError: When called on the background loop itself, where waiting would block forever.
    """
    loop = _background.get()
    try:
        running = asyncio.get_running_loop()
    except RuntimeError:
        running = None
    if running is loop:
        coroutine.close()
        raise RuntimeError("a sync call inside Quarterdeck's own loop would block it: use the async form")
    tasks: list[asyncio.Task[T]] = []
    ended = threading.Event()

    def begin() -> None:
        task = loop.create_task(coroutine)
        task.add_done_callback(lambda _: ended.set())
        tasks.append(task)

    def stop() -> None:
        for task in tasks:
            task.cancel()
        if not tasks:  # interrupted before it was begun
            coroutine.close()
            ended.set()

    token = _blocked.set(_blocked.get() | {running}) if running else None
    try:
        loop.call_soon_threadsafe(begin)
        ended.wait()
    except KeyboardInterrupt:  # at any point: whether it is begun is known on the loop only
        loop.call_soon_threadsafe(stop)
        ended.wait()
        raise
    finally:
        if token:
            _blocked.reset(token)
    return tasks[0].result()


async def on_loop(loop: asyncio.AbstractEventLoop, function: Callable[[], Awaitable[T]]) -> T:
    """Awaits a function's result on another event loop, with the caller's context variables.

    Where that loop is blocked by the sync call that this is part of, it is awaited here: nothing else runs there.
    """
    if asyncio.get_running_loop() is loop or loop in _blocked.get():
        return await function()

    async def work() -> T:
        return await function()

    coroutine = work()
    try:
        future = asyncio.run_coroutine_threadsafe(coroutine, loop)
    except RuntimeError:  # it is closed
        coroutine.close()
        raise
    return await asyncio.wrap_future(future)


class _Workers:
    """Daemon threads that are used again. Unlike an executor's, one that hangs neither takes a place from
    the others nor keeps the process from ending."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._idle = 0
        self._lock = threading.Lock()

    def submit(self, job: Callable[[], None]) -> None:
        with self._lock:
            start = self._idle == 0
            if not start:
                self._idle -= 1
        self._jobs.put(job)
        if start:
            threading.Thread(target=self._work, name="quarterdeck-worker", daemon=True).start()

    def _work(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=_IDLE_SECONDS)
            except Empty:
                with self._lock:
                    if self._idle == 0:  # a job is on its way to this thread
                        continue
                    self._idle -= 1
                return
            job()
            with self._lock:
                self._idle += 1


_workers = _Workers()


def in_worker(job: Callable[[], None]) -> None:
    """Runs a job that raises nothing in a worker thread, and does not wait for it."""
    _workers.submit(job)


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():  # the caller has given up waiting
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


async def call_in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Runs a blocking function in a worker thread, with the caller's context variables.

    When the caller is cancelled it goes on at once; the thread cannot be stopped and its result is dropped.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    context = contextvars.copy_context()

    def job() -> None:
        result: Any = None
        error: BaseException | None = None
        try:
            result = context.run(function, *args, **kwargs)
        except StopIteration as exc:  # a future does not take it
            error = RuntimeError(f"{function!r} raised StopIteration")
            error.__cause__ = exc
        except BaseException as exc:
            error = exc
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_settle, future, result, error)

    _workers.submit(job)
    return await future


async def finish_all(work: Iterable[Awaitable[T]]) -> list[T]:
    """Awaits all at once. When one fails, the others are finished first; then the first error is raised."""
    results = await asyncio.gather(*work, return_exceptions=True)
    good: list[T] = []
    for result in results:
        if isinstance(result, BaseException):
            raise result
        good.append(result)
    return good


async def call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Calls a user's function, sync (in a thread) or async (on this loop), and returns its result."""
    if is_async(function):
        return await function(*args, **kwargs)
    result = await call_in_thread(function, *args, **kwargs)
    if inspect.isawaitable(result):
        return await result
    return result


def is_async(function: Callable[..., Any]) -> bool:
    """True for a coroutine function, a partial of one, and an object whose ``__call__`` is one."""
    while isinstance(function, functools.partial):
        function = cast("functools.partial[Any]", function).func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - the method is looked at, not whether it is there
    )
