"""Runs of a flow as a stream, of chunks of text or of frames."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from quarterdeck.bus.feed import events_for
from quarterdeck.bus.frames import frame_of
from quarterdeck.events import Event
from quarterdeck.runtime.options import RunOptions
from quarterdeck.runtime.watch import Watch
from quarterdeck.streaming import Feed, FlowStreamingOutput, StreamChunk, StreamFrame, StreamSession
from quarterdeck.streaming.chunks import chunks_of

Kickoff = Callable[[RunOptions], Coroutine[Any, Any, Any]]


def as_chunks(kickoff: Kickoff, options: RunOptions) -> FlowStreamingOutput[Any]:
    """What agents and models write in a flow's run. It begins when the stream is first read.

    Args:
        kickoff: Makes the run, given its options.
        options: Those of the kickoff.
    """

    async def work(feed: Feed[StreamChunk]) -> list[Any]:
        return [await kickoff(Watch(feed, chunks_of).options(options))]

    return FlowStreamingOutput(work)


def as_frames(kickoff: Kickoff, options: RunOptions) -> StreamSession[Any]:
    """All that happens in a flow's run, as frames of CrewAI's events. Arguments as for ``as_chunks``."""

    async def work(feed: Feed[StreamFrame]) -> Any:
        def frames(event: Event) -> Iterator[StreamFrame]:
            for _, made in events_for(event, lambda kind: True):
                last = feed.pieces[-1] if feed.pieces else None
                yield frame_of(made, last)

        return await kickoff(Watch(feed, frames).options(options))

    return StreamSession(work)
