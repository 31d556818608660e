"""Events for logs (CrewAI: ``crewai.events.types.logging_events``)."""

from __future__ import annotations

from typing import Any

from quarterdeck.bus.base_events import BaseEvent


class AgentLogsStartedEvent(BaseEvent):
    """An agent began to work."""

    type: str = "agent_logs_started"
    task_description: str | None = None
    verbose: bool = False


class AgentLogsExecutionEvent(BaseEvent):
    """An agent has used a tool or has an answer."""

    type: str = "agent_logs_execution"
    formatted_answer: Any = None
    verbose: bool = False
