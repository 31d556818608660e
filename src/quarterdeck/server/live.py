"""What the journal does not keep of the runs under way in this process, shown to whoever listens: pieces of a model's
answer, and what has been begun.

One copy for all listeners of a run; each has but its place in it. A listener that is slow gets pieces joined, and
loses the oldest of what it has not taken.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field

from quarterdeck.events import EVENT_TYPES, Event, LLMDelta, LLMFailed, LLMFinished, LLMRetried

_KEPT = 256
"""Events (and texts) of one run that wait for its slowest listener, at most."""
UNNUMBERED = frozenset(name for name, kind in EVENT_TYPES.items() if not kind.durable)


@dataclass(slots=True, eq=False)
class Item:
    """An event and its place among the numbered ones.

    Args:
        after: The number of the last event that the journal had when it happened.
        event: The event.
    """

    after: int
    event: Event


@dataclass(slots=True, eq=False)
class _Text:
    """A model's answer so far."""

    after: int
    first: LLMDelta
    pieces: list[str] = field(default_factory=list[str])
    is_open: bool = True

    def rest(self, taken: int) -> Item | None:
        """What came after so many pieces, as one event."""
        text = "".join(self.pieces[taken:])
        if not text:
            return None
        event = LLMDelta(path=self.first.path, agent=self.first.agent, text=text)
        return Item(self.after, event.stamped(self.first.run_id, None))


@dataclass(slots=True, eq=False)
class _Channel:
    """What one run has for its listeners."""

    listeners: set[Listener] = field(default_factory=lambda: set[Listener]())
    items: deque[tuple[int, Item | _Text]] = field(default_factory=lambda: deque[tuple[int, Item | _Text]]())
    open: dict[str, _Text] = field(default_factory=dict[str, _Text])
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    last: int = 0

    def put(self, item: Item | _Text) -> None:
        self.last = next(self.numbers)
        self.items.append((self.last, item))
        if len(self.items) > _KEPT:
            self.items.popleft()


class Listener:
    """One who listens to a run. Made by ``Live.listen``.

    Args:
        channel: The run's.
        types: Event types that it wants; empty means all.
        nudge: Called when there is something to take.
    """

    def __init__(self, channel: _Channel, types: frozenset[str], nudge: Callable[[], None]) -> None:
        self.wants_deltas = not types or LLMDelta.type in types
        self.nudge = nudge
        self._channel = channel
        self._types = types
        self._taken = channel.last
        self._open = dict.fromkeys(channel.open.values(), 0)  # of an answer under way, all that it has so far

    def take(self) -> list[Item]:
        """What has come since the last call, in order."""
        found: list[Item] = []
        for number, item in self._channel.items:
            if number <= self._taken:
                continue
            if isinstance(item, _Text):
                self._open[item] = 0
            elif not self._types or item.event.type in self._types:
                found.append(item)
        self._taken = self._channel.last
        if self.wants_deltas:
            found += self._texts()
        return sorted(found, key=lambda item: item.after)

    def _texts(self) -> list[Item]:
        found = [text.rest(taken) for text, taken in self._open.items()]
        self._open = {text: len(text.pieces) for text in self._open if text.is_open}
        return [item for item in found if item]


class Live:
    """The runs of this process that somebody listens to. It belongs to one event loop."""

    def __init__(self) -> None:
        self._channels: dict[str, _Channel] = {}

    def listeners(self, run_id: str) -> int:
        """How many listen to a run."""
        channel = self._channels.get(run_id)
        return len(channel.listeners) if channel else 0

    def wants_deltas(self, run_id: str) -> bool:
        """Whether somebody wants the pieces of a run's answers: only then are models asked for them."""
        channel = self._channels.get(run_id)
        return channel is not None and any(listener.wants_deltas for listener in channel.listeners)

    def show(self, event: Event, last: int) -> None:
        """Tells the listeners of an event's run.

        Args:
            event: The event.
            last: The number of the last event of the run that is in the journal, this one included.
        """
        channel = self._channels.get(event.run_id)
        if channel is None:
            return
        if isinstance(event, LLMFinished | LLMFailed | LLMRetried):
            text = channel.open.pop(event.path, None)
            if text is not None:
                text.is_open = False
                if not isinstance(event, LLMFinished):
                    text.pieces.clear()  # after a retry the answer begins again
        if event.seq is not None:  # whoever waits for the journal hears of it there
            return
        if isinstance(event, LLMDelta):
            self._add(channel, event, last)
        else:
            channel.put(Item(last, event))
        for listener in channel.listeners:
            listener.nudge()

    def stop(self, run_id: str) -> None:
        """A run is not under way here any more: answers that were not finished do not go on."""
        channel = self._channels.get(run_id)
        if channel is not None:
            for text in channel.open.values():
                text.is_open = False
            channel.open.clear()

    def _add(self, channel: _Channel, event: LLMDelta, last: int) -> None:
        text = channel.open.get(event.path)
        if text is None:
            text = channel.open[event.path] = _Text(last, event)
            channel.put(text)
        text.pieces.append(event.text)
        text.after = last

    @contextlib.contextmanager
    def listen(self, run_id: str, types: frozenset[str], nudge: Callable[[], None]) -> Generator[Listener]:
        """Listens to a run, from now on, for as long as the ``with`` block.

        Args:
            run_id: The run; it need not be under way, nor be of this process.
            types: Event types that are wanted; empty means all.
            nudge: Called when there is something to take.
        """
        channel = self._channels.get(run_id) or self._channels.setdefault(run_id, _Channel())
        listener = Listener(channel, types, nudge)
        channel.listeners.add(listener)
        try:
            yield listener
        finally:
            channel.listeners.discard(listener)
            if not channel.listeners:
                del self._channels[run_id]
