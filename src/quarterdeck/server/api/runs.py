"""One run: its status, its events, cancelling it; and the list of runs."""

from __future__ import annotations

import hashlib
import time
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, Header, Query
from fastapi.responses import Response

from quarterdeck.events import EVENT_TYPES, json_of
from quarterdeck.flow import Flow
from quarterdeck.server.api.context import DialectOf, EntryOf, RunOf, Services, ServicesOf, Who
from quarterdeck.server.api.document import answer
from quarterdeck.server.api.events import EventStream, event_stream
from quarterdeck.server.api.models import KickoffsPage, ServerSentEvent, StatusBody
from quarterdeck.server.api.pages import before, cursor_after
from quarterdeck.server.api.problems import Problem, not_found
from quarterdeck.server.api.status import status_body
from quarterdeck.server.store import RunRecord, State

router = APIRouter()

_POLL_SECONDS = 2
_YOUNG = 10.0
"""A run that was asked for less than so many seconds ago may end soon: it can be asked for each second."""
_STOP_SECONDS = 2.0
"""So long may a stream take to end when the server is stopped."""
_LATE_SECONDS = 5.0
"""A heartbeat comes every 2 s: one that is so old is told to those who poll with an ``ETag``, too."""
_STATUS: dict[int | str, dict[str, Any]] = {
    **answer(StatusBody, 200, "The run"),
    304: {"description": "Nothing has changed since the ``ETag`` that ``If-None-Match`` names"},
}


async def _status(record: RunRecord, services: Services, dialect: Any) -> dict[str, Any]:
    events = await services.store.journal.events(record.id)
    questions = [q for q in await services.store.questions(record.id) if q.answered is None]
    found = services.registry.get(record.crew, record.version)
    runnable = found.runnable if found else None
    current = runnable.under_way(events) if isinstance(runnable, Flow) else None
    return status_body(record, events, questions, runnable.steps if runnable else (), current, dialect)


@router.get("/{kickoff_id}/status", responses=_STATUS, summary="The status of a run")
@router.get("/status/{kickoff_id}", responses=_STATUS, summary="The status of a run (AMP's other path)")
async def status(
    record: RunOf,
    services: ServicesOf,
    dialect: DialectOf,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """State, progress and, at the end, the result. ``ETag`` and ``Retry-After`` help a client that polls."""
    body = await _status(record, services, dialect)
    etag = _etag(body)
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if not record.ended:
        headers["Retry-After"] = str(1 if time.time() - record.created < _YOUNG else _POLL_SECONDS)
    if if_none_match is not None and etag in (tag.strip() for tag in if_none_match.split(",")):
        return Response(status_code=304, headers=headers)
    return _json(body, headers)


def _json(body: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    return Response(json_of(body), headers=headers, media_type="application/json")


def _etag(body: dict[str, Any]) -> str:
    """Changes with every fact of the answer. A heartbeat's age is one when it is unusual; else it only passes."""
    lease: dict[str, Any] = body.get("lease") or {}
    late = int((lease.get("heartbeat_age") or 0.0) / _LATE_SECONDS)
    text = json_of({**body, "lease": {**lease, "heartbeat_age": late}})
    return f'W/"{hashlib.blake2b(text.encode(), digest_size=12).hexdigest()}"'


@router.post("/{kickoff_id}/cancel", responses=answer(StatusBody, 200, "The run now"), summary="Cancels a run")
@router.post("/stop/{kickoff_id}", responses=answer(StatusBody, 200, "The run now"), summary="Cancels a run, too")
async def cancel(record: RunOf, services: ServicesOf, dialect: DialectOf) -> Response:
    """Interrupts the call under way and keeps what is finished. Cancelling twice, or an ended run, changes nothing."""
    changed = await services.store.request_cancel(record.id)
    if changed is None:
        raise not_found(record.id)
    return _json(await _status(changed, services, dialect))


@router.get(
    "/{kickoff_id}/events",
    response_class=EventStream,
    responses=answer(ServerSentEvent, 200, "The events"),
    summary="The events of a run (server-sent events)",
)
async def events(
    record: RunOf,
    services: ServicesOf,
    types: Annotated[str, Query(description="Comma-separated event types; empty means all")] = "",
    last_event_id: Annotated[str | None, Header()] = None,
) -> Response:
    """Every event from the first on (or after ``Last-Event-ID``), then live until the run ends.

    Where the run is under way in the server that is asked, there are also events without a number (``id``), once and
    live only: ``llm.delta`` with a piece of a model's answer, and what has been begun.
    """
    after = last_event_id or "0"
    if not after.isdecimal() or len(after) > 15:
        raise Problem(400, f"Last-Event-ID must be the number of an event, got {after[:40]!r}")
    wanted = frozenset(part.strip() for part in types.split(",") if part.strip())
    if unknown := wanted - EVENT_TYPES.keys():
        raise Problem(400, f"types: {min(unknown)[:60]!r} is no event type; there are: {', '.join(EVENT_TYPES)}")
    stop = anyio.Event()
    stream = event_stream(services.store, services.live, record.id, int(after), wanted, stop)
    return EventStream(
        stream,
        ping=15,
        headers={"X-Accel-Buffering": "no"},
        shutdown_event=stop,
        shutdown_grace_period=_STOP_SECONDS,
    )


@router.get("/kickoffs", response_model=KickoffsPage, summary="The runs of a crew, newest first")
async def kickoffs(
    entry: EntryOf,
    who: Who,
    services: ServicesOf,
    status: Annotated[State | None, Query()] = None,
    requestId: Annotated[str | None, Query(max_length=200)] = None,
    userId: Annotated[str | None, Query(max_length=200, description="``meta.userId`` of the kickoff")] = None,
    since: Annotated[float | None, Query(allow_inf_nan=False, description="Seconds since 1970: then or later")] = None,
    until: Annotated[float | None, Query(allow_inf_nan=False, description="Seconds since 1970: before")] = None,
    cursor: Annotated[str | None, Query(max_length=100, description="The last page's ``next``")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> dict[str, Any]:
    """A page of runs; ``next`` is the ``cursor`` of the next page, None on the last one."""
    for name, value in (("requestId", requestId), ("userId", userId)):
        if value is not None and not value.isprintable():
            raise Problem(400, f"{name} must be printable, got {value[:60]!r}")
    records = await services.store.list_runs(
        who.tenant,
        crew=entry.name,
        state=status,
        request_id=requestId,
        user_id=userId,
        since=since,
        until=until,
        before=before(cursor),
        limit=limit,
    )
    return {"kickoffs": [_summary(record) for record in records], "next": cursor_after(records, limit)}


def _summary(record: RunRecord) -> dict[str, Any]:
    return {
        "kickoff_id": record.id,
        "status": record.state,
        "version": record.version,
        "created": record.created,
        "started": record.started,
        "ended": record.ended_at,
        "meta": record.meta,
    }
