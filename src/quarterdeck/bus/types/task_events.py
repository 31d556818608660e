"""Events of tasks (CrewAI: ``crewai.events.types.task_events``)."""

from __future__ import annotations

from typing import Any

from quarterdeck.bus.base_events import BaseEvent


class TaskStartedEvent(BaseEvent):
    """A task began."""

    type: str = "task_started"
    context: str | None = None
    task: Any = None


class TaskCompletedEvent(BaseEvent):
    """A task has its output, a ``TaskOutput``."""

    type: str = "task_completed"
    output: Any = None
    task: Any = None


class TaskFailedEvent(BaseEvent):
    """A task could not be done."""

    type: str = "task_failed"
    error: str = ""
    task: Any = None


class TaskEvaluationEvent(BaseEvent):
    """A task was evaluated."""

    type: str = "task_evaluation"
    evaluation_type: str = ""
    task: Any = None
