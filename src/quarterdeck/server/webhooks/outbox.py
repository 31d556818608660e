"""What each event of a run causes to be sent: kept with the event, in one transaction."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, NamedTuple

from quarterdeck.events import Event, HumanRequested, LLMFinished, RunFinished, TaskFinished, ToolFinished, json_of
from quarterdeck.runtime.journal.database import Database
from quarterdeck.server import amp
from quarterdeck.server.store import Authentication, Hooks, Outbox, RunRecord, Store, state_of
from quarterdeck.server.webhooks import sql

GATHER_SECONDS = 1.0
"""Events that come within this time are sent together, where a stream is not ``realtime``."""

TOPIC = "webhooks"
"""The wake-ups' topic of what is to be sent."""

_NONE = Hooks()


class _Message(NamedTuple):
    type: str
    url: str
    data: dict[str, Any]
    access: Authentication | None = None
    secret: str = ""


def outbox_for(store: Store) -> Outbox:
    """What keeps the messages that an event causes, for ``store.outbox``: in every process that has the store.

    Args:
        store: The store, whose wake-ups tell a deliverer.
    """

    def outbox(run: RunRecord, event: Event, database: Database) -> None:
        if run.hooks == _NONE or not _keep(run, event, database):
            return
        if database.notify:
            database.execute(database.notify, (TOPIC,))
        else:  # sooner than the commit; but whoever is woken looks through the same writer, and so after it
            store.wake.fire((TOPIC,))

    return outbox


def _keep(run: RunRecord, event: Event, database: Database) -> int:
    """Keeps the messages of an event; gives how many."""
    messages = [*_hooks(run, event, database), *_streams(run, event)]
    for part, message in enumerate(messages):
        kept = sql.Kept(
            id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"{run.id}/{event.seq}/{part}")),
            run_id=run.id,
            tenant=run.tenant,
            url=message.url,
            seq=event.seq or 0,
            part=part,
            type=message.type,
            body=json_of(message.data),
            access=_access(message),
        )
        sql.keep(database, kept, GATHER_SECONDS if message.type == sql.GATHERED else 0.0)
    return len(messages)


def _hooks(run: RunRecord, event: Event, database: Database) -> Iterator[_Message]:
    """The webhooks that AMP has for steps, tasks, questions and the end."""
    hooks = run.hooks
    if hooks.step_url and isinstance(event, LLMFinished | ToolFinished) and amp.is_step(event):
        yield _message(run, event, "step", hooks.step_url, amp.step(event))
    if hooks.task_url and isinstance(event, TaskFinished):
        yield _message(run, event, "task", hooks.task_url, amp.task(event))
    if hooks.human_input and isinstance(event, HumanRequested | RunFinished) and amp.asks(event):
        message = _message(run, event, "human_input", hooks.human_input.url, amp.human_input(event))
        yield message._replace(access=hooks.human_input.authentication)
    if hooks.crew_url and isinstance(event, RunFinished):
        data = amp.crew(event, state_of(event), sql.last_task(database, run.id))
        yield _message(run, event, "crew", hooks.crew_url, data)


def _message(run: RunRecord, event: Event, kind: str, url: str, data: dict[str, Any]) -> _Message:
    ours = {
        "kickoff_id": run.id,
        "meta": run.meta,
        "type": kind,
        "seq": event.seq,
        "timestamp": _iso(event.time),
    }
    return _Message(kind, url, data | ours)


def _streams(run: RunRecord, event: Event) -> Iterator[_Message]:
    """The event itself, for those who want it; by our name or by AMP's."""
    name = amp.event_name(event)
    for hook in run.hooks.streams:
        if hook.events and not {event.type, name} & set(hook.events):
            continue
        yield _Message(
            "event" if hook.realtime else sql.GATHERED,
            hook.url,
            _event(run, event, name),
            hook.authentication,
            hook.secret,
        )


def _event(run: RunRecord, event: Event, name: str) -> dict[str, Any]:
    data = event.to_dict()
    del data["run_id"], data["seq"], data["time"]
    return {
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{run.id}/{event.seq}")),
        "execution_id": run.id,
        "timestamp": _iso(event.time),
        "type": name,
        "data": data,
        "kickoff_id": run.id,
        "meta": run.meta,
        "seq": event.seq,
    }


def _iso(seconds: float) -> str:
    """AMP's form of a time: ISO 8601 in UTC, with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _access(message: _Message) -> str:
    """How the receiver is called and what signs: kept with the message, as a resume may replace the run's webhooks."""
    access = asdict(message.access) if message.access else {}
    if message.secret:
        access["secret"] = message.secret
    return json.dumps(access)
