"""Agents: who does the work."""

from quarterdeck.agent.agent import Agent
from quarterdeck.agent.output import LiteAgentOutput
from quarterdeck.agent.planning import PlanningConfig
from quarterdeck.agent.steps import AgentAction, AgentFinish

__all__ = ["Agent", "AgentAction", "AgentFinish", "LiteAgentOutput", "PlanningConfig"]
