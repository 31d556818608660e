"""What a ``step_callback`` is given (CrewAI: ``AgentAction``, ``AgentFinish``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class AgentAction:
    """The agent called a tool.

    Args:
        thought: What the model said besides.
        tool: The tool's name.
        tool_input: Its arguments.
        text: What the model said besides.
        result: What the model was told.
    """

    thought: str
    tool: str
    tool_input: dict[str, Any]
    text: str
    result: str


@dataclass(frozen=True, slots=True)
class AgentFinish:
    """The agent has an answer.

    Args:
        thought: The model's reasoning, where it is shown.
        output: The answer.
        text: The answer.
    """

    thought: str
    output: str
    text: str
