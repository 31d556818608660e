"""One run that a worker has: how it is begun or gone on with, stopped, and what came of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from quarterdeck.budget import Budget
from quarterdeck.errors import HandedOver, JournalError, RunStopped
from quarterdeck.events import Event, HumanAnswered, HumanRequested, RunFinished, Subscriber, ToolIntended
from quarterdeck.flow import Flow
from quarterdeck.flow.execution import apart
from quarterdeck.project import Entry
from quarterdeck.runtime.human import Later
from quarterdeck.runtime.journal import OpenRun
from quarterdeck.runtime.run import Run
from quarterdeck.server import amp
from quarterdeck.server.live import Live
from quarterdeck.server.store import WAITING, Claim, Question, RunRecord, State, state_of
from quarterdeck.server.store.endings import end_of


@dataclass(frozen=True, slots=True)
class Ending:
    """What came of a worker's part of a run.

    Args:
        state: Its state now.
        detail: Why.
        ended_by: The limit, or the path of what it waits for.
        questions: What persons are asked.
    """

    state: State
    detail: str
    ended_by: str
    questions: list[Question]


class Running:
    """A claimed run.

    Args:
        claim: The claim.
        entry: The crew, in the run's version; None where the worker has it no more.
        is_ours: Whether this worker can be sure that the run is its own: asked before each step.
        live: Shows its events to those who listen.
        on_event: Called with each event.
    """

    def __init__(
        self,
        claim: Claim,
        entry: Entry | None,
        is_ours: Callable[[], bool],
        live: Live,
        on_event: Subscriber | None = None,
    ) -> None:
        self._is_ours = is_ours
        self.claim = claim
        self.task: asyncio.Task[None] | None = None
        self.has_ended = False  # what came of it is being written
        self._entry = entry
        self._live = live
        self._last = 0  # the number of its last event
        self._on_event = on_event
        self._run: Run | None = None
        self._stop: RunStopped | None = None
        self._asked: dict[str, HumanRequested] = {}
        self._answered: set[str] = set()
        self._intended: Counter[str] = Counter()

    @property
    def stopping(self) -> bool:
        """Whether it has been told to end."""
        return self._stop is not None or (self._run is not None and self._run.stopped is not None)

    def stop(self, stop: RunStopped, *, now: bool) -> None:
        """Ends it: before its next step, or ``now``, with the calls under way. Called on its event loop."""
        self._stop = self._stop or stop
        run = self._run
        if run is None or run.ended is not None:
            return
        if now:
            run.interrupt(stop)
        else:
            run.stop(stop)

    async def execute(self, opened: OpenRun) -> Ending:
        """Runs the crew, or goes on with it; whatever comes of it, the run's end is in the journal.

        Args:
            opened: The run's place in the journal.

        Raises:
            HandedOver: It was stopped for another worker.
            FencedError: Another worker has it.
            JournalError: An event could not be written.
        """
        for event in opened.events:
            self._note(event)
        end = end_of(opened.events)
        if end is None or (state_of(end) in WAITING and self._news()):
            try:
                end = await self._kickoff(opened)
            finally:
                self._live.stop(self.claim.run.id)
        self.has_ended = True
        state = state_of(end)
        return Ending(state, amp.reason(end), end.ended_by, self._questions(end) if state in WAITING else [])

    def _note(self, event: Event) -> None:
        self._last = event.seq or self._last
        match event:
            case HumanRequested():
                self._asked[event.path] = event
            case HumanAnswered():
                self._answered.add(event.path)
            case ToolIntended():
                self._intended[event.path] += 1
            case _:
                pass

    async def _kickoff(self, opened: OpenRun) -> RunFinished:
        run = self.claim.run
        error = f"this worker has no version {run.version!r} of crew {run.crew!r}"
        try:
            if self._entry is not None:
                runnable = self._entry.runnable
                kickoff = runnable.arun if isinstance(runnable, Flow) else runnable.akickoff
                with apart():
                    await kickoff(
                        run.inputs,
                        journal=opened,
                        run_id=run.id,
                        budget=_budget(run),
                        human=Later(),
                        answers=self.claim.answers,
                        resolve=self._resolve(),
                        on_event=self._show,
                        attach=self._attach,
                        stream=False,
                    )
        except JournalError:
            raise
        except Exception as failure:
            error = f"{type(failure).__name__}: {failure}"
        begun = self._run or Run(run.id, opened=opened)
        if begun.ended is None:  # it failed before it began
            await begun.end("failed", error=error)
        assert begun.ended
        return begun.ended

    def _attach(self, run: Run) -> None:
        self._run = run
        run.before_step = self._before_step
        if self._stop:
            run.stop(self._stop)

    def _before_step(self) -> None:
        """A worker that has slept begins no step of a run that another one may have by now; and a model is asked for
        its answer in pieces only where somebody wants them."""
        if not self._is_ours():
            self.stop(HandedOver(), now=False)
        if self._run is not None:
            self._run.stream = self._live.wants_deltas(self._run.id)

    def _show(self, event: Event) -> None:
        self._note(event)
        self._live.show(event, self._last)
        if self._on_event:
            self._on_event(event)

    # -- persons ------------------------------------------------------------------------------------------

    def _doubt(self, path: str) -> str:
        """The path of the question about a tool call in doubt. One that was made again, and is in doubt again, is
        another question."""
        return f"{path}?{self._intended[path]}"

    def _resolve(self) -> dict[str, str | None]:
        """What persons have said of the tool calls in doubt now: the result, or None to make the call again."""
        said: dict[str, str | None] = {}
        for item in self.claim.questions:
            path = item.path.rpartition("?")[0]
            if item.kind == "in_doubt" and item.answer and item.path == self._doubt(path):
                said[path] = item.answer.feedback if item.answer.approved else None
        return said

    def _news(self) -> bool:
        """Whether an answer has come that the run has not had."""
        return bool(self.claim.answers.keys() - self._answered or self._resolve())

    def _questions(self, end: RunFinished) -> list[Question]:
        """What persons are to be asked: a tool call in doubt, or every output that nobody has judged yet."""
        run = self.claim.run
        if end.status == "in_doubt":
            path, task = self._doubt(end.ended_by), end.ended_by.partition("/")[0]
            return [
                Question(
                    run_id=run.id,
                    path=path,
                    task=task,
                    question=amp.reason(end),
                    kind="in_doubt",
                    # Nobody knows a result that could be approved unseen.
                    default_action="error" if run.default_action == "approve" else run.default_action,
                )
            ]
        return [Question.of(run, asked) for asked in self._asked.values() if asked.path not in self._answered]


def _budget(run: RunRecord) -> Budget:
    """The run's limits; of two time limits the shorter one."""
    limits: dict[str, Any] = dict(run.budget)
    seconds = [value for value in (limits.get("max_seconds"), run.max_seconds) if value is not None]
    if seconds:
        limits["max_seconds"] = min(seconds)
    return Budget(**limits)
