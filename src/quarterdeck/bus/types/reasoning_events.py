"""Events of agents' plans (CrewAI: ``crewai.events.types.reasoning_events``)."""

from __future__ import annotations

from quarterdeck.bus.base_events import BaseEvent


class ReasoningEvent(BaseEvent):
    """What the events of a plan have."""

    attempt: int = 1


class AgentReasoningStartedEvent(ReasoningEvent):
    """An agent began to plan."""

    type: str = "agent_reasoning_started"


class AgentReasoningCompletedEvent(ReasoningEvent):
    """An agent has a plan."""

    type: str = "agent_reasoning_completed"
    plan: str = ""
    ready: bool = True


class AgentReasoningFailedEvent(ReasoningEvent):
    """An agent could not plan."""

    type: str = "agent_reasoning_failed"
    error: str = ""
