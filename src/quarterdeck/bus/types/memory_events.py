"""Events of memories (CrewAI: ``crewai.events.types.memory_events``)."""

from __future__ import annotations

from typing import Any

from quarterdeck.bus.base_events import BaseEvent


class MemoryBaseEvent(BaseEvent):
    """What the events of a memory have."""


class MemoryQueryStartedEvent(MemoryBaseEvent):
    """A query of a memory began."""

    type: str = "memory_query_started"
    query: str = ""
    limit: int = 0
    score_threshold: float | None = None


class MemoryQueryCompletedEvent(MemoryBaseEvent):
    """A query of a memory is complete."""

    type: str = "memory_query_completed"
    query: str = ""
    limit: int = 0
    score_threshold: float | None = None
    results: Any = None
    query_time_ms: float = 0.0


class MemoryQueryFailedEvent(MemoryBaseEvent):
    """A query of a memory failed."""

    type: str = "memory_query_failed"
    query: str = ""
    limit: int = 0
    score_threshold: float | None = None
    error: str = ""


class MemorySaveStartedEvent(MemoryBaseEvent):
    """Saving into a memory began."""

    type: str = "memory_save_started"
    value: str | None = None
    metadata: dict[str, Any] | None = None


class MemorySaveCompletedEvent(MemoryBaseEvent):
    """Saving into a memory is complete."""

    type: str = "memory_save_completed"
    value: str | None = None
    metadata: dict[str, Any] | None = None
    save_time_ms: float = 0.0


class MemorySaveFailedEvent(MemoryBaseEvent):
    """Saving into a memory failed."""

    type: str = "memory_save_failed"
    value: str | None = None
    metadata: dict[str, Any] | None = None
    error: str = ""


class MemoryRetrievalStartedEvent(MemoryBaseEvent):
    """Looking up what a task should know began."""

    type: str = "memory_retrieval_started"


class MemoryRetrievalCompletedEvent(MemoryBaseEvent):
    """Looking up what a task should know is complete."""

    type: str = "memory_retrieval_completed"
    memory_content: str = ""
    retrieval_time_ms: float = 0.0


class MemoryRetrievalFailedEvent(MemoryBaseEvent):
    """Looking up what a task should know failed."""

    type: str = "memory_retrieval_failed"
    error: str = ""
