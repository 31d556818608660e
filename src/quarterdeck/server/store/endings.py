"""How a run ends: by a worker, as the journal's last event says; or without one, and then both are written at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from quarterdeck.events import Event, LLMFinished, RunFinished, RunKind, RunStarted, RunStatus
from quarterdeck.llm.types import UsageMetrics
from quarterdeck.runtime.journal import tables
from quarterdeck.runtime.journal.database import Database
from quarterdeck.runtime.journal.payloads import Packer, unpack
from quarterdeck.server.store import sql
from quarterdeck.server.store.records import WAITING, RunRecord, State

Outbox = Callable[[RunRecord, Event, Database], None]
"""Called with a run and an event of it in the transaction that writes the event: what is to be sent is kept there."""


def state_of(event: RunFinished) -> State:
    """The state of a run whose last event this is. A run that a limit ended has its partial output: it is completed,
    with ``ended_by``; but for a limit of time."""
    match event.status:
        case "completed":
            return "completed"
        case "limited":
            return "timeout" if event.ended_by == "max_seconds" else "completed"
        case "cancelled" | "in_doubt" | "pending_human_input":
            return event.status
        case "failed":
            return "error"


def end_of(events: list[Event]) -> RunFinished | None:
    """The run's end, if nothing came after it."""
    last = events[-1] if events else None
    return last if isinstance(last, RunFinished) else None


def end_without_worker(
    database: Database,
    run: RunRecord,
    status: Literal["failed", "cancelled"],
    reason: str,
    ended_by: str,
    outbox: Outbox | None,
) -> None:
    """Ends a run that no worker has. A worker that still thinks it has it can write nothing more.

    Where the run had ended, and only its worker could not say so any more, it ends as it did.
    """
    ownership = tables.take_over(database, run.id)
    rows, payloads = tables.read_within(database, run.id, 0)
    events = unpack(run.id, rows, payloads)
    earlier = end_of(events)
    if earlier is not None and state_of(earlier) not in WAITING:
        sql.end(database, run.id, state_of(earlier), earlier.error, earlier.ended_by)
        return
    event = _finished(run.id, events, status, reason, ended_by)
    packed = Packer(events, payloads).pack(event)
    written = [(run.id, name, content) for name, content in packed.payloads.items()]
    tables.insert(database, [(run.id, ownership.epoch, packed.row)], written)
    tables.set_status(database, [(status, event.time, run.id)])
    sql.end(database, run.id, state_of(event), reason, ended_by)
    if outbox is not None:
        outbox(run, event, database)


def end_if_due(database: Database, run_ids: Sequence[str], max_deaths: int, reason: str, outbox: Outbox | None) -> None:
    """Ends those of the runs, which no worker has, that were to be cancelled, and those that no worker survives.

    Args:
        database: The connection.
        run_ids: The runs.
        max_deaths: So many workers may die with a run.
        reason: Why the last one did.
        outbox: Keeps what is to be sent.
    """
    for run in sql.records(database, run_ids) if run_ids else ():
        if run.cancel_requested:
            end_without_worker(database, run, "cancelled", "cancelled on request", "cancel", outbox)
        elif run.deaths >= max_deaths:
            why = (
                f"{run.deaths} workers failed while they ran it, and it is not tried again (last: {reason}). "
                "Look for what they have in common (memory, a crash in a tool, a result that cannot be kept)"
            )
            end_without_worker(database, run, "failed", why, "deaths", outbox)


def _finished(run_id: str, events: list[Event], status: RunStatus, reason: str, ended_by: str) -> RunFinished:
    usage, cost, output = UsageMetrics(), 0.0, ""
    known = True
    kinds: list[RunKind] = [event.kind for event in events if isinstance(event, RunStarted)]
    for event in events:
        if isinstance(event, LLMFinished):
            usage.add_usage_metrics(UsageMetrics(**event.usage))
            known = known and event.cost_usd is not None
            cost += event.cost_usd or 0.0
            output = event.text or output
    return RunFinished(
        status=status,
        output=output,
        error=reason,
        ended_by=ended_by,
        usage=usage.model_dump(),
        cost_usd=cost if known else None,
        seconds=round(_seconds(events), 6),
        kind=kinds[0] if kinds else "crew",
    ).stamped(run_id, (events[-1].seq or 0) + 1 if events else 1)


def _seconds(events: list[Event]) -> float:
    """Time that the run was under way: from each start to the last event before the next."""
    total, began = 0.0, None
    for event in events:
        if began is not None and not isinstance(event, RunStarted):
            total += max(0.0, event.time - began)
        began = event.time
    return total
