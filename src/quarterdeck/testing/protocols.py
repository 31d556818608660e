"""The server's side of both wire protocols: from a body to a request, from a response to a body or a stream."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any, Protocol, cast

from quarterdeck.llm.anthropic import ANSWER_TOOL
from quarterdeck.llm.base import spec_from_openai
from quarterdeck.llm.types import LLMRequest, LLMResponse, Message, OutputSchema, ToolCall, ToolSpec, UsageMetrics

Body = dict[str, Any]

_PIECES = re.compile(r"\s*\S+|\s+")


class Speaks(Protocol):
    """How a server speaks."""

    def request(self, body: Body, step_key: str | None) -> LLMRequest:
        """What is asked."""
        ...

    def whole(self, response: LLMResponse, body: Body) -> Body:
        """The answer in one piece."""
        ...

    def events(self, response: LLMResponse, body: Body) -> Iterator[bytes]:
        """The answer as server-sent events."""
        ...

    def error(self, status: int, message: str, code: str | None) -> Body:
        """An error's body."""
        ...


def _dict(value: Any) -> Body:
    return cast("Body", value or {})


def _pieces(text: str) -> list[str]:
    """A text as a model writes it, about a word at a time."""
    return _PIECES.findall(text)


def _halves(text: str) -> tuple[str, str]:
    return text[: len(text) // 2], text[len(text) // 2 :]


class OpenAI:
    """Chat completions."""

    def request(self, body: Body, step_key: str | None) -> LLMRequest:
        output = _dict(_dict(body.get("response_format")).get("json_schema"))
        stop: Any = body.get("stop") or ()
        return LLMRequest(
            messages=body["messages"],
            tools=tuple(spec_from_openai(tool) for tool in body.get("tools") or ()),
            tool_choice=body.get("tool_choice", "auto"),
            output_schema=OutputSchema(output["name"], output["schema"]) if output else None,
            stop=(stop,) if isinstance(stop, str) else tuple(stop),
            max_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
            step_key=step_key,
        )

    def whole(self, response: LLMResponse, body: Body) -> Body:
        message: Body = {**response.to_message(), "refusal": None}
        if response.reasoning:
            message["reasoning_content"] = response.reasoning
        choice = {"index": 0, "message": message, "finish_reason": response.finish_reason}
        return {**_head(response, body, "chat.completion"), "choices": [choice], "usage": _openai_usage(response.usage)}

    def events(self, response: LLMResponse, body: Body) -> Iterator[bytes]:
        head = _head(response, body, "chat.completion.chunk")

        def chunk(delta: Body, finish: str | None = None) -> bytes:
            return _data({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})

        yield chunk({"role": "assistant", "content": ""})
        for piece in _pieces(response.reasoning or ""):
            yield chunk({"reasoning_content": piece})
        for piece in _pieces(response.text):
            yield chunk({"content": piece})
        for index, call in enumerate(response.tool_calls):
            first, second = _halves(call.arguments)
            part = call.to_message_part()
            part["function"] = {"name": call.name, "arguments": first}
            yield chunk({"tool_calls": [{"index": index, **part}]})
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": second}}]})
        yield chunk({}, response.finish_reason)
        if _dict(body.get("stream_options")).get("include_usage"):
            yield _data({**head, "choices": [], "usage": _openai_usage(response.usage)})
        yield b"data: [DONE]\n\n"

    def error(self, status: int, message: str, code: str | None) -> Body:
        kind = "invalid_request_error" if status < 500 else "server_error"
        return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def _head(response: LLMResponse, body: Body, kind: str) -> Body:
    made = int(time.time())
    return {"id": response.response_id or "chatcmpl-1", "object": kind, "created": made, "model": body.get("model")}


def _data(event: Body) -> bytes:
    return b"data: " + json.dumps(event, ensure_ascii=False).encode() + b"\n\n"


def _openai_usage(usage: UsageMetrics) -> Body:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_prompt_tokens,
            "cache_write_tokens": usage.cache_creation_tokens,
        },
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


