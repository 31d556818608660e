"""What every event of the bus has (CrewAI: ``crewai.events.base_events``)."""

from __future__ import annotations

import datetime
import uuid
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


def now() -> datetime.datetime:
    """The time, with its zone."""
    return datetime.datetime.now(datetime.UTC)


class BaseEvent(BaseModel):
    """An event of the bus; subclass it for your own (CrewAI: ``BaseEvent``).

    Args:
        type: What happened.
        timestamp: When.
        run_id: The run that it happened in; "" outside of one.
        path: The step, such as ``research/1/llm/2``; "" for the run itself.
        task_id: The Task object's id.
        task_name: The task's name in the run.
        agent_id: The Agent object's id.
        agent_role: The agent's role.
        event_id: Its id: of a step that began, the same as ``started_event_id`` of its end.
        parent_event_id: The id of the event with which began what this one is part of.
        started_event_id: Of an end: the id of its beginning.
        previous_event_id: Taken for compatibility.
        triggered_by_event_id: Taken for compatibility.
        emission_sequence: Its place among all events of the bus, from 1.
        source_fingerprint: Taken for compatibility.
        source_type: ``crew``, ``flow``, ``task`` or ``agent``.
        fingerprint_metadata: Taken for compatibility.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="allow", protected_namespaces=())

    type: str = "event"
    timestamp: datetime.datetime = Field(default_factory=now)
    run_id: str = ""
    path: str = ""
    task_id: str | None = None
    task_name: str | None = None
    agent_id: str | None = None
    agent_role: str | None = None
    event_id: str = Field(default_factory=lambda: str(uuid.uuid4()))
    parent_event_id: str | None = None
    started_event_id: str | None = None
    previous_event_id: str | None = None
    triggered_by_event_id: str | None = None
    emission_sequence: int | None = None
    source_fingerprint: str | None = None
    source_type: str | None = None
    fingerprint_metadata: dict[str, Any] | None = None
