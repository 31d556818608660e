"""Frames: one envelope for all that happens in a model's call or a flow (CrewAI: ``StreamFrame``)."""

from __future__ import annotations

import itertools
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar, get_args

from quarterdeck.errors import ConfigError
from quarterdeck.streaming.stream import Feed, Stream

R = TypeVar("R")

Channel = Literal["llm", "flow", "tools", "messages", "lifecycle", "custom"]
"""What a frame is about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamFrame:
    """One thing that happened (CrewAI: ``StreamFrame``).

    Args:
        type: What happened, by CrewAI's name: ``llm_stream_chunk``, ``tool_usage_started``, …
        channel: What it is about.
        data: The event's fields.
        seq: Its place in the stream, from 1.
        id: Its id.
        namespace: Where it happened: the parts of the step's path.
        timestamp: When, in seconds since 1970.
        parent_id: The id of the event that it is part of.
        previous_id: The id of the frame before it.
        version: The envelope's version.
    """

    type: str
    channel: Channel
    data: dict[str, Any] = field(default_factory=dict[str, Any])
    seq: int = 0
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    namespace: tuple[str, ...] = ()
    timestamp: float = field(default_factory=time.time)
    parent_id: str | None = None
    previous_id: str | None = None
    version: str = "v1"

    @property
    def event(self) -> dict[str, Any]:
        """The data, by its other name."""
        return self.data

    @property
    def content(self) -> str:
        """The piece of text that it carries, or ""."""
        return str(self.data.get("chunk") or "") if self.channel == "llm" else ""


class Framer:
    """Puts frames into a feed, numbered and linked."""

    def __init__(self, feed: Feed[StreamFrame]) -> None:
        self._feed = feed
        self._numbers = itertools.count(1)
        self._last: str | None = None

    def __call__(self, kind: str, channel: Channel, data: dict[str, Any], **more: Any) -> None:
        """Adds a frame."""
        frame = StreamFrame(
            type=kind, channel=channel, data=data, seq=next(self._numbers), previous_id=self._last, **more
        )
        self._last = frame.id
        self._feed.put(frame)


class Frames:
    """Those frames of a stream that are on some channels; read with ``for`` or ``async for``."""

    def __init__(self, stream: Stream[StreamFrame, Any], fits: Callable[[StreamFrame], bool]) -> None:
        self._stream = stream
        self._fits = fits

    def __iter__(self) -> Iterator[StreamFrame]:
        return (frame for frame in self._stream if self._fits(frame))

    async def __aiter__(self) -> AsyncIterator[StreamFrame]:
        async for frame in self._stream:
            if self._fits(frame):
                yield frame


class StreamSession(Stream[StreamFrame, R], Generic[R]):
    """A stream of frames (CrewAI: ``StreamSession``), with its projections to channels."""

    @property
    def events(self) -> Frames:
        """All frames."""
        return Frames(self, lambda frame: True)

    @property
    def llm(self) -> Frames:
        """What models write."""
        return self.interleave(["llm"])

    @property
    def messages(self) -> Frames:
        """Messages of conversations."""
        return self.interleave(["messages"])

    @property
    def flow(self) -> Frames:
        """What a flow does."""
        return self.interleave(["flow"])

    @property
    def tools(self) -> Frames:
        """Tool calls."""
        return self.interleave(["tools"])

    def interleave(self, channels: Iterable[str]) -> Frames:
        """The frames of some channels, in their order.

        Raises:
            ConfigError: There is no such channel.
        """
        wanted = {channels} if isinstance(channels, str) else set(channels)
        if unknown := wanted - set(get_args(Channel)):
            raise ConfigError(
                f"there is no channel {sorted(unknown)[0]!r}; channels are {', '.join(get_args(Channel))}"
            )
        return Frames(self, lambda frame: frame.channel in wanted)


AsyncStreamSession = StreamSession
"""The same class: it can be read in both ways."""
