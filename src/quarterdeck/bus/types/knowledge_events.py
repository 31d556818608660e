"""Events of knowledge (CrewAI: ``crewai.events.types.knowledge_events``)."""

from __future__ import annotations

from quarterdeck.bus.base_events import BaseEvent


class KnowledgeEventBase(BaseEvent):
    """What the events of knowledge have."""


class KnowledgeRetrievalStartedEvent(KnowledgeEventBase):
    """Looking up knowledge began."""

    type: str = "knowledge_search_query_started"


class KnowledgeRetrievalCompletedEvent(KnowledgeEventBase):
    """Knowledge was looked up."""

    type: str = "knowledge_search_query_completed"
    query: str = ""
    retrieved_knowledge: str = ""


class KnowledgeQueryStartedEvent(KnowledgeEventBase):
    """A query is being made of a task."""

    type: str = "knowledge_query_started"
    task_prompt: str = ""


class KnowledgeQueryCompletedEvent(KnowledgeEventBase):
    """A query was made."""

    type: str = "knowledge_query_completed"
    query: str = ""


class KnowledgeQueryFailedEvent(KnowledgeEventBase):
    """A query could not be made."""

    type: str = "knowledge_query_failed"
    error: str = ""


class KnowledgeSearchQueryFailedEvent(KnowledgeEventBase):
    """Looking up knowledge failed."""

    type: str = "knowledge_search_query_failed"
    query: str = ""
    error: str = ""
