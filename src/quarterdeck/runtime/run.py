"""A run: the state of one execution of a crew, a flow or an agent: its journal, limits, events and end.

Whatever costs money, takes time or touches the world is a step with a path. A step whose finish is in the journal is
not done again; its result is taken from there.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Unpack

from quarterdeck.budget import Budget, Meter
from quarterdeck.errors import HandedOver, JournalError, JournalMismatchError, RunStopped
from quarterdeck.events import (
    ConditionDecided,
    Event,
    FeedbackReceived,
    GuardrailFinished,
    HumanAnswered,
    HumanRequested,
    KickoffFinished,
    KickoffStarted,
    LimitReached,
    LLMFinished,
    MethodFinished,
    RunFinished,
    RunKind,
    RunStarted,
    RunStatus,
    Subscriber,
    TaskFinished,
    ToolFinished,
    ToolIntended,
    subscribers,
)
from quarterdeck.llm.types import UsageMetrics
from quarterdeck.runtime.human import HumanAnswer, HumanInput, current_human_input
from quarterdeck.runtime.journal import OpenRun, open_journal
from quarterdeck.runtime.options import RunOptions, check_options
from quarterdeck.tools.cache import ToolCache
from quarterdeck.tools.failure import FailurePolicy
from quarterdeck.tools.large import ResultStore
from quarterdeck.tools.usage import ToolUsage

logger = logging.getLogger("quarterdeck")

Finish = (
    LLMFinished
    | ToolFinished
    | TaskFinished
    | MethodFinished
    | KickoffFinished
    | FeedbackReceived
    | GuardrailFinished
    | ConditionDecided
    | HumanAnswered
)


class Run:
    """The state of one run. It belongs to one event loop.

    Args:
        run_id: The run's id.
        opened: The run's place in a journal; None keeps nothing.
        budget: Limits; None: none.
        on_event: Called with each event of this run.
        stream: Whether models are asked to stream, for ``LLMDelta`` events.
        resolve: Answers for tool calls in doubt, by path: the result of a call that happened, or None for one
            that did not and is to be made.
        human: Whom to ask where a person is asked; None: whoever is set for this context, else the terminal.
        answers: Answers of persons that came while the run was not under way, by the question's path.
    """

    def __init__(
        self,
        run_id: str,
        *,
        opened: OpenRun | None = None,
        budget: Budget | None = None,
        on_event: Subscriber | None = None,
        stream: bool = False,
        resolve: Mapping[str, str | None] | None = None,
        human: HumanInput | None = None,
        answers: Mapping[str, HumanAnswer] | None = None,
    ) -> None:
        self.id = run_id
        self.kind: RunKind = "crew"
        self.tool_failure_policy: FailurePolicy = "warn"
        self.meter = Meter(budget or Budget())
        self.usage = UsageMetrics()
        self.stream = stream
        self.results = ResultStore()
        self.cache = ToolCache()
        self.tool_usage = ToolUsage()
        self.finished: dict[str, Finish] = {}
        self.kickoffs: dict[str, KickoffStarted] = {}  # the parts that have begun
        self.ended: RunFinished | None = None
        self.stopped: RunStopped | None = None
        self.last_text = ""
        self.before_step: Callable[[], None] | None = None  # called before each step; may stop the run
        self._opened = opened
        self._on_event = on_event
        self.resolve = dict(resolve or {})
        self.human = human or current_human_input()
        self.answers = dict(answers or {})
        self.intended: set[str] = set()
        self.asked: set[str] = set()
        self._seq = 0
        self.segment = 0
        self._segment_began = 0.0
        self._first = RunStarted(crew="")
        self._earlier_seconds = 0.0
        self._began = time.monotonic()
        self.aside: set[asyncio.Task[Any]] = (
            set()
        )  # what sync methods of a flow have kicked off: no part of their tasks
        self._task: asyncio.Task[Any] | None = None
        self._cancelling = 0
        self._interrupts = 0
        self._timer: asyncio.TimerHandle | None = None
        for event in opened.events if opened else ():
            self._take_over(event)

    # -- beginning and end --------------------------------------------------------------------------------

    def _take_over(self, event: Event) -> None:
        """Puts an event of an earlier segment back into the run's state."""
        self._seq = event.seq or self._seq
        match event:
            case RunStarted():
                self.segment = event.segment
                self._segment_began = event.time
                self._first = event if event.segment == 1 else self._first
                self._reuse(event.reused)
            case RunFinished():
                self.ended = event
            case LLMFinished():
                usage = UsageMetrics(**event.usage)
                self.meter.llm_calls += 1
                self.meter.book(usage.total_tokens, event.cost_usd)
                self.usage.add_usage_metrics(usage)
                self.hear(event.path, event.text)
                self.finished[event.path] = event
            case ToolFinished():
                self.meter.tool_calls += 1
                self.finished[event.path] = event
            case ToolIntended():
                self.intended.add(event.path)
            case HumanRequested():
                self.asked.add(event.path)
            case KickoffStarted():
                self.kickoffs[event.path] = event
            case _ if isinstance(event, Finish):
                self.finished[event.path] = event
            case _:
                pass
        if not isinstance(event, RunStarted) and self.segment:
            self._earlier_seconds += max(0.0, event.time - self._segment_began)
            self._segment_began = event.time

    async def begin(
        self,
        crew: str,
        given: dict[str, Any],
        definition: str,
        prepare: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]] | None = None,
        *,
        replay_of: str = "",
        reused: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Starts the run, or goes on with it.

        Args:
            crew: The crew's name.
            given: The inputs of this call.
            definition: Digest of the crew's definition.
            prepare: Makes the inputs that the run works with, at its first start only.
            replay_of: The run that this one replays.
            reused: Outputs of tasks that are taken from there, by the task's name.

        Returns:
            The inputs that the run works with: those of its first start.

        Raises:
            JournalMismatchError: The journaled run began with other inputs or another crew.
        """
        if self.segment:
            self._check_same(crew, given, definition)
            given, inputs = self._first.given, self._first.inputs
        else:
            inputs = await prepare(given) if prepare else given
        if self.ended and self.ended.status == "completed":
            return inputs
        self.ended = None
        self.segment += 1
        started = RunStarted(
            crew=crew, given=given, inputs=inputs, definition=definition, segment=self.segment, kind=self.kind
        )
        if self.segment == 1 and reused:
            started = replace(started, replay_of=replay_of, reused=dict(reused))
        await self.record(started)
        self._reuse(started.reused)
        self._task = asyncio.current_task()
        self._cancelling = self._task.cancelling() if self._task else 0
        self._limit_time()
        return inputs

    def _reuse(self, outputs: Mapping[str, Any]) -> None:
        """Takes outputs of tasks of another run as this one's: those tasks are finished."""
        for name, output in outputs.items():
            self.finished[name] = TaskFinished(path=name, task=name, output=output)

    def _limit_time(self) -> None:
        limit = self.meter.budget.max_seconds
        if limit is None:
            return
        reason = f"the budget's max_seconds of {limit:g} is reached"
        left = limit - self._earlier_seconds
        stop = RunStopped("limited", reason, "max_seconds", allowed=limit, used=max(limit, self._earlier_seconds))
        if left > 0:
            self._timer = asyncio.get_running_loop().call_later(left, self.interrupt, stop)
        else:
            self.stop(stop)

    def _check_same(self, crew: str, given: dict[str, Any], definition: str) -> None:
        first = self._first
        if first.definition != definition:
            raise JournalMismatchError(
                f"run {self.id!r} was started by another definition of crew {first.crew!r} than this one "
                f"({crew!r}): its finished steps do not fit; use the old code, or another run_id"
            )
        if given and _canonical(given) != _canonical(first.given):
            raise JournalMismatchError(
                f"run {self.id!r} was started with inputs {_short(first.given)}, now got {_short(given)}; "
                "give the same inputs or none, or another run_id"
            )

    async def end(
        self,
        status: RunStatus,
        output: str = "",
        error: str = "",
        ended_by: str = "",
        issues: Sequence[str] = (),
    ) -> None:
        """Records how the run ended. A run that is taken up again after this goes on from its steps."""
        self._task = None  # there is nothing left to interrupt
        if self._timer:
            self._timer.cancel()
        if self.ended:
            return
        event = RunFinished(
            status=status,
            output=output,
            error=error,
            ended_by=ended_by,
            usage=self.usage.model_dump(),
            cost_usd=self.cost_usd,
            seconds=round(self._earlier_seconds + time.monotonic() - self._began, 6),
            issues=list(issues),
            kind=self.kind,
        )
        await self.record(event)
        self.ended = event

    @property
    def given(self) -> dict[str, Any]:
        """The inputs as they were given at its first start, where that was in an earlier segment."""
        return self._first.given

    @property
    def cost_usd(self) -> float | None:
        """Cost of all calls so far; None where a price is not known."""
        return self.meter.cost_usd if self.meter.cost_known else None

    # -- stopping -----------------------------------------------------------------------------------------

    def stop(self, stop: RunStopped) -> RunStopped:
        """Lets no new step begin; those under way are finished.

        Returns:
            What ends the run, to be raised: the first stop, but a failure gives way to any other.
        """
        if self.stopped is None or self.stopped.status == "failed":
            self.stopped = stop
            if stop.status == "limited":
                self.emit(LimitReached(limit=stop.ended_by, allowed=stop.allowed, used=stop.used))
        return self.stopped

    def interrupt(self, stop: RunStopped) -> None:
        """Stops the run and interrupts the steps under way. Called on the run's event loop."""
        self.stop(stop)
        asyncio.get_running_loop().call_soon(self._cancel)  # later: the caller may be a part of the run itself

    def _cancel(self) -> None:
        if self._task:
            self._interrupts += 1
            self._task.cancel()

    def stop_behind(self, error: BaseException) -> RunStopped:
        """What ended the run, for whoever has caught a RunStopped or a cancellation at the run's outer end.

        Raises:
            asyncio.CancelledError: The run's task was cancelled by somebody else: the run stays open, to be gone on
                with.
            HandedOver: It stays open for another worker.
        """
        task, self._task = self._task, None
        ours = False
        if task and self._interrupts:
            for _ in range(self._interrupts):
                task.uncancel()  # these cancellations end here
            ours = task.cancelling() <= self._cancelling
        if self.stopped is None or (isinstance(error, asyncio.CancelledError) and not ours):
            raise error
        if isinstance(self.stopped, HandedOver):
            raise self.stopped
        return self.stopped

    def check(self) -> None:
        """Raises RunStopped where the run has been stopped."""
        if self.before_step is not None:
            self.before_step()
        if self.stopped is not None:
            raise self.stopped

    def count(self, usage: UsageMetrics, cost_usd: float | None) -> None:
        """Counts a call to a model; what it costs is booked by the meter."""
        del cost_usd
        self.usage.add_usage_metrics(usage)

    def hear(self, path: str, text: str) -> None:
        """Keeps the last text of an agent, for a partial output; a guardrail's verdict is none."""
        if text and "/guardrail/" not in path:
            self.last_text = text

    # -- events -------------------------------------------------------------------------------------------

    @property
    def kept(self) -> bool:
        """Whether it has a journal."""
        return self._opened is not None

    @property
    def watched(self) -> bool:
        """Whether its events are kept or seen. Where they are not, those of calls, which are many, are not made."""
        return self._opened is not None or self._on_event is not None or bool(subscribers())

    def emit(self, event: Event) -> None:
        """Shows an event that the journal does not keep."""
        self._show(event.stamped(self.id, None))

    async def record(self, event: Event) -> None:
        """Keeps a durable event, and shows it when it is safe in the journal."""
        self._seq += 1
        event.stamped(self.id, self._seq)
        if self._opened:
            await self._append(self._opened, event)
        if event.path and isinstance(event, Finish):
            self.finished[event.path] = event
        elif isinstance(event, KickoffStarted):
            self.kickoffs[event.path] = event
        self._show(event)

    async def _append(self, opened: OpenRun, event: Event) -> None:
        try:
            await opened.append(event)
        except JournalError:
            if self._seq == event.seq:  # it was refused (it holds what is no JSON): its place is free
                self._seq -= 1
            raise

    def _show(self, event: Event) -> None:
        if self._on_event:
            self._call_subscriber(self._on_event, event)
        for function, kinds in subscribers():
            if isinstance(event, kinds):
                self._call_subscriber(function, event)

    def _call_subscriber(self, function: Subscriber, event: Event) -> None:
        try:
            function(event)
        except Exception:
            logger.exception("run %s: a subscriber failed on %s", self.id, event.type)

    async def events_of(self, run_id: str) -> list[Event]:
        """The events of another run in the same journal; none where there is no journal."""
        return await self._opened.journal.events(run_id) if self._opened else []

    def step_key(self, path: str) -> str:
        """The same for every try of one step, and for no other: for use as an idempotency key."""
        return f"{self.id}:{path}"


async def open_run(**options: Unpack[RunOptions]) -> Run:
    """A run: a new one, or the one that the journal has under this id.

    Raises:
        TypeError: An option is not known.
        ConfigError: An option is of another type.
    """
    check_options(options)
    run_id = options.get("run_id") or str(uuid.uuid4())
    journal = options.get("journal")
    if journal is None or isinstance(journal, OpenRun):
        opened = journal
    else:
        opened = await open_journal(journal).open_run(run_id)
    run = Run(
        run_id,
        opened=opened,
        budget=options.get("budget"),
        on_event=options.get("on_event"),
        stream=options.get("stream", False),
        resolve=options.get("resolve"),
        human=options.get("human"),
        answers=options.get("answers"),
    )
    if attach := options.get("attach"):
        attach(run)
    return run


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _short(value: Any) -> str:
    text = _canonical(value)
    return text if len(text) <= 200 else text[:200] + "…"
