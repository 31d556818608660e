"""Runs whose events are put into a stream, and that end when it is closed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from quarterdeck.errors import RunStopped
from quarterdeck.events import Event, Subscriber
from quarterdeck.runtime.options import RunOptions
from quarterdeck.runtime.run import Run
from quarterdeck.streaming import Feed

T = TypeVar("T")


class Watch(Generic[T]):
    """Puts pieces of runs into a feed.

    Args:
        feed: The feed. Closing it ends the runs.
        pieces: The pieces that an event is; called where it happens.
    """

    def __init__(self, feed: Feed[T], pieces: Callable[[Event], Iterable[T]]) -> None:
        self._feed = feed
        self._pieces = pieces
        self._begun: list[Run] = []
        self._closed: RunStopped | None = None
        feed.stop = self._stop

    def options(self, given: RunOptions) -> RunOptions:
        """A kickoff's options, for a run that is watched and whose models stream."""

        def attach(run: Run) -> None:
            self._begun.append(run)
            if first := given.get("attach"):
                first(run)
            if self._closed:
                run.stop(self._closed)

        return {**given, "stream": True, "on_event": both(given.get("on_event"), self._show), "attach": attach}

    def _show(self, event: Event) -> None:
        for piece in self._pieces(event):
            self._feed.put(piece)

    def _stop(self) -> None:
        self._closed = RunStopped("cancelled", "the stream was closed", "close")
        for run in self._begun:
            run.interrupt(self._closed)


def both(first: Subscriber | None, second: Subscriber) -> Subscriber:
    """Shows each event to two."""

    def show(event: Event) -> None:
        if first:
            first(event)
        second(event)

    return show
