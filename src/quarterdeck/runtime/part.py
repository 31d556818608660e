"""A kickoff that is a part of another run: of a crew, an agent or a flow within a flow's method.

What runs there need not know of it: its steps have the paths that they have in a run of their own, and the run that it
is part of has them below the part's path, such as ``write/1/crew/1/research/1/llm/2``.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from quarterdeck.errors import ConfigError, JournalMismatchError, RunStopped
from quarterdeck.events import Event, KickoffFinished, KickoffStarted, LLMFinished, RunFinished, RunStatus
from quarterdeck.llm.types import UsageMetrics
from quarterdeck.runtime.human import HumanAnswer, HumanInput, HumanRequest
from quarterdeck.runtime.options import RunOptions
from quarterdeck.runtime.run import Run

V = TypeVar("V")


class Part(Run):
    """A part of a run: its own usage, output and end; the run's journal, limits and stops.

    Args:
        whole: The run, or a part of it.
        path: The part's path in it.
        options: Those of the kickoff.
    """

    def __init__(self, whole: Run, path: str, options: RunOptions) -> None:
        super().__init__(
            whole.id,
            on_event=options.get("on_event"),
            stream=bool(options.get("stream")),
            resolve=_below(whole.resolve, path),
            human=_Asked(options.get("human") or whole.human, path),
            answers=_below(whole.answers, path),
        )
        self.meter = whole.meter
        self.segment = whole.segment
        self.before_step = whole.before_step
        self.intended = set(_below(dict.fromkeys(whole.intended), path))
        self.asked = set(_below(dict.fromkeys(whole.asked), path))
        self.kickoffs = _below(whole.kickoffs, path)
        self.finished = _below(whole.finished, path)
        self._whole = whole
        self._path = path
        self._cost_usd: float | None = 0.0
        for name, event in self.finished.items():
            if isinstance(event, LLMFinished):
                self._count(UsageMetrics(**event.usage), event.cost_usd)
                self.hear(name, event.text)

    @property
    def stream(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether models are asked to stream: for the part, or for the run, where that may change."""
        return self._streams or self._whole.stream

    @stream.setter
    def stream(self, value: bool) -> None:
        self._streams = value

    # -- beginning and end --------------------------------------------------------------------------------

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
        """Begins the part, or goes on with it: then with the inputs of its first start, whatever is given now.

        Raises:
            JournalMismatchError: Another crew began here.
            ConfigError: It is a replay, which is a run of its own.
        """
        if reused:
            raise ConfigError(f"a replay of {replay_of!r} is a run of its own: give it a journal and a run_id")
        began, ended = self._whole.kickoffs.get(self._path), self._whole.finished.get(self._path)
        if began is None:
            inputs = await prepare(given) if prepare else given
            await self._whole.record(
                KickoffStarted(
                    path=self._path, crew=crew, given=given, inputs=inputs, definition=definition, kind=self.kind
                )
            )
            return inputs
        if began.definition != definition:
            raise JournalMismatchError(
                f"run {self.id!r} began {self._path!r} with another definition of {began.crew!r} than this one "
                f"({crew!r}): its finished steps do not fit; use the old code, or another run_id"
            )
        if isinstance(ended, KickoffFinished) and ended.status == "completed":
            self.ended = RunFinished(status="completed", output=ended.output)
        return began.inputs

    async def end(
        self,
        status: RunStatus,
        output: str = "",
        error: str = "",
        ended_by: str = "",
        issues: Sequence[str] = (),
    ) -> None:
        """Records how the part ended."""
        if self.ended:
            return
        self.ended = RunFinished(status=status, output=output, error=error, ended_by=ended_by, issues=list(issues))
        began = self._whole.kickoffs.get(self._path)
        event = KickoffFinished(
            path=self._path,
            crew=began.crew if began else "",
            status=status,
            output=output,
            error=error,
            usage=self.usage.model_dump(),
            cost_usd=self.cost_usd,
            seconds=round(time.monotonic() - self._began, 6),
            issues=list(issues),
            kind=self.kind,
        )
        await self._whole.record(event)

    def count(self, usage: UsageMetrics, cost_usd: float | None) -> None:
        """Counts a call to a model, here and in the run."""
        self._count(usage, cost_usd)
        self._whole.count(usage, cost_usd)

    def _count(self, usage: UsageMetrics, cost_usd: float | None) -> None:
        self.usage.add_usage_metrics(usage)
        self._cost_usd = None if cost_usd is None or self._cost_usd is None else self._cost_usd + cost_usd

    @property
    def cost_usd(self) -> float | None:
        """Cost of the part's calls; None where a price is not known."""
        return self._cost_usd

    @property
    def given(self) -> dict[str, Any]:
        """The inputs as they were given at its first start."""
        began = self._whole.kickoffs.get(self._path)
        return began.given if began else {}

    # -- stopping -----------------------------------------------------------------------------------------

    def stop(self, stop: RunStopped) -> RunStopped:
        """Stops the whole run; where a task failed, this part alone: whoever called it may know what to do."""
        if stop.status == "failed":
            return super().stop(stop)
        if stop.status in ("in_doubt", "pending_human_input"):
            path = f"{self._path}/{stop.ended_by}"
            stop = RunStopped(stop.status, stop.reason.replace(repr(stop.ended_by), repr(path)), path)
        return self._whole.stop(stop)

    def interrupt(self, stop: RunStopped) -> None:
        """Interrupts the whole run."""
        self._whole.interrupt(stop)

    def stop_behind(self, error: BaseException) -> RunStopped:
        """Raises what stopped it: a run ends where it began.

        Raises:
            BaseException: ``error``.
        """
        raise error

    def check(self) -> None:
        """Raises RunStopped where the run or this part has been stopped."""
        self._whole.check()
        if self.stopped is not None:
            raise self.stopped

    # -- events -------------------------------------------------------------------------------------------

    @property
    def kept(self) -> bool:
        """Whether the run has a journal."""
        return self._whole.kept

    @property
    def watched(self) -> bool:
        """Whether the run's events, or the part's, are kept or seen."""
        return self._whole.watched or self._on_event is not None

    def emit(self, event: Event) -> None:
        """Shows an event that the journal does not keep."""
        self._whole.emit(event.moved(f"{self._path}/{event.path}"))
        self._show_here(event)

    async def record(self, event: Event) -> None:
        """Keeps a durable event, and shows it when it is safe in the journal."""
        path = event.path
        await self._whole.record(event.moved(f"{self._path}/{path}"))
        if (kept := self._whole.finished.get(event.path)) is event and kept:
            self.finished[path] = kept
        self._show_here(event)

    def _show_here(self, event: Event) -> None:
        if self._on_event:
            self._call_subscriber(self._on_event, event)

    async def events_of(self, run_id: str) -> list[Event]:
        """The events of another run in the same journal."""
        return await self._whole.events_of(run_id)

    def step_key(self, path: str) -> str:
        """The same for every try of one step, and for no other."""
        return self._whole.step_key(f"{self._path}/{path}")


class _Asked:
    """Whom a part asks: whom the run asks, about the path that the question has there."""

    def __init__(self, asked: HumanInput, path: str) -> None:
        self._asked = asked
        self._path = path

    async def ask(self, request: HumanRequest) -> HumanAnswer | None:
        return await self._asked.ask(replace(request, path=f"{self._path}/{request.path}"))


def _below(items: Mapping[str, V], path: str) -> dict[str, V]:
    """What lies below a path, by the rest of its path."""
    start = len(path) + 1
    return {name[start:]: value for name, value in items.items() if name.startswith(f"{path}/")}