class Anthropic:
    """Messages."""

    def request(self, body: Body, step_key: str | None) -> LLMRequest:
        messages: list[Message] = []
        system = body.get("system")
        if system:
            messages.append({"role": "system", "content": _joined(system)})
        for turn in body["messages"]:
            messages += _messages(turn)
        tools = {tool["name"]: tool for tool in body.get("tools") or ()}
        answer = tools.pop(ANSWER_TOOL, None)
        native = _dict(_dict(body.get("output_config")).get("format"))
        schema = native.get("schema") or _dict(answer).get("input_schema")
        choice = _dict(body.get("tool_choice")).get("type", "auto")
        choices = {"any": "auto" if answer else "required", "tool": "none", "none": "none"}
        return LLMRequest(
            messages=messages,
            tools=tuple(ToolSpec(name, tool["description"], tool["input_schema"]) for name, tool in tools.items()),
            tool_choice=cast("Any", choices.get(choice, "auto")),
            output_schema=OutputSchema("answer", schema) if schema else None,
            stop=tuple(body.get("stop_sequences") or ()),
            max_tokens=body["max_tokens"],
            step_key=step_key,
        )

    def whole(self, response: LLMResponse, body: Body) -> Body:
        blocks, reason = _content(response, body)
        return {**_message(response, body), "content": blocks, "stop_reason": reason}

    def events(self, response: LLMResponse, body: Body) -> Iterator[bytes]:
        blocks, reason = _content(response, body)
        head: Body = {**_message(response, body), "content": [], "stop_reason": None}
        head["usage"] = {**_dict(head["usage"]), "output_tokens": 1}
        yield _named({"type": "message_start", "message": head})
        yield _named({"type": "ping"})
        for index, block in enumerate(blocks):
            start, deltas = _streamed(block)
            yield _named({"type": "content_block_start", "index": index, "content_block": start})
            for delta in deltas:
                yield _named({"type": "content_block_delta", "index": index, "delta": delta})
            yield _named({"type": "content_block_stop", "index": index})
        usage = {"output_tokens": response.usage.completion_tokens}
        delta = {"stop_reason": reason, "stop_sequence": None}
        yield _named({"type": "message_delta", "delta": delta, "usage": usage})
        yield _named({"type": "message_stop"})

    def error(self, status: int, message: str, code: str | None) -> Body:
        kinds = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
        kind = code or kinds.get(status, "invalid_request_error" if status < 500 else "api_error")
        return {"type": "error", "error": {"type": kind, "message": message}}


def _named(event: Body) -> bytes:
    return b"event: " + event["type"].encode() + b"\n" + _data(event)


def _joined(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(block.get("text", "") for block in cast("list[Body]", content))


def _messages(turn: Body) -> list[Message]:
    """A turn in OpenAI's form: tool results are messages of their own there."""
    if isinstance(turn["content"], str):
        return [dict(turn)]
    blocks: list[Body] = turn["content"]
    results = [
        {"role": "tool", "tool_call_id": block["tool_use_id"], "content": _joined(block["content"])}
        for block in blocks
        if block["type"] == "tool_result"
    ]
    calls = [
        ToolCall(block["id"], block["name"], json.dumps(block["input"], ensure_ascii=False)).to_message_part()
        for block in blocks
        if block["type"] == "tool_use"
    ]
    parts = [_part(block) for block in blocks if block["type"] in ("text", "image")]
    only_text = all(part["type"] == "text" for part in parts)
    message: Message = {"role": turn["role"], "content": _joined(parts) if only_text else parts}
    if calls:
        message["tool_calls"] = calls
    return [*results, message] if parts or calls else results


def _part(block: Body) -> Body:
    if block["type"] == "text":
        return {"type": "text", "text": block["text"]}
    source = block["source"]
    inline = f"data:{source.get('media_type')};base64,{source.get('data')}"
    return {"type": "image_url", "image_url": {"url": source.get("url") or inline}}


def _message(response: LLMResponse, body: Body) -> Body:
    usage = response.usage
    return {
        "id": response.response_id or "msg_1",
        "type": "message",
        "role": "assistant",
        "model": body.get("model"),
        "stop_sequence": None,
        "usage": {
            "input_tokens": usage.prompt_tokens - usage.cached_prompt_tokens - usage.cache_creation_tokens,
            "cache_read_input_tokens": usage.cached_prompt_tokens,
            "cache_creation_input_tokens": usage.cache_creation_tokens,
            "output_tokens": usage.completion_tokens,
            "output_tokens_details": {"thinking_tokens": usage.reasoning_tokens},
        },
    }


def _content(response: LLMResponse, body: Body) -> tuple[list[Body], str]:
    """The blocks of an answer, and why it ended. A text is given through the answer tool where that is asked for."""
    reasons = {"length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
    reason = reasons.get(response.finish_reason, "end_turn")
    blocks: list[Body] = []
    if response.reasoning:
        blocks.append({"type": "thinking", "thinking": response.reasoning, "signature": "c2lnbmVk"})
    calls = list(response.tool_calls)
    forced = any(tool["name"] == ANSWER_TOOL for tool in body.get("tools") or ())
    if response.text and forced and not calls:
        calls, reason = [ToolCall("toolu_answer", ANSWER_TOOL, response.text)], "tool_use"
    elif response.text:
        blocks.append({"type": "text", "text": response.text})
    for call in calls:
        blocks.append({"type": "tool_use", "id": call.id, "name": call.name, "input": json.loads(call.arguments)})
    return blocks, reason


def _streamed(block: Body) -> tuple[Body, list[Body]]:
    """A block's start, and its pieces."""
    if block["type"] == "text":
        return {**block, "text": ""}, [{"type": "text_delta", "text": piece} for piece in _pieces(block["text"])]
    if block["type"] == "thinking":
        deltas: list[Body] = [{"type": "thinking_delta", "thinking": piece} for piece in _pieces(block["thinking"])]
        signature = {"type": "signature_delta", "signature": block["signature"]}
        return {**block, "thinking": "", "signature": ""}, [*deltas, signature]
    written = json.dumps(block["input"], ensure_ascii=False)
    return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": half} for half in _halves(written)]
