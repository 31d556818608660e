"""What an agent on its own gives back."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, SerializeAsAny

from quarterdeck.llm.types import Message, UsageMetrics


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
    messages: list[Message]

    @property
    def usage_metrics(self) -> dict[str, int]:
        """``token_usage`` as a dict."""
        return self.token_usage.model_dump()

    def to_dict(self) -> dict[str, Any]:
        """The instance of ``response_format`` as a dict; empty where there is none."""
        return self.pydantic.model_dump() if self.pydantic else {}

    def __str__(self) -> str:
        return str(self.pydantic) if self.pydantic else self.raw
