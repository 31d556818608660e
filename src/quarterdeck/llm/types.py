"""What goes to a model and what comes back, the same for every provider."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel

Message = dict[str, Any]
"""One chat message in OpenAI's form: ``role``, ``content`` (text or content parts), ``tool_calls``,
``tool_call_id``. It is the form that CrewAI's custom LLMs are given, and what the journal keeps."""

OnDelta = Callable[[str], None]
"""Called with each piece of text as it arrives. Being given one asks the model to stream."""


class UsageMetrics(BaseModel):
    """Tokens and calls, in CrewAI's names. The breakdowns are parts of the totals, never added to them."""

    total_tokens: int = 0
    prompt_tokens: int = 0
    cached_prompt_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    cache_creation_tokens: int = 0
    successful_requests: int = 0

    def add_usage_metrics(self, other: UsageMetrics) -> None:
        """Adds ``other`` to this."""
        self.total_tokens += other.total_tokens
        self.prompt_tokens += other.prompt_tokens
        self.cached_prompt_tokens += other.cached_prompt_tokens
        self.completion_tokens += other.completion_tokens
        self.reasoning_tokens += other.reasoning_tokens
        self.cache_creation_tokens += other.cache_creation_tokens
        self.successful_requests += other.successful_requests


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as a model sees it: ``parameters`` is a JSON Schema of type object."""

    name: str
    description: str
    parameters: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A model's wish to call a tool; ``arguments`` is the JSON text as the model wrote it, unchecked.

    ``extra`` is what the provider wants back with the call's result (Gemini's thought signatures, Anthropic's
    thinking blocks); in a message it is ``extra_content``.
    """

    id: str
    name: str
    arguments: str
    extra: dict[str, Any] | None = field(default=None, hash=False)

    def to_message_part(self) -> dict[str, Any]:
        """This call as an entry of an assistant message's ``tool_calls``."""
        part: dict[str, Any] = {
            "id": self.id,
            "type": "function",
            "function": {"name": self.name, "arguments": self.arguments},
        }
        if self.extra:
            part["extra_content"] = self.extra
        return part

    @classmethod
    def from_message_part(cls, part: dict[str, Any]) -> ToolCall:
        """The call in an entry of ``tool_calls``: the reverse of ``to_message_part``."""
        function = part["function"]
        return cls(part["id"], function["name"], function["arguments"], part.get("extra_content"))


@dataclass(frozen=True, slots=True)
class OutputSchema:
    """The JSON Schema that the answer must fit."""

    name: str
    schema: dict[str, Any]


@dataclass(frozen=True, slots=True)
class LLMRequest:
    """One call to a model.

    Args:
        messages: The conversation so far.
        tools: Tools the model may call.
        tool_choice: ``auto``: the model decides; ``none``: no call; ``required``: at least one call.
        output_schema: The schema of the final answer, where it must be JSON.
        stop: Texts that end the answer; added to the LLM's own.
        max_tokens: Upper limit for this answer; None leaves the LLM's own.
        step_key: The same for every try of the same step: sent as an idempotency key.
    """

    messages: Sequence[Message]
    tools: Sequence[ToolSpec] = ()
    tool_choice: Literal["auto", "none", "required"] = "auto"
    output_schema: OutputSchema | None = None
    stop: Sequence[str] = ()
    max_tokens: int | None = None
    step_key: str | None = None


@dataclass(frozen=True, slots=True)
class LLMResponse:
    """A model's answer.

    Args:
        text: The answer's text; empty when the model only calls tools.
        tool_calls: The calls that the model wants made.
        usage: Tokens of this call, as the provider counted them.
        finish_reason: ``stop``, ``length``, ``tool_calls`` or ``content_filter``.
        model: The model that answered, as the provider names it.
        response_id: The provider's id of the answer.
        reasoning: The model's reasoning, where the provider shows it.
    """

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    usage: UsageMetrics = field(default_factory=UsageMetrics)
    finish_reason: str = "stop"
    model: str = ""
    response_id: str | None = None
    reasoning: str | None = None

    def to_message(self) -> Message:
        """This answer as an assistant message of the conversation."""
        message: Message = {"role": "assistant", "content": self.text or None}
        if self.tool_calls:
            message["tool_calls"] = [call.to_message_part() for call in self.tool_calls]
        return message
