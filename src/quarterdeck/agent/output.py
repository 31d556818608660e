"""What an agent on its own gives back."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny

from quarterdeck.llm.types import Message, UsageMetrics
from quarterdeck.runtime.receipts import ToolReceipt, failures


class LiteAgentOutput(BaseModel):
    """An agent's answer (CrewAI: ``LiteAgentOutput``).

    Args:
        raw: The answer's text.
        pydantic: The instance of ``response_format``, where one was asked for.
        agent_role: The agent's role.
        token_usage: Tokens and calls of this kickoff.
        cost_usd: Its cost; None where a price is not known.
        status: ``completed``, or what ended it early.
        ended_by: The limit that ended it.
        tool_receipts: The tool calls that it took, with what came of each.
        issues: The failed tool calls that need attention, in words; ``status`` is then ``completed_with_issues``.
        messages: The conversation.
    """

    model_config = ConfigDict(protected_namespaces=())

    raw: str
    pydantic: SerializeAsAny[BaseModel] | None = None
    agent_role: str
    token_usage: UsageMetrics
    cost_usd: float | None = None
    status: str = "completed"
    ended_by: str = ""
    tool_receipts: list[ToolReceipt] = Field(default_factory=list[ToolReceipt], repr=False)
    issues: list[str] = Field(default_factory=list[str])
    messages: list[Message]

    @property
    def tool_failures(self) -> list[ToolReceipt]:
        """The tool calls that failed, those left out whose policy is ``ignore``."""
        return failures(self.tool_receipts)

    @property
    def has_tool_failures(self) -> bool:
        """Whether one did."""
        return bool(self.tool_failures)

    @property
    def usage_metrics(self) -> dict[str, int]:
        """``token_usage`` as a dict."""
        return self.token_usage.model_dump()

    def to_dict(self) -> dict[str, Any]:
        """The instance of ``response_format`` as a dict; empty where there is none."""
        return self.pydantic.model_dump() if self.pydantic else {}

    def __str__(self) -> str:
        return str(self.pydantic) if self.pydantic else self.raw
