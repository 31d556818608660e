"""Events of guardrails (CrewAI: ``crewai.events.types.llm_guardrail_events``)."""

from __future__ import annotations

from typing import Any

from quarterdeck.bus.base_events import BaseEvent


class LLMGuardrailBaseEvent(BaseEvent):
    """What the events of a guardrail have."""

    guardrail_type: str | None = None
    guardrail_name: str | None = None


class LLMGuardrailStartedEvent(LLMGuardrailBaseEvent):
    """A guardrail is asked about an output."""

    type: str = "llm_guardrail_started"
    guardrail: Any = None
    retry_count: int = 0


class LLMGuardrailCompletedEvent(LLMGuardrailBaseEvent):
    """A guardrail has judged."""

    type: str = "llm_guardrail_completed"
    success: bool = True
    result: Any = None
    error: str | None = None
    retry_count: int = 0


class LLMGuardrailFailedEvent(LLMGuardrailBaseEvent):
    """A guardrail gave no verdict."""

    type: str = "llm_guardrail_failed"
    error: str = ""
    retry_count: int = 0
