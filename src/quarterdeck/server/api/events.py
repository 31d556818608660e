"""A run's events as server-sent events (WHATWG HTML, section 9.2): from the journal, on any replica."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from quarterdeck.server.store import Store

_LOOK_AGAIN = 5.0
"""Seconds after which the journal is read even when nobody said that there is something new."""


async def event_stream(
    store: Store, run_id: str, after: int, types: frozenset[str], gone: Callable[[], Awaitable[bool]]
) -> AsyncIterator[dict[str, Any]]:
    """The events after a number, then those that come, until the run has ended.

    Nothing is kept for a slow reader: the next events are read when the last ones are sent.

    Args:
        store: The runs.
        run_id: The run.
        after: The number of the last event that the client has.
        types: Event types that it wants; empty means all.
        gone: Whether the client has gone.
    """
    async with store.wake.on(f"run:{run_id}") as woken:
        while not await gone():
            record = await store.get(run_id)  # before the events: what it says of the end is then true of them
            events = await store.journal.events(run_id, after)
            for event in events:
                after = event.seq or after
                if not types or event.type in types:
                    yield {"id": str(after), "event": event.type, "data": event.to_json()}
            if record is None or (record.ended and not events):
                yield {"event": "end", "data": f'{{"status": "{record.state if record else "erased"}"}}'}
                return
            if not events:
                await woken(_LOOK_AGAIN)
