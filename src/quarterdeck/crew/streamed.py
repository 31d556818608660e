"""Runs of a crew as a stream of chunks."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from quarterdeck.concurrency import finish_all
from quarterdeck.crew.output import CrewOutput
from quarterdeck.runtime.options import RunOptions
from quarterdeck.runtime.watch import Watch
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
        watch = Watch(feed, chunks_of)
        begun = [kickoff(inputs, **watch.options(options)) for inputs, options in runs]
        return [await begun[0]] if len(begun) == 1 else await finish_all(begun)

    return CrewStreamingOutput(work)
