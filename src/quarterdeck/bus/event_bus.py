"""The bus: who is told of which events, and telling them (CrewAI: ``crewai.events.event_bus``)."""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import itertools
import logging
import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar, cast

from quarterdeck.bus.base_events import BaseEvent
from quarterdeck.bus.feed import CLASSES, events_for
from quarterdeck.concurrency import in_worker, is_async, run_sync
from quarterdeck.errors import ConfigError
from quarterdeck.events import Event, subscribe
from quarterdeck.tools.context import current_step

logger = logging.getLogger("quarterdeck")

F = TypeVar("F", bound=Callable[..., Any])

_FLUSH_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Depends:
    """Names a handler that another one is called after (CrewAI: ``Depends``)."""

    handler: Callable[..., Any]


@dataclass(frozen=True, slots=True)
class _Handler:
    kind: type[BaseEvent]
    function: Callable[..., Any]


@dataclass(slots=True)
class _Told:
    """An event on its way to its handlers."""

    handlers: list[_Handler]
    source: Any
    event: BaseEvent
    context: contextvars.Context
    done: Future[None]


def _tell(handler: _Handler, source: Any, event: BaseEvent) -> None:
    try:
        if is_async(handler.function):
            run_sync(handler.function(source, event))
        else:
            handler.function(source, event)
    except BaseException:  # a SystemExit in a handler ends neither the run nor the thread
        logger.exception("a handler of %s failed", event.type)


def _functions(depends_on: Any) -> list[Callable[..., Any]]:
    given = cast("Sequence[Any]", depends_on) if isinstance(depends_on, list | tuple) else [depends_on]
    return [item.handler if isinstance(item, Depends) else item for item in given if item is not None]


class CrewAIEventsBus:
    """Tells handlers of what happens in all runs of this process (CrewAI: ``CrewAIEventsBus``).

    A handler is called as ``handler(source, event)``: the source is the Crew, Flow, Task, Agent or model. Sync handlers
    are called in worker threads, async ones on the background loop, so that neither holds up a run. The handlers of one
    run's events are called one after the other, in the order of the events; a slow one delays those of its own run. An
    exception in one is logged. Where there is no handler, nothing is done.
    """

    def __init__(self) -> None:
        self._handlers: tuple[_Handler, ...] = ()
        self._lock = threading.Lock()
        self._waiting: dict[str, deque[_Told]] = {}  # by run: told one after the other, by one thread at a time
        self._pending: set[Future[None]] = set()
        self._numbers = itertools.count(1)
        self._unsubscribe: Callable[[], None] | None = None

    # -- who is told --------------------------------------------------------------------------------------

    def on(
        self, event_type: type[BaseEvent], depends_on: Callable[..., Any] | Depends | Sequence[Any] | None = None
    ) -> Callable[[F], F]:
        """Registers the decorated function for events of a class and its subclasses.

        Args:
            event_type: The class; ``BaseEvent`` for all.
            depends_on: Handlers that are called before it.

        Raises:
            ConfigError: It is no class of events, or a dependency is not registered.
        """

        def register(function: F) -> F:
            self.register_handler(event_type, function, depends_on)
            return function

        return register

    def register_handler(
        self,
        event_type: type[BaseEvent],
        handler: Callable[..., Any],
        depends_on: Callable[..., Any] | Depends | Sequence[Any] | None = None,
    ) -> None:
        """``on`` as a call."""
        if not isinstance(event_type, type) or not issubclass(event_type, BaseEvent):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(f"a handler is for a subclass of BaseEvent, got {event_type!r}")
        after = _functions(depends_on)
        with self._lock:
            known = [item.function for item in self._handlers]
            for function in after:  # which are called in the order of their registration
                if function not in known:
                    raise ConfigError(f"depends_on: {getattr(function, '__name__', function)!r} is no handler yet")
            self._handlers = (*self._handlers, _Handler(event_type, handler))
            self._follow()

    def off(self, event_type: type[BaseEvent], handler: Callable[..., Any]) -> None:
        """Ends a registration."""
        with self._lock:
            self._handlers = tuple(
                item for item in self._handlers if not (item.kind is event_type and item.function == handler)
            )
            self._follow()

    @contextmanager
    def scoped_handlers(self) -> Generator[None]:
        """Handlers that are registered inside are told of nothing after it; those from before are told of nothing
        inside. For tests."""
        with self._lock:
            before, self._handlers = self._handlers, ()
            self._follow()
        try:
            yield
        finally:
            self.flush()
            with self._lock:
                self._handlers = before
                self._follow()

    def _follow(self) -> None:
        """Subscribes to those events of runs that a handler wants, and to no others."""
        if self._unsubscribe:
            self._unsubscribe()
            self._unsubscribe = None
        kinds = [kind for kind, classes in CLASSES.items() if any(self._wanted(made) for made in classes)]
        if kinds:
            self._unsubscribe = subscribe(self._show, *kinds)

    def _wanted(self, made: type[BaseEvent]) -> list[_Handler]:
        return [item for item in self._handlers if issubclass(made, item.kind)]

    # -- telling ------------------------------------------------------------------------------------------

    def _show(self, event: Event) -> None:
        """Shown an event of a run, on its event loop."""
        for source, made in events_for(event, lambda kind: bool(self._wanted(kind))):
            self._put(event.run_id, source, made)

    def emit(self, source: Any, event: BaseEvent) -> Future[None] | None:
        """Tells the handlers of an event of your own.

        Inside a tool, it takes its place among the events of the run.

        Returns:
            A future that is done when they have been told; None where there is no handler.
        """
        step = current_step()
        if step is not None and not event.run_id:
            event.run_id = step.run_id
        return self._put(event.run_id, source, event)

    async def aemit(self, source: Any, event: BaseEvent) -> None:
        """As ``emit``, and waits until the handlers have been told."""
        future = self.emit(source, event)
        if future:
            await asyncio.wrap_future(future)

    def _put(self, run_id: str, source: Any, event: BaseEvent) -> Future[None] | None:
        handlers = self._wanted(type(event))
        if not handlers:
            return None
        event.emission_sequence = next(self._numbers)
        told = _Told(handlers, source, event, contextvars.copy_context(), Future())
        with self._lock:
            self._pending.add(told.done)
            waiting = self._waiting.get(run_id)
            if waiting is not None:
                waiting.append(told)
                return told.done
            self._waiting[run_id] = deque([told])
        in_worker(partial(self._work, run_id))
        return told.done

    def _work(self, run_id: str) -> None:
        while True:
            with self._lock:
                waiting = self._waiting[run_id]
                if not waiting:
                    del self._waiting[run_id]
                    return
                told = waiting.popleft()
            for handler in told.handlers:
                told.context.copy().run(_tell, handler, told.source, told.event)
            with self._lock:
                self._pending.discard(told.done)
            told.done.set_result(None)

    def flush(self, timeout: float | None = _FLUSH_SECONDS) -> bool:
        """Waits until the handlers have been told of all events so far.

        Args:
            timeout: Seconds to wait at most; None: no limit.

        Returns:
            Whether they have been.
        """
        with self._lock:
            pending = list(self._pending)
        return not wait(pending, timeout).not_done

    def shutdown(self, wait: bool = True) -> None:
        """Tells of what is on its way, and of nothing more."""
        if wait:
            self.flush()
        with self._lock:
            self._handlers = ()
            self._follow()


crewai_event_bus = CrewAIEventsBus()
"""The bus of this process."""

atexit.register(crewai_event_bus.flush, 5.0)
