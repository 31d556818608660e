"""Flows: methods that call each other by events, with a state."""

from quarterdeck.flow.conditions import and_, or_
from quarterdeck.flow.decorators import listen, router, start
from quarterdeck.flow.flow import Flow
from quarterdeck.flow.flow_config import InputProvider, flow_config
from quarterdeck.flow.human_feedback import (
    HumanFeedbackPending,
    HumanFeedbackProvider,
    HumanFeedbackResult,
    PendingFeedbackContext,
    human_feedback,
)
from quarterdeck.flow.output import FlowOutput
from quarterdeck.flow.persistence import FlowPersistence, SQLiteFlowPersistence, persist, set_flow_persistence_factory
from quarterdeck.flow.state import FlowState

__all__ = [
    "Flow",
    "FlowOutput",
    "FlowPersistence",
    "FlowState",
    "HumanFeedbackPending",
    "HumanFeedbackProvider",
    "HumanFeedbackResult",
    "InputProvider",
    "PendingFeedbackContext",
    "SQLiteFlowPersistence",
    "and_",
    "flow_config",
    "human_feedback",
    "listen",
    "or_",
    "persist",
    "router",
    "set_flow_persistence_factory",
    "start",
]
