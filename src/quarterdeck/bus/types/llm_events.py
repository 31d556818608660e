"""Events of models (CrewAI: ``crewai.events.types.llm_events``)."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from quarterdeck.bus.base_events import BaseEvent


class LLMCallType(StrEnum):
    """What a model answered: a text, or tool calls."""

    TOOL_CALL = "tool_call"
    LLM_CALL = "llm_call"


class LLMEventBase(BaseEvent):
    """What the events of a call have; ``call_id`` is the same for all of one call."""

    model: str | None = None
    call_id: str = ""


class LLMCallStartedEvent(LLMEventBase):
    """A call is about to be sent."""

    type: str = "llm_call_started"
    messages: Any = None
    tools: list[dict[str, Any]] | None = None
    callbacks: list[Any] | None = None
    available_functions: dict[str, Any] | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    stop_sequences: list[str] | None = None


class LLMCallCompletedEvent(LLMEventBase):
    """The model has answered."""

    type: str = "llm_call_completed"
    messages: Any = None
    response: Any = None
    call_type: LLMCallType = LLMCallType.LLM_CALL
    usage: dict[str, Any] | None = None
    finish_reason: str | None = None
    response_id: str | None = None


class LLMCallFailedEvent(LLMEventBase):
    """A call failed for good."""

    type: str = "llm_call_failed"
    error: str = ""


class LLMStreamChunkEvent(LLMEventBase):
    """A piece of an answer, where the run streams; a tool call comes whole."""

    type: str = "llm_stream_chunk"
    chunk: str = ""
    tool_call: dict[str, Any] | None = None
    call_type: LLMCallType | None = None
    response_id: str | None = None


class LLMThinkingChunkEvent(LLMEventBase):
    """The model's reasoning, whole, where it is shown."""

    type: str = "llm_thinking_chunk"
    chunk: str = ""
    response_id: str | None = None
