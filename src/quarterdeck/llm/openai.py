"""The wire protocol of OpenAI's chat completions, which most providers speak."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

from quarterdeck.errors import ContentFilteredError, MalformedResponseError, ProviderDownError
from quarterdeck.llm.base import spec_to_openai
from quarterdeck.llm.failures import Caller, failure_in_body
from quarterdeck.llm.http import DONE
from quarterdeck.llm.schema import strict
from quarterdeck.llm.types import LLMRequest, LLMResponse, Message, OnDelta, OutputSchema, ToolCall, UsageMetrics

if TYPE_CHECKING:
    from quarterdeck.llm.llm import LLM

_SETTINGS = (
    "temperature",
    "top_p",
    "n",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "seed",
    "reasoning_effort",
)
_REASONING_MODEL = re.compile(r"o\d|gpt-[5-9]|gpt-\d\d")
"""OpenAI's models that take ``max_completion_tokens`` and no ``stop``."""

MOST_STOP_TEXTS = 4

_FINISH_REASONS = {"function_call": "tool_calls", "max_tokens": "length", "SAFETY": "content_filter"}


def is_reasoning_model(model: str) -> bool:
    """Whether this is one of OpenAI's reasoning models."""
    return _REASONING_MODEL.match(model.rpartition("/")[2]) is not None


# -- the request ------------------------------------------------------------------------------------------


def url(llm: LLM) -> str:
    """Where chat completions are; for Azure a deployment's own URL."""
    base = llm.base()
    if llm.wire != "azure":
        return f"{base}/chat/completions"
    if base.endswith("/openai/v1"):
        return f"{base}/chat/completions"
    if "/openai/deployments/" not in base:
        base = f"{base}/openai/deployments/{llm.model}"
    return f"{base}/chat/completions?api-version={llm.azure_version()}"


def headers(llm: LLM, key: str) -> dict[str, str]:
    """The headers with the key."""
    if not key:
        return {}
    return {"api-key": key} if llm.wire == "azure" else {"Authorization": f"Bearer {key}"}


def body(llm: LLM, request: LLMRequest, stream: bool) -> dict[str, Any]:
    """The JSON body of a call."""
    data: dict[str, Any] = {"model": llm.model, "messages": _messages(llm, request.messages)}
    for name in _SETTINGS:
        value = getattr(llm, name)
        if value is not None:
            data[name] = value
    most = request.max_tokens or llm.max_completion_tokens or llm.max_tokens
    if most:
        new_name = llm.max_completion_tokens or is_reasoning_model(llm.model)
        data["max_completion_tokens" if new_name else "max_tokens"] = most
    if request.tools:
        data["tools"] = [spec_to_openai(tool) for tool in request.tools]
        if request.tool_choice != "auto":
            data["tool_choice"] = request.tool_choice
    stop = llm.stop_texts(request)
    if stop and llm.supports_stop_words():
        data["stop"] = stop[:MOST_STOP_TEXTS]
    if request.output_schema and llm.supports_output_schema():
        data["response_format"] = _response_format(request.output_schema)
    elif isinstance(llm.response_format, dict):
        data["response_format"] = llm.response_format
    if stream:
        data["stream"] = True
        if llm.stream_options:
            data["stream_options"] = {"include_usage": True}
    return data | llm.additional_params if llm.additional_params else data


def _response_format(output: OutputSchema) -> dict[str, Any]:
    schema = strict(output.schema)
    name = "".join(c if c.isalnum() and c.isascii() else "_" for c in output.name)[:64] or "answer"
    found = {"name": name, "schema": output.schema if schema is None else schema, "strict": schema is not None}
    return {"type": "json_schema", "json_schema": found}


def _messages(llm: LLM, messages: Iterable[Message]) -> list[Message]:
    keeps_extra = llm.provider in ("gemini", "deepseek")
    return [_with_calls(message, keeps_extra) if message.get("tool_calls") else message for message in messages]


def _with_calls(message: Message, keeps_extra: bool) -> Message:
    """An assistant message; what another provider added to its tool calls is left out."""
    calls: list[dict[str, Any]] = message["tool_calls"]
    if not any("extra_content" in call for call in calls):
        return message
    if not keeps_extra:
        plain = [{key: value for key, value in call.items() if key != "extra_content"} for call in calls]
        return {**message, "tool_calls": plain}
    reasoning = calls[0].get("extra_content", {}).get("reasoning_content")
    return {**message, "reasoning_content": reasoning} if reasoning else message


# -- the answer -------------------------------------------------------------------------------------------


def response(who: Caller, data: dict[str, Any]) -> LLMResponse:
    """The answer in a body.

    Raises:
        LLMError: The body holds an error.
        MalformedResponseError: It holds no answer.
        ContentFilteredError: The answer was refused.
    """
    choices: Any = data.get("choices")
    if not choices:
        if data.get("error"):
            raise failure_in_body(who, data)
        raise MalformedResponseError(f"{who} answered with no choices: {who.safe(str(data))}", model=who.model)
    choice = choices[0]
    message: dict[str, Any] = choice.get("message") or {}
    reasoning = message.get("reasoning_content") or message.get("reasoning")
    calls = tuple(_tool_call(who, call, n) for n, call in enumerate(message.get("tool_calls") or ()))
    if calls and reasoning and who.provider == "deepseek":  # it wants this back with the results
        first = calls[0]
        calls = (ToolCall(first.id, first.name, first.arguments, {"reasoning_content": reasoning}), *calls[1:])
    return _answer(
        who,
        data,
        text=_text(message.get("content")),
        calls=calls,
        refusal=message.get("refusal"),
        finish=choice.get("finish_reason"),
        reasoning=reasoning if isinstance(reasoning, str) else None,
    )


