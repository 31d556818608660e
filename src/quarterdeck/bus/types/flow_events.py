"""Events of flows (CrewAI: ``crewai.events.types.flow_events``)."""

from __future__ import annotations

from typing import Any

from quarterdeck.bus.base_events import BaseEvent


class FlowEvent(BaseEvent):
    """What the events of a flow have."""

    flow_name: str = ""


class FlowCreatedEvent(FlowEvent):
    """A flow was made."""

    type: str = "flow_created"


class FlowStartedEvent(FlowEvent):
    """A run of a flow began, or went on."""

    type: str = "flow_started"
    inputs: dict[str, Any] | None = None


class FlowFinishedEvent(FlowEvent):
    """A run of a flow is complete."""

    type: str = "flow_finished"
    result: Any = None
    state: Any = None


class FlowFailedEvent(FlowEvent):
    """A run of a flow ended before it was complete."""

    type: str = "flow_failed"
    error: str = ""


class FlowPausedEvent(FlowEvent):
    """A run of a flow waits for a person."""

    type: str = "flow_paused"
    flow_id: str = ""
    method_name: str = ""
    state: Any = None
    message: str = ""
    emit: list[str] | None = None


class FlowPlotEvent(FlowEvent):
    """A flow was drawn."""

    type: str = "flow_plot"


class MethodExecutionStartedEvent(FlowEvent):
    """A method is called."""

    type: str = "method_execution_started"
    method_name: str = ""
    state: Any = None
    params: dict[str, Any] | None = None


class MethodExecutionFinishedEvent(FlowEvent):
    """A method has returned."""

    type: str = "method_execution_finished"
    method_name: str = ""
    result: Any = None
    state: Any = None


class MethodExecutionFailedEvent(FlowEvent):
    """A method has raised an error; ``error`` is its text."""

    type: str = "method_execution_failed"
    method_name: str = ""
    error: Any = None


class MethodExecutionPausedEvent(FlowEvent):
    """A method waits for a person."""

    type: str = "method_execution_paused"
    method_name: str = ""
    state: Any = None
    flow_id: str = ""
    message: str = ""
    emit: list[str] | None = None


class HumanFeedbackRequestedEvent(FlowEvent):
    """A person is asked."""

    type: str = "human_feedback_requested"
    method_name: str = ""
    output: Any = None
    message: str = ""
    emit: list[str] | None = None
    request_id: str | None = None


class HumanFeedbackReceivedEvent(FlowEvent):
    """A person has answered."""

    type: str = "human_feedback_received"
    method_name: str = ""
    feedback: str = ""
    outcome: str | None = None


class FlowInputRequestedEvent(FlowEvent):
    """``flow.ask`` asks a person."""

    type: str = "flow_input_requested"
    method_name: str = ""
    message: str = ""
    metadata: dict[str, Any] | None = None


class FlowInputReceivedEvent(FlowEvent):
    """``flow.ask`` has its answer."""

    type: str = "flow_input_received"
    method_name: str = ""
    message: str = ""
    response: str | None = None
    metadata: dict[str, Any] | None = None
    response_metadata: dict[str, Any] | None = None


class ConversationMessageAddedEvent(FlowEvent):
    """A conversation has one more message."""

    type: str = "conversation_message_added"
    session_id: str = ""
    role: str = ""
    content: str = ""


class ConversationTurnStartedEvent(FlowEvent):
    """A turn of a conversation began."""

    type: str = "conversation_turn_started"
    session_id: str = ""


class ConversationTurnCompletedEvent(FlowEvent):
    """A turn of a conversation is complete."""

    type: str = "conversation_turn_completed"
    session_id: str = ""


class ConversationTurnFailedEvent(FlowEvent):
    """A turn of a conversation failed."""

    type: str = "conversation_turn_failed"
    session_id: str = ""
    error: str = ""


class ConversationRouteSelectedEvent(FlowEvent):
    """A turn of a conversation took a route."""

    type: str = "conversation_route_selected"
    session_id: str = ""
    route: str = ""
