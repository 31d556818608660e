"""Events of tools (CrewAI: ``crewai.events.types.tool_usage_events``)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from quarterdeck.bus.base_events import BaseEvent, now


class ToolUsageEvent(BaseEvent):
    """What the events of a tool call have."""

    tool_name: str = ""
    tool_args: dict[str, Any] | str = ""
    tool_class: Any = None
    run_attempts: int = 0
    delegations: int | None = None
    agent: Any = None


class ToolUsageStartedEvent(ToolUsageEvent):
    """A tool is about to be called."""

    type: str = "tool_usage_started"


class ToolUsageFinishedEvent(ToolUsageEvent):
    """A tool was called; ``failure`` is set where it says that it did not do its work."""

    type: str = "tool_usage_finished"
    started_at: datetime = Field(default_factory=now)
    finished_at: datetime = Field(default_factory=now)
    from_cache: bool = False
    output: Any = None
    failure: Any = None


class ToolUsageErrorEvent(ToolUsageEvent):
    """A call of a tool failed."""

    type: str = "tool_usage_error"
    error: Any = None


class ToolFailureDetectedEvent(ToolUsageEvent):
    """A call of a tool failed; ``failure`` is a ``ToolFailure``."""

    type: str = "tool_failure_detected"
    failure: Any = None
    policy: str = "warn"


class ToolValidateInputErrorEvent(ToolUsageEvent):
    """The arguments of a call do not fit the tool."""

    type: str = "tool_validate_input_error"
    error: Any = None


class ToolSelectionErrorEvent(ToolUsageEvent):
    """The model called a tool that is not there."""

    type: str = "tool_selection_error"
    error: Any = None


class ToolExecutionErrorEvent(ToolUsageEvent):
    """A tool has raised an error."""

    type: str = "tool_execution_error"
    error: Any = None