def _answer(
    who: Caller,
    data: dict[str, Any],
    *,
    text: str,
    calls: tuple[ToolCall, ...],
    refusal: str | None,
    finish: str | None,
    reasoning: str | None,
) -> LLMResponse:
    reason = _FINISH_REASONS.get(finish or "", finish) or ("tool_calls" if calls else "stop")
    if reason == "stop" and calls:  # some servers say so
        reason = "tool_calls"
    if not text and not calls and (refusal or reason == "content_filter"):
        what = f"the model refused: {who.safe(refusal)}" if refusal else "the answer was filtered"
        raise ContentFilteredError(f"{who}: {what}", model=who.model)
    return LLMResponse(
        text=text,
        tool_calls=calls,
        usage=usage(data.get("usage")),
        finish_reason=reason,
        model=data.get("model") or who.model,
        response_id=data.get("id"),
        reasoning=reasoning,
    )


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = cast("list[dict[str, Any]]", content or [])
    return "".join(str(part.get("text") or "") for part in parts if part.get("type") == "text")


def _tool_call(who: Caller, call: dict[str, Any], number: int) -> ToolCall:
    function: Any = call.get("function") or {}
    name: Any = function.get("name")
    if not isinstance(name, str) or not name:
        raise MalformedResponseError(f"{who} made a tool call without a name: {call!r}", model=who.model)
    arguments: Any = function.get("arguments")
    text = arguments if isinstance(arguments, str) else _json(arguments)
    return ToolCall(str(call.get("id") or f"call_{number}"), name, text, call.get("extra_content"))


def usage(data: dict[str, Any] | None) -> UsageMetrics:
    """Tokens, in OpenAI's form; some servers leave parts out."""
    if not data:
        return UsageMetrics(successful_requests=1)
    prompt, completion = data.get("prompt_tokens") or 0, data.get("completion_tokens") or 0
    into: dict[str, Any] = data.get("prompt_tokens_details") or {}
    out: dict[str, Any] = data.get("completion_tokens_details") or {}
    return UsageMetrics(
        total_tokens=data.get("total_tokens") or prompt + completion,
        prompt_tokens=prompt,
        cached_prompt_tokens=into.get("cached_tokens") or data.get("prompt_cache_hit_tokens") or 0,
        completion_tokens=completion,
        reasoning_tokens=out.get("reasoning_tokens") or 0,
        cache_creation_tokens=into.get("cache_write_tokens") or 0,
        successful_requests=1,
    )


class Stream:
    """Puts a streamed answer together.

    Args:
        who: Who is called.
        on_delta: Called with each piece of text.
    """

    def __init__(self, who: Caller, on_delta: OnDelta | None) -> None:
        self._who = who
        self._on_delta = on_delta
        self._data: dict[str, Any] = {}
        self._message: dict[str, list[str]] = {"content": [], "reasoning_content": [], "refusal": []}
        self._calls: dict[int, dict[str, Any]] = {}
        self._finish: str | None = None
        self._done = False
        self._whole: dict[str, Any] | None = None

    def feed(self, event: dict[str, Any]) -> None:
        """Takes one event in."""
        if event is DONE:
            self._done = True
        if event.get("error"):
            raise failure_in_body(self._who, event)
        for key in ("id", "model", "usage"):
            if event.get(key):
                self._data[key] = event[key]
        choices = event.get("choices")
        if not choices:
            return
        choice = choices[0]
        if "message" in choice:  # the server did not stream
            self._whole = event
            return
        self._finish = choice.get("finish_reason") or self._finish
        delta: dict[str, Any] = choice.get("delta") or {}
        self._text("content", _text(delta.get("content")))
        self._text("reasoning_content", delta.get("reasoning_content") or delta.get("reasoning"))
        self._text("refusal", delta.get("refusal"))
        for part in delta.get("tool_calls") or ():
            self._call(part)

    def _text(self, key: str, piece: Any) -> None:
        if not isinstance(piece, str) or not piece:
            return
        self._message[key].append(piece)
        if key == "content" and self._on_delta is not None:
            self._on_delta(piece)

    def _call(self, part: dict[str, Any]) -> None:
        index = part.get("index")
        if index is None:  # a server that sends whole calls without numbers
            index = len(self._calls)
        call = self._calls.setdefault(index, {"function": {"name": "", "arguments": ""}})
        for key in ("id", "extra_content"):
            if part.get(key):
                call[key] = part[key]
        function: dict[str, Any] = part.get("function") or {}
        if function.get("name"):
            call["function"]["name"] = function["name"]
        arguments: Any = function.get("arguments")
        if arguments:
            call["function"]["arguments"] += arguments if isinstance(arguments, str) else _json(arguments)

    def result(self) -> LLMResponse:
        """The whole answer; raises as ``response`` does."""
        if self._whole is not None:
            answer = response(self._who, self._whole)
            if self._on_delta is not None and answer.text:
                self._on_delta(answer.text)
            return answer
        if not self._done and self._finish is None:
            raise ProviderDownError(f"{self._who}: the stream broke off before the answer's end", model=self._who.model)
        message: dict[str, Any] = {key: "".join(parts) for key, parts in self._message.items()}
        message["tool_calls"] = [self._calls[index] for index in sorted(self._calls)]
        if self._finish is None and not any(message.values()):
            raise MalformedResponseError(f"{self._who} ended its stream with no answer", model=self._who.model)
        choice = {"message": message, "finish_reason": self._finish}
        return response(self._who, {**self._data, "choices": [choice]})


def _json(value: Any) -> str:
    return json.dumps(value if value is not None else {}, ensure_ascii=False)
