"""A run's events as server-sent events (WHATWG HTML, section 9.2): from the journal, on any replica; and, where the run
is under way in this process, between them what the journal does not keep."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
from sse_starlette import EventSourceResponse

from quarterdeck.events import Event
from quarterdeck.server.live import Item, Live
from quarterdeck.server.store import Store, Waiter

_LOOK_AGAIN = 5.0
"""Seconds after which the journal is read even when nobody said that there is something new."""
_GATHER = 0.03
"""Seconds in which pieces of an answer gather, to be sent as one."""
_PAGE = 100
"""Events that are read at once."""


class EventStream(EventSourceResponse):
    """An answer of server-sent events, as the OpenAPI document has it."""

    media_type = "text/event-stream"


async def event_stream(
    store: Store, live: Live, run_id: str, after: int, types: frozenset[str], stop: anyio.Event
) -> AsyncIterator[dict[str, Any]]:
    """The events after a number, then those that come, until the run has ended.

    Nothing is kept for a slow reader: the next events are read when the last ones are sent.

    Args:
        store: The runs.
        live: What the journal does not keep.
        run_id: The run.
        after: The number of the last event that the client has.
        types: Event types that it wants; empty means all.
        stop: Ends the stream before the run has ended: the server is stopped, and another one is to be asked.
    """
    pending: list[Item] = []
    look_at = 0.0
    async with store.wake.on(f"run:{run_id}") as waiter, _nudged(waiter, stop):
        with live.listen(run_id, types, waiter.nudge) as listener:
            while not stop.is_set():
                pending += listener.take()  # before the journal is read: what it came after is there then
                state = None
                if time.monotonic() >= look_at or any(item.after > after for item in pending):
                    record = await store.get(run_id)  # before the events: what it says of the end is true of them
                    events = await store.journal.events(run_id, after, _PAGE)
                    for event in events:
                        for message in _before(pending, event.seq or 0):
                            yield message
                        after = event.seq or after
                        if not types or event.type in types:
                            yield _message(event)
                    if len(events) == _PAGE:
                        continue
                    look_at = time.monotonic() + _LOOK_AGAIN
                    if record is None or record.ended:
                        state = record.state if record else "erased"
                for message in _before(pending, after + 1):
                    yield message
                if state is not None:
                    yield {"event": "end", "data": f'{{"status": "{state}"}}'}
                    return
                if await waiter(max(0.0, look_at - time.monotonic())):
                    look_at = 0.0
                else:
                    await asyncio.sleep(_GATHER)


@asynccontextmanager
async def _nudged(waiter: Waiter, stop: anyio.Event) -> AsyncGenerator[None]:
    async def nudge() -> None:
        await stop.wait()
        waiter.nudge()

    task = asyncio.create_task(nudge())
    try:
        yield
    finally:
        task.cancel()


def _before(pending: list[Item], number: int) -> list[dict[str, Any]]:
    """Takes from what is pending all that happened before the event of this number."""
    first = [item for item in pending if item.after < number]
    pending[:] = pending[len(first) :]
    return [_message(item.event) for item in first]


def _message(event: Event) -> dict[str, Any]:
    message = {"event": event.type, "data": event.to_json()}
    return message if event.seq is None else {"id": str(event.seq), **message}
