"""Events of crews (CrewAI: ``crewai.events.types.crew_events``)."""

from __future__ import annotations

from typing import Any

from quarterdeck.bus.base_events import BaseEvent


class CrewBaseEvent(BaseEvent):
    """What the events of a crew have."""

    crew_name: str | None = None
    crew: Any = None


class CrewKickoffStartedEvent(CrewBaseEvent):
    """A run of a crew began, or went on."""

    type: str = "crew_kickoff_started"
    inputs: dict[str, Any] | None = None


class CrewKickoffCompletedEvent(CrewBaseEvent):
    """A run of a crew is complete; ``output`` is its ``CrewOutput``, without the outputs of the tasks."""

    type: str = "crew_kickoff_completed"
    output: Any = None
    total_tokens: int = 0


class CrewKickoffFailedEvent(CrewBaseEvent):
    """A run of a crew ended before it was complete."""

    type: str = "crew_kickoff_failed"
    error: str = ""


class CrewTrainStartedEvent(CrewBaseEvent):
    """A training began."""

    type: str = "crew_train_started"
    n_iterations: int = 0
    filename: str = ""
    inputs: dict[str, Any] | None = None


class CrewTrainCompletedEvent(CrewBaseEvent):
    """A training is complete."""

    type: str = "crew_train_completed"
    n_iterations: int = 0
    filename: str = ""


class CrewTrainFailedEvent(CrewBaseEvent):
    """A training failed."""

    type: str = "crew_train_failed"
    error: str = ""


class CrewTestStartedEvent(CrewBaseEvent):
    """A test of a crew began."""

    type: str = "crew_test_started"
    n_iterations: int = 0
    eval_llm: Any = None
    inputs: dict[str, Any] | None = None


class CrewTestCompletedEvent(CrewBaseEvent):
    """A test of a crew is complete."""

    type: str = "crew_test_completed"


class CrewTestFailedEvent(CrewBaseEvent):
    """A test of a crew failed."""

    type: str = "crew_test_failed"
    error: str = ""


class CrewTestResultEvent(CrewBaseEvent):
    """One run of a test was scored."""

    type: str = "crew_test_result"
    quality: float = 0.0
    execution_duration: float = 0.0
    model: str = ""
