"""ToolResult: what came of one tool call."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from quarterdeck.tools.failure import ToolFailure


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What came of one tool call.

    Args:
        output: What the model is told: the whole text. ``ResultStore.cut`` makes it short enough.
        value: What the tool returned; None where the call failed.
        ok: False where the call failed.
        error: The whole error, with its traceback, for the trace; the model does not see it.
        arguments: The arguments as the model gave them; empty where they were no JSON object.
        seconds: Time the call took.
        is_answer: The output is the task's answer (``result_as_answer``).
        cached: An earlier result was used again.
        failure: How the call failed.
    """

    output: str
    value: Any = None
    ok: bool = True
    error: str = ""
    arguments: dict[str, Any] = field(default_factory=dict[str, Any])
    seconds: float = 0.0
    is_answer: bool = False
    cached: bool = False
    failure: ToolFailure | None = None

    @property
    def reason(self) -> str:
        """Why the call failed (a ``FailureReason``); "" where it did not."""
        return self.failure.reason if self.failure else ""
