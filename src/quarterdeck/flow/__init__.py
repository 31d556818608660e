"""Flows: methods that call each other by events, with a state."""

from quarterdeck.flow.conditions import and_, or_
from quarterdeck.flow.decorators import listen, router, start
from quarterdeck.flow.flow import Flow
from quarterdeck.flow.output import FlowOutput
from quarterdeck.flow.state import FlowState

__all__ = ["Flow", "FlowOutput", "FlowState", "and_", "listen", "or_", "router", "start"]
