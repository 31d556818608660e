"""One run of a flow: its methods called as the rules say, each a step that is kept when it has finished."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from enum import Enum
from typing import Any, Protocol

from quarterdeck.concurrency import call as call_function
from quarterdeck.errors import JournalError, JournalMismatchError, RunStopped, TaskTimeoutError
from quarterdeck.events import MethodFailed, MethodFinished, MethodStarted
from quarterdeck.flow.definition import Graph, Method
from quarterdeck.flow.state import Fork, State, StateKind, dump
from quarterdeck.flow.triggers import Call, Triggers
from quarterdeck.flow.values import from_json, to_json
from quarterdeck.runtime.place import Place, at
from quarterdeck.runtime.run import Run

logger = logging.getLogger("quarterdeck")

_fork: ContextVar[tuple[Execution, State] | None] = ContextVar("quarterdeck_flow_fork", default=None)


class Bound(Protocol):
    """What an execution needs of the flow's object: its methods, and this limit."""

    max_method_calls: int


class Execution:
    """The methods of one run under way.

    Args:
        flow: The flow's object for this run, which the methods are bound to.
        graph: Its methods.
        kind: What its state is.
        run: The run.
        state: The state that the run begins with.
        payload: A trigger's payload, for starts that take one.
    """

    def __init__(self, flow: Bound, graph: Graph, kind: StateKind, run: Run, state: State, payload: Any = None) -> None:
        self.run = run
        self.outputs: list[Any] = []
        self._flow = flow
        self._graph = graph
        self._kind = kind
        self._state = state
        self._payload = payload
        self._triggers = Triggers(graph.rules)
        self._results: dict[str, Any] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._commit = asyncio.Lock()
        self._context = contextvars.copy_context()

    @property
    def state(self) -> State:
        """The run's state; within a method that runs beside others, its own copy."""
        fork = _fork.get()
        return fork[1] if fork and fork[0] is self else self._state

    @property
    def result(self) -> Any:
        """What the last method that finished returned."""
        return self.outputs[-1] if self.outputs else None

    async def all(self) -> None:
        """Calls all methods. When one fails or the run is stopped, none is begun any more; those under way are
        finished."""
        failures: list[BaseException] = []
        self._launch(self._resumed())
        try:
            while self._running:
                done, _ = await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
                self._running -= done
                failures += self._failures(done)
        except asyncio.CancelledError:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)
            raise
        errors = [error for error in failures if not isinstance(error, RunStopped)]
        if failures:
            raise (errors or failures)[0]

    def _failures(self, done: set[asyncio.Task[None]]) -> list[BaseException]:
        failures: list[BaseException] = []
        for task in done:
            error = RuntimeError("a method was cancelled") if task.cancelled() else task.exception()
            if error is None:
                continue
            failures.append(error)
            if not isinstance(error, RunStopped):
                self.run.stop(RunStopped("failed", f"another method failed: {error}"))
        return failures

    # -- going on -----------------------------------------------------------------------------------------

    def _resumed(self) -> list[Call]:
        """The calls to be made: at first those that the flow begins with, else those that the journal does not have.

        Raises:
            JournalMismatchError: The journal has a call that these rules do not lead to.
        """
        due = {call.path: call for call in self._triggers.begin()}
        last: MethodFinished | None = None
        for path, event in list(self.run.finished.items()):
            if not isinstance(event, MethodFinished) or path.count("/") > 1:  # of a flow within a method
                continue
            call = due.pop(path, None)
            if call is None:
                raise JournalMismatchError(f"the journal has a call {path!r} that this flow does not lead to")
            last = event
            self._results[path] = from_json(event.result, event.result_classes)
            self.outputs.append(self._results[path])
            due |= {made.path: made for made in self._triggers.finish(call, event.label)}
        if last:
            self._state = self._kind.restore(last.state, last.state_classes)
        return list(due.values())

    # -- one call -----------------------------------------------------------------------------------------

    def _launch(self, calls: Sequence[Call]) -> None:
        others = len(self._running) + len(calls) > 1
        for call in calls:
            fork = Fork(self._state) if others else None
            work = self._perform(self._graph.methods[call.method], call, fork)
            self._running.add(asyncio.create_task(work, context=self._context.copy()))

    async def _perform(self, method: Method, call: Call, fork: Fork | None) -> None:
        _fork.set((self, fork.state) if fork else None)
        self.run.check()
        if call.number > self._flow.max_method_calls:
            raise RecursionError(
                f"method {call.method!r} was called more than max_method_calls={self._flow.max_method_calls} times: "
                "the flow loops without end, or needs a higher limit"
            )
        self.run.emit(MethodStarted(path=call.path, method=call.method, call=call.number, trigger=call.trigger))
        started = time.perf_counter()
        try:
            with at(Place(self.run, call.path)):
                result = await _within(method, self._call(method, call))
            await self._finish(method, call, fork, result, started)
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            if not isinstance(error, JournalError):
                await self.run.record(MethodFailed(path=call.path, method=call.method, call=call.number, error=text))
            raise

    def _call(self, method: Method, call: Call) -> Awaitable[Any]:
        function: Callable[..., Any] = getattr(self._flow, method.name)
        arguments = [self._given(call)] if method.takes else []
        named = {"crewai_trigger_payload": self._payload} if method.takes_payload else {}
        return call_function(function, *arguments, **named)

    def _given(self, call: Call) -> Any:
        """What a call is given: the result of the call that led to it."""
        return self._results.get(call.given)

    async def _finish(self, method: Method, call: Call, fork: Fork | None, result: Any, started: float) -> None:
        """Keeps a call's result, and begins what it leads to. One at a time: the journal's order is the rules'."""
        label = _label(result) if method.router else None
        if label is not None and method.mark.emit is not None and label not in method.labels:
            logger.warning("router %s gave %r, which is not in its emit %s", method.name, label, list(method.labels))
        async with self._commit:
            if fork:
                fork.merge_into(self._state)
            if self.run.watched:
                await self.run.record(self._finished(method, call, result, label, started))
            self._results[call.path] = result
            self.outputs.append(result)
            calls = self._triggers.finish(call, label)
            if self.run.stopped is None:
                self._launch(calls)

    def _finished(self, method: Method, call: Call, result: Any, label: str | None, started: float) -> MethodFinished:
        strict = self.run.kept
        state, state_classes = dump(self._state, f"flow {type(self._flow).__name__}: state", strict=strict)
        kept, result_classes = to_json(result, f"method {method.name!r}: its result", strict=strict)
        return MethodFinished(
            path=call.path,
            method=call.method,
            call=call.number,
            result=kept,
            label=label,
            state=state,
            result_classes=result_classes,
            state_classes=state_classes,
            seconds=round(time.perf_counter() - started, 6),
        )


def _label(result: Any) -> str | None:
    """A router's result as a label."""
    if result is None:
        return None
    return str(result.value if isinstance(result, Enum) else result)


async def _within(method: Method, work: Awaitable[Any]) -> Any:
    """Awaits a method for at most its time limit."""
    seconds = method.mark.seconds
    if seconds is None:
        return await work
    timer = asyncio.timeout(seconds)
    try:
        async with timer:
            return await work
    except TimeoutError:
        if not timer.expired():
            raise
        raise TaskTimeoutError(
            f"method {method.name!r} took longer than its max_execution_time of {seconds:g} s"
        ) from None
