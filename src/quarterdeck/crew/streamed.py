"""Runs of a crew as a stream of chunks."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from quarterdeck.concurrency import finish_all
from quarterdeck.crew.output import CrewOutput
from quarterdeck.errors import RunStopped
from quarterdeck.events import Event, Subscriber
from quarterdeck.runtime.options import RunOptions
from quarterdeck.runtime.run import Run
from quarterdeck.streaming import CrewStreamingOutput, Feed, StreamChunk
from quarterdeck.streaming.chunks import chunks_of

Kickoff = Callable[..., Coroutine[Any, Any, CrewOutput]]


def streamed(kickoff: Kickoff, runs: Sequence[tuple[Any, RunOptions]]) -> CrewStreamingOutput[CrewOutput]:
    """Runs, side by side, whose chunks come as one stream. They begin when it is first read.

    Args:
        kickoff: Makes a run.
        runs: The inputs and options of each.
    """

    async def work(feed: Feed[StreamChunk]) -> list[CrewOutput]:
        begun: list[Run] = []
        closed: list[RunStopped] = []

        def show(event: Event) -> None:
            for chunk in chunks_of(event):
                feed.put(chunk)

        def begin(inputs: Any, options: RunOptions) -> Coroutine[Any, Any, CrewOutput]:
            def attach(run: Run) -> None:
                begun.append(run)
                if given := options.get("attach"):
                    given(run)
                if closed:
                    run.stop(closed[0])

            on_event = both(options.get("on_event"), show)
            return kickoff(inputs, **{**options, "stream": True, "on_event": on_event, "attach": attach})

        def stop() -> None:
            closed.append(RunStopped("cancelled", "the stream was closed", "close"))
            for run in begun:
                run.interrupt(closed[0])

        feed.stop = stop
        work = [begin(inputs, options) for inputs, options in runs]
        return [await work[0]] if len(work) == 1 else await finish_all(work)

    return CrewStreamingOutput(work)


def both(first: Subscriber | None, second: Subscriber) -> Subscriber:
    """Shows each event to two."""

    def show(event: Event) -> None:
        if first:
            first(event)
        second(event)

    return show
