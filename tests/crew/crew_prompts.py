"""What models are asked."""

from __future__ import annotations

from quarterdeck.llm.types import LLMRequest


def asked(request: LLMRequest) -> str:
    """The last user message of a call."""
    return str([m for m in request.messages if m["role"] == "user"][-1]["content"])
