"""ToolFailure: how a tool says that it ran and did not do what it was asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

FailureReason = Literal[
    "tool_reported", "exception", "mcp_error", "usage_limit", "unknown_tool", "invalid_input", "blocked"
]
"""Why a call failed, in CrewAI's names; ``exception`` includes a call that took longer than its time limit, and
``blocked`` is a call that a hook stopped."""

FailurePolicy = Literal["ignore", "warn", "raise"]
"""What a failed call does to the task: nothing, a note in its output (the default), or its end."""


@dataclass(frozen=True, slots=True)
class ToolFailure:
    """Returned by a tool instead of a result: the call failed, and the model is told ``message``.

    Raising an exception does as well; this form says more, and keeps no traceback (CrewAI: ``ToolFailure``).

    Args:
        message: What went wrong, for the model and for people.
        reason: The kind of failure.
        code: The failing system's own name for it, such as ``channel_not_found``.
        retryable: Whether the same call could succeed later.
        details: Anything else worth keeping in the trace.
    """

    message: str
    reason: FailureReason = "tool_reported"
    code: str | None = None
    retryable: bool = False
    details: dict[str, Any] = field(default_factory=dict[str, Any])

    def as_agent_message(self) -> str:
        """The failure as the model reads it."""
        text = f"{self.message} (code: {self.code})" if self.code else self.message
        return f"{text} The same call may succeed later." if self.retryable else text
