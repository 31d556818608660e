"""Quarterdeck: teams of LLM agents that lose no finished step.

Names are loaded when they are first asked for (PEP 562), so that ``import quarterdeck`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quarterdeck.agent import Agent, LiteAgentOutput, PlanningConfig
    from quarterdeck.budget import Budget
    from quarterdeck.crew import Crew, CrewOutput, Process
    from quarterdeck.errors import QuarterdeckError
    from quarterdeck.events import subscribe
    from quarterdeck.flow import Flow
    from quarterdeck.llm import LLM, BaseLLM, UsageMetrics
    from quarterdeck.task import ConditionalTask, HallucinationGuardrail, LLMGuardrail, Task, TaskOutput

__version__ = "0.1.0"

_HOMES = {
    "Agent": "agent",
    "BaseLLM": "llm",
    "Budget": "budget",
    "ConditionalTask": "task",
    "Crew": "crew",
    "CrewOutput": "crew",
    "Flow": "flow",
    "HallucinationGuardrail": "task",
    "LLM": "llm",
    "LLMGuardrail": "task",
    "LiteAgentOutput": "agent",
    "PlanningConfig": "agent",
    "Process": "crew",
    "QuarterdeckError": "errors",
    "Task": "task",
    "TaskOutput": "task",
    "UsageMetrics": "llm",
    "subscribe": "events",
}

__all__ = [
    "LLM",
    "Agent",
    "BaseLLM",
    "Budget",
    "ConditionalTask",
    "Crew",
    "CrewOutput",
    "Flow",
    "HallucinationGuardrail",
    "LLMGuardrail",
    "LiteAgentOutput",
    "PlanningConfig",
    "Process",
    "QuarterdeckError",
    "Task",
    "TaskOutput",
    "UsageMetrics",
    "subscribe",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'quarterdeck' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"quarterdeck.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
