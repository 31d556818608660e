"""A run's events as they come: server-sent events (WHATWG HTML, section 9.2), gone on with where they broke off."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, replace
from typing import Any, cast
from urllib.parse import quote

import quarterdeck.client.http as http
from quarterdeck.errors import APIError
from quarterdeck.llm.send import retry_wait

SILENT_SECONDS = 60.0
"""A stream without a byte for so long is broken: the server says every 15 s that it is there."""


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One event of a run.

    Args:
        id: Its number, from 1; None for one that is not kept: a piece of a model's answer, or the end.
        type: Its type, as ``task.finished``; ``end`` for the last one, whose data has the run's ``status``.
        data: The event; ``quarterdeck.events.event_from_dict`` makes an ``Event`` of it.
    """

    id: int | None
    type: str
    data: dict[str, Any]


async def follow(
    connection: http.Connection, path: str, after: int, types: tuple[str, ...]
) -> AsyncGenerator[StreamEvent]:
    """The events after a number, without gap or repeat: a stream that breaks is gone on with.

    Args:
        connection: Where.
        path: The endpoint.
        after: The number of the last event that is known.
        types: Those that are wanted; empty means all.

    Raises:
        APIError: The server refuses, or it stays away for all tries.
    """
    silent = replace(connection, timeout=max(connection.timeout, SILENT_SECONDS))
    tries = connection.retries
    if types:
        path += f"?types={quote(','.join(types), safe=',')}"
    failures = 0
    while True:
        error = APIError(f"{connection.base_url}: the stream of events broke off")
        try:
            async with contextlib.aclosing(_once(silent, path, after)) as stream:
                async for event in stream:
                    failures, tries = 0, connection.patient().retries
                    if event.id is not None and event.id <= after:
                        continue
                    after = event.id or after
                    yield event
                    if event.type == "end":
                        return
        except APIError as caught:
            if not caught.retryable:
                raise
            error = caught
        failures += 1
        if failures > tries:
            raise error
        await asyncio.sleep(retry_wait(failures, error.retry_after))


async def _once(connection: http.Connection, path: str, after: int) -> AsyncGenerator[StreamEvent]:
    headers = {"Accept": "text/event-stream", **({"Last-Event-ID": str(after)} if after else {})}
    async with connection.opened("GET", path, None, headers, whole=False) as response:
        if response.content_type != "text/event-stream":
            said = f"{connection.base_url} answered with {response.content_type}, not with events"
            raise APIError(said, status=response.status)
        async for fields in _blocks(response.content.iter_any()):
            yield _event(connection, fields)


async def _blocks(chunks: AsyncIterator[bytes]) -> AsyncGenerator[dict[str, str]]:
    """The fields of each event that has data; one that was begun when the stream ended does not count."""
    fields: dict[str, str] = {}
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for raw in lines:
            line = raw.rstrip(b"\r").decode(errors="replace")
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "data" and "data" in fields:
                fields["data"] += f"\n{value}"
            elif name in ("data", "event", "id"):
                fields[name] = value
            elif not line:
                if "data" in fields:
                    yield fields
                fields = {}


def _event(connection: http.Connection, fields: dict[str, str]) -> StreamEvent:
    number = fields.get("id", "")
    try:
        data: Any = json.loads(fields["data"])
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        shown = fields["data"][:100]
        raise APIError(f"{connection.base_url} sent an event that is no JSON object: {shown!r}", status=200)
    event_id = int(number) if number.isdecimal() and number.isascii() else None
    return StreamEvent(event_id, fields.get("event", "message"), cast("dict[str, Any]", data))
