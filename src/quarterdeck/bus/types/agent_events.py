"""Events of agents (CrewAI: ``crewai.events.types.agent_events``)."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from quarterdeck.bus.base_events import BaseEvent


class AgentExecutionStartedEvent(BaseEvent):
    """An agent began to work on a task."""

    type: str = "agent_execution_started"
    agent: Any = None
    task: Any = None
    tools: list[Any] | None = None
    task_prompt: str = ""


class AgentExecutionCompletedEvent(BaseEvent):
    """An agent has an answer."""

    type: str = "agent_execution_completed"
    agent: Any = None
    task: Any = None
    output: str = ""


class AgentExecutionErrorEvent(BaseEvent):
    """An agent has failed."""

    type: str = "agent_execution_error"
    agent: Any = None
    task: Any = None
    error: str = ""


class LiteAgentExecutionStartedEvent(BaseEvent):
    """An agent on its own began."""

    type: str = "lite_agent_execution_started"
    agent_info: dict[str, Any] = Field(default_factory=dict[str, Any])
    tools: list[Any] | None = None
    messages: Any = None


class LiteAgentExecutionCompletedEvent(BaseEvent):
    """An agent on its own has an answer."""

    type: str = "lite_agent_execution_completed"
    agent_info: dict[str, Any] = Field(default_factory=dict[str, Any])
    output: str = ""


class LiteAgentExecutionErrorEvent(BaseEvent):
    """An agent on its own has failed."""

    type: str = "lite_agent_execution_error"
    agent_info: dict[str, Any] = Field(default_factory=dict[str, Any])
    error: str = ""


class AgentEvaluationStartedEvent(BaseEvent):
    """An evaluation of an agent began."""

    type: str = "agent_evaluation_started"
    iteration: int = 0


class AgentEvaluationCompletedEvent(BaseEvent):
    """An evaluation of an agent is complete."""

    type: str = "agent_evaluation_completed"
    iteration: int = 0
    metric_category: Any = None
    score: Any = None


class AgentEvaluationFailedEvent(BaseEvent):
    """An evaluation of an agent failed."""

    type: str = "agent_evaluation_failed"
    iteration: int = 0
    error: str = ""
