"""One run of a flow: its methods called as the rules say, each a step that is kept when it has finished."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import time
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from enum import Enum
from functools import partial
from typing import Any, Protocol

from quarterdeck.concurrency import call as call_function
from quarterdeck.concurrency import call_in_thread, is_async, on_loop, user_loop
from quarterdeck.errors import JournalError, JournalMismatchError, RunStopped, TaskTimeoutError
from quarterdeck.events import FeedbackReceived, MethodFailed, MethodFinished, MethodStarted
from quarterdeck.flow.asking import Question, result_of
from quarterdeck.flow.definition import Graph, Method
from quarterdeck.flow.hooked import call_hooked
from quarterdeck.flow.human_feedback import Feedback, HumanFeedbackResult
from quarterdeck.flow.persistence import Persisting
from quarterdeck.flow.state import Fork, State, StateKind, dump, id_of
from quarterdeck.flow.triggers import Call, Triggers
from quarterdeck.flow.values import from_json, to_json
from quarterdeck.runtime.place import Place, at
from quarterdeck.runtime.run import Run

logger = logging.getLogger("quarterdeck")

_fork: ContextVar[tuple[Execution, State] | None] = ContextVar("quarterdeck_flow_fork", default=None)


_apart: ContextVar[bool] = ContextVar("quarterdeck_flow_apart", default=False)


@contextmanager
def apart() -> Generator[None]:
    """Lets async methods of flows begun inside run on an event loop of their own: they may block it with sync calls,
    as CrewAI's users do, and the runs' own loop goes on."""
    token = _apart.set(True)
    try:
        yield
    finally:
        _apart.reset(token)


async def _call_apart(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    work = partial(call_function, function, *arguments, **named)
    return await (on_loop(user_loop(), work) if is_async(function) else work())


class Bound(Protocol):
    """What an execution needs of the flow's object besides its methods."""

    name: str
    max_method_calls: int
    persisting: Persisting | None


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
        self.feedback: list[HumanFeedbackResult] = []
        self.question: Question | None = None  # the one that the run waits for
        self._flow = flow
        self._graph = graph
        self._kind = kind
        self._state = state
        self._payload = payload
        self._triggers = Triggers(graph.rules)
        self._results: dict[str, Any] = {}
        self._given_by: dict[str, HumanFeedbackResult] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._open: set[str] = set()  # the calls that have led to nothing yet
        self._commit = asyncio.Lock()
        marks = [method.mark for method in graph.methods.values()]
        self._saves = flow.persisting is not None or any(mark.persisting for mark in marks)
        self._keeps = self._saves or any(mark.feedback for mark in marks)
        self._call_function = _call_apart if _apart.get() else call_function
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
            # A sync method's thread goes on: what it kicks off from now on is refused.
            self.run.stop(RunStopped("failed", "the flow's kickoff was cancelled"))
            while self._running:
                under_way, self._running = [*self._running, *self.run.aside], set()
                for task in under_way:
                    task.cancel()
                await asyncio.gather(*under_way, return_exceptions=True)
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
            if not isinstance(event, MethodFinished | FeedbackReceived) or path != _path_of(event):
                continue  # another step, or one of a flow within a method
            call = due.get(f"{event.method}/{event.call}")
            if call is None:
                raise JournalMismatchError(f"the journal has a call {path!r} that this flow does not lead to")
            if isinstance(event, MethodFinished):
                last = event
                self._keep(call, from_json(event.result, event.result_classes, self._kind.known))
            if isinstance(event, FeedbackReceived) or self._graph.methods[call.method].mark.feedback is None:
                del due[call.path]
                due |= {made.path: made for made in self._advance(call, event)}
        if last:
            self._state = self._kind.restore(last.state, last.state_classes)
        return list(due.values())

    # -- one call -----------------------------------------------------------------------------------------

    def _launch(self, calls: Sequence[Call]) -> None:
        self._open |= {call.path for call in calls}
        for call in calls:
            fork = Fork(self._state) if len(self._open) > 1 else None  # one alone works on the state itself
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
        try:
            if call.path not in self._results:  # else it has waited for a person
                await self._work(method, call, fork)
            if method.mark.feedback is not None:
                await self._ask(method.mark.feedback, call)
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            if not isinstance(error, JournalError):
                await self.run.record(MethodFailed(path=call.path, method=call.method, call=call.number, error=text))
            raise

    async def _work(self, method: Method, call: Call, fork: Fork | None) -> None:
        """Calls a method, and keeps its result."""
        self.run.emit(MethodStarted(path=call.path, method=call.method, call=call.number, trigger=call.trigger))
        started = time.perf_counter()
        with at(Place(self.run, call.path)):
            result = await _within(method, self._call(method, call))
        await self._finish(method, call, fork, result, started)

    async def _call(self, method: Method, call: Call) -> Any:
        function: Callable[..., Any] = getattr(self._flow, method.name)
        arguments = [self._given(call)] if method.takes else []
        named = {"crewai_trigger_payload": self._payload} if method.takes_payload else {}
        result = await call_hooked(self._call_function, method.name, function, *arguments, **named)
        return await result if inspect.isawaitable(result) else result  # an agent's kickoff in an async method is one

    def _given(self, call: Call) -> Any:
        """What a call is given: the result of the call that led to it."""
        return self._given_by.get(call.given, self._results.get(call.given))

    async def _finish(self, method: Method, call: Call, fork: Fork | None, result: Any, started: float) -> None:
        """Keeps a call's result, and begins what it leads to. One at a time: the journal's order is the rules'."""
        label = _label(result) if method.router and method.mark.feedback is None else None
        if label is not None and method.mark.emit is not None and label not in method.labels:
            logger.warning("router %s gave %r, which is not in its emit %s", method.name, label, list(method.labels))
        async with self._commit:
            if fork:
                fork.merge_into(self._state)
            _fork.set(None)
            event = self._finished(method, call, result, label, started)
            if persisting := method.mark.persisting or self._flow.persisting:
                await self._save(persisting, method.name, event.state)
            await self.run.record(event)
            self._keep(call, result)
            if method.mark.feedback is None:
                self._launch(self._advance(call, event))

    def _keep(self, call: Call, result: Any) -> None:
        self._results[call.path] = result
        self.outputs.append(result)

    def _advance(self, call: Call, event: MethodFinished | FeedbackReceived) -> list[Call]:
        """What a finished call leads to."""
        self._open.discard(call.path)
        if isinstance(event, MethodFinished):
            return self._triggers.finish(call, event.label)
        feedback = self._graph.methods[call.method].mark.feedback
        assert feedback
        result = result_of(event, feedback, self._results[call.path])
        self._given_by[call.path] = result
        self.feedback.append(result)
        return self._triggers.finish(call, event.outcome)

    async def _ask(self, feedback: Feedback, call: Call) -> None:
        """Asks a person about a call's result, and goes on with the answer."""
        question = Question(self._flow, self.run, call, feedback, self._results[call.path], id_of(self._state))
        try:
            event = await question.answered()
        except RunStopped:
            if question.pending:
                self.question = question
            raise
        async with self._commit:
            await self.run.record(event)
            self._launch(self._advance(call, event))

    async def _save(self, persisting: Persisting, method: str, state: dict[str, Any]) -> None:
        await call_in_thread(persisting.store().save_state, id_of(self._state), method, state)
        if persisting.verbose:
            logger.info("flow %s: state %s is saved after %s", self._flow.name, id_of(self._state), method)

    def _finished(self, method: Method, call: Call, result: Any, label: str | None, started: float) -> MethodFinished:
        if not (self.run.watched or self._keeps):  # nobody will see it
            return MethodFinished(path=call.path, method=call.method, call=call.number, label=label)
        strict = self.run.kept or self._saves
        state, state_classes = dump(self._state, f"flow {self._flow.name}: state", strict=strict)
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


def _path_of(event: MethodFinished | FeedbackReceived) -> str:
    """The path that an event of this flow's own methods has."""
    call = f"{event.method}/{event.call}"
    return call if isinstance(event, MethodFinished) else f"{call}/feedback"


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
