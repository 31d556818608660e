"""Models: what they are, how they are called, what a call costs."""

from quarterdeck.llm.base import BaseLLM
from quarterdeck.llm.llm import LLM, create_llm
from quarterdeck.llm.types import (
    LLMRequest,
    LLMResponse,
    Message,
    OnDelta,
    OutputSchema,
    ToolCall,
    ToolSpec,
    UsageMetrics,
)

__all__ = [
    "LLM",
    "BaseLLM",
    "LLMRequest",
    "LLMResponse",
    "Message",
    "OnDelta",
    "OutputSchema",
    "ToolCall",
    "ToolSpec",
    "UsageMetrics",
    "create_llm",
]
