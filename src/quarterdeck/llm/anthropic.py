"""The wire protocol of Anthropic's messages."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from quarterdeck.errors import ContentFilteredError, MalformedResponseError, ProviderDownError
from quarterdeck.llm.failures import Caller, failure_in_body
from quarterdeck.llm.schema import NUMBER_LIMITS, is_recursive, strict
from quarterdeck.llm.types import LLMRequest, LLMResponse, Message, OnDelta, OutputSchema, ToolCall, UsageMetrics

if TYPE_CHECKING:
    from quarterdeck.llm.llm import LLM

Block = dict[str, Any]

ANSWER_TOOL = "quarterdeck_answer"
"""The tool that stands for a JSON answer with models that have no schema for one: calling it is the answer."""

_VERSION = re.compile(r"claude-(?:[a-z]+-)?(\d+)(?:[-.](\d{1,2}))?(?!\d)")
_BUDGETS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16384, "xhigh": 24576, "max": 32000}
_CACHED: Block = {"type": "ephemeral"}
_FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


def _version(model: str) -> tuple[int, int]:
    """The version in a model's name; one without is taken for a new one."""
    found = _VERSION.search(model)
    return (int(found[1]), int(found[2] or 0)) if found else (99, 0)


# -- the request ------------------------------------------------------------------------------------------


def url(llm: LLM) -> str:
    """Where messages are."""
    return f"{llm.base().removesuffix('/v1')}/v1/messages"


def headers(llm: LLM, key: str) -> dict[str, str]:
    """The headers with the key."""
    del llm
    return {"x-api-key": key, "anthropic-version": "2023-06-01"}


def body(llm: LLM, request: LLMRequest, stream: bool) -> dict[str, Any]:
    """The JSON body of a call."""
    system, messages = _conversation(request.messages)
    data: dict[str, Any] = {"model": llm.model, "max_tokens": _max_tokens(llm, request), "messages": messages}
    if system:
        data["system"] = [{"type": "text", "text": system}]
    if request.tools:
        data["tools"] = [
            {"name": tool.name, "description": tool.description, "input_schema": tool.parameters}
            for tool in request.tools
        ]
        choice = {"none": {"type": "none"}, "required": {"type": "any"}}.get(request.tool_choice)
        if choice:
            data["tool_choice"] = choice
    thinking = _add_thinking(llm, data)
    if not thinking:
        data |= {name: value for name in ("temperature", "top_p") if (value := getattr(llm, name)) is not None}
    if request.output_schema:
        _add_schema(llm, data, request, request.output_schema, thinking)
    stop = [text for text in llm.stop_texts(request) if text.strip()]
    if stop:
        data["stop_sequences"] = stop
    if stream:
        data["stream"] = True
    _mark_prefix(data, comes_back=bool(request.tools))
    return data | llm.additional_params if llm.additional_params else data


def _max_tokens(llm: LLM, request: LLMRequest) -> int:
    given = request.max_tokens or llm.max_completion_tokens or llm.max_tokens
    return given or (8192 if _version(llm.model) >= (3, 5) else 4096)


def _add_thinking(llm: LLM, data: dict[str, Any]) -> bool:
    """Adds the settings of ``thinking`` or ``reasoning_effort``; whether the model is to think."""
    effort = llm.reasoning_effort
    if llm.thinking is not None:
        data["thinking"] = llm.thinking
    elif effort is None or effort == "none":
        return False
    elif _version(llm.model) >= (4, 6):  # these decide themselves how long
        data["thinking"] = {"type": "adaptive"}
        data["output_config"] = {"effort": "low" if effort == "minimal" else effort}
    else:
        data["thinking"] = {"type": "enabled", "budget_tokens": _BUDGETS.get(effort, _BUDGETS["medium"])}
    budget = data["thinking"].get("budget_tokens")
    if budget is not None:
        if _lost_its_thoughts(data["messages"]):  # the API refuses to go on with a call made without them
            del data["thinking"]
            return False
        if data["max_tokens"] <= budget:
            data["max_tokens"] += budget
    return data["thinking"].get("type") != "disabled"


def _lost_its_thoughts(messages: list[Message]) -> bool:
    if len(messages) < 2 or not any(block["type"] == "tool_result" for block in messages[-1]["content"]):
        return False
    return messages[-2]["content"][0]["type"] not in ("thinking", "redacted_thinking")


def _add_schema(llm: LLM, data: dict[str, Any], request: LLMRequest, output: OutputSchema, thinking: bool) -> None:
    """Holds the answer to a schema: by the API's own means where the model has them, else by a forced tool.

    A forced tool and thinking exclude each other, so a model that thinks is only offered the tool.
    """
    schema = strict(output.schema, NUMBER_LIMITS) if _version(llm.model) >= (4, 5) else None
    if schema is not None and not is_recursive(schema):
        data["output_config"] = {**data.get("output_config", {}), "format": {"type": "json_schema", "schema": schema}}
        return
    if request.tools and request.tool_choice == "required":
        return  # no answer is wanted yet
    answer = {
        "name": ANSWER_TOOL,
        "description": "Gives the final answer. Call it once, when the answer is complete; write nothing else.",
        "input_schema": output.schema,
    }
    data["tools"] = [*data.get("tools", ()), answer]
    if thinking:
        data.pop("tool_choice", None)
    elif request.tools and request.tool_choice == "auto":
        data["tool_choice"] = {"type": "any"}
    else:
        data["tool_choice"] = {"type": "tool", "name": ANSWER_TOOL}


def _mark_prefix(data: dict[str, Any], comes_back: bool) -> None:
    """Marks what the next call is likely to begin with, for the provider's prompt cache.

    The cache holds tools, system and messages, in this order, up to each mark. An agent with tools comes back
    with the same conversation and more, so its last message is marked too.
    """
    if "system" in data:
        data["system"][-1]["cache_control"] = _CACHED
    elif "tools" in data:
        data["tools"][-1] = {**data["tools"][-1], "cache_control": _CACHED}
    if comes_back:
        last = data["messages"][-1]
        last["content"][-1] = {**last["content"][-1], "cache_control": _CACHED}


# -- messages ---------------------------------------------------------------------------------------------


def _conversation(messages: Sequence[Message]) -> tuple[str, list[Message]]:
    """The system text, and the turns: user and assistant in alternation, tool results among the user's."""
    system: list[str] = []
    turns: list[Message] = []
    for message in messages:
        if message["role"] in ("system", "developer"):
            system.append(_plain(message.get("content")))
            continue
        role = "assistant" if message["role"] == "assistant" else "user"
        blocks = _blocks(message)
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        elif blocks:
            turns.append({"role": role, "content": blocks})
    text = "\n\n".join(part for part in system if part)
    if not turns:  # the API wants a turn: what there is, is the user's
        return "", [{"role": "user", "content": [{"type": "text", "text": text or "."}]}]
    if turns[0]["role"] == "assistant":
        turns.insert(0, {"role": "user", "content": [{"type": "text", "text": "Go on."}]})
    return text, turns


def _plain(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(str(part.get("text", "")) for part in cast("list[Block]", content or []))


def _blocks(message: Message) -> list[Block]:
    role, content = message["role"], message.get("content")
    if role == "tool":
        result = content if isinstance(content, str) else _parts(content)
        return [{"type": "tool_result", "tool_use_id": message["tool_call_id"], "content": result}]
    if role != "assistant":
        return _parts(content)
    calls: list[dict[str, Any]] = message.get("tool_calls") or []
    extra: dict[str, Any] = (calls[0].get("extra_content") if calls else None) or {}
    thoughts: list[Block] = extra.get("thinking_blocks") or []
    text: list[Block] = [part for part in _parts(content) if part.get("text", "x").strip()]
    if text and not calls:  # the API refuses an answer that ends in blanks
        text[-1] = {**text[-1], "text": text[-1].get("text", "").rstrip()}
    return [*thoughts, *text, *(_tool_use(call) for call in calls)]


def _tool_use(call: dict[str, Any]) -> Block:
    function = call["function"]
    try:
        arguments: Any = json.loads(function["arguments"] or "{}")
    except ValueError:
        arguments = None
    if not isinstance(arguments, dict):  # the API takes objects alone; the model has been told what was wrong
        arguments = {"invalid_arguments": function["arguments"]}
    return {"type": "tool_use", "id": call["id"], "name": function["name"], "input": arguments}


def _parts(content: Any) -> list[Block]:
    """Content parts in OpenAI's form, as blocks; the blocks among them stay as they are."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return [_part(part) for part in cast("list[Block]", content or [])]


def _part(part: Block) -> Block:
    if part.get("type") == "image_url":
        image = part["image_url"]
        return {"type": "image", "source": _source(image if isinstance(image, str) else image["url"])}
    if part.get("type") == "file" and "file_data" in part.get("file", {}):
        return {"type": "document", "source": _source(part["file"]["file_data"])}
    return part


def _source(address: str) -> Block:
    head, comma, data = address.partition(",")
    if head.startswith("data:") and comma:
        return {"type": "base64", "media_type": head[5:].partition(";")[0], "data": data}
    return {"type": "url", "url": address}


# -- the answer -------------------------------------------------------------------------------------------


def response(who: Caller, data: dict[str, Any]) -> LLMResponse:
    """The answer in a body.

    Raises:
        LLMError: The body holds an error.
        MalformedResponseError: It holds no answer.
        ContentFilteredError: The answer was refused.
    """
    blocks: Any = data.get("content")
    if not isinstance(blocks, list):
        if data.get("error"):
            raise failure_in_body(who, data)
        raise MalformedResponseError(f"{who} answered with no content: {who.safe(str(data))}", model=who.model)
    content = cast("list[Block]", blocks)
    text = "".join(block.get("text") or "" for block in content if block.get("type") == "text")
    calls = _tool_calls(who, content)
    reason = _FINISH_REASONS.get(str(data.get("stop_reason")), "stop")
    answers = [call for call in calls if call.name == ANSWER_TOOL]
    if answers:
        calls = tuple(call for call in calls if call.name != ANSWER_TOOL)
        if not calls:  # else the answer came before the results that it should rest on
            text, reason = answers[-1].arguments, "length" if reason == "length" else "stop"
    if not text and not calls and reason == "content_filter":
        raise ContentFilteredError(f"{who}: the model refused to answer", model=who.model)
    return LLMResponse(
        text=text,
        tool_calls=calls,
        usage=usage(data.get("usage")),
        finish_reason=reason,
        model=data.get("model") or who.model,
        response_id=data.get("id"),
        reasoning="\n".join(block["thinking"] for block in content if block.get("thinking")) or None,
    )


def _tool_calls(who: Caller, content: list[Block]) -> tuple[ToolCall, ...]:
    thoughts = [block for block in content if block.get("type") in ("thinking", "redacted_thinking")]
    calls: list[ToolCall] = []
    for block in content:
        if block.get("type") != "tool_use":
            continue
        if not block.get("name"):
            raise MalformedResponseError(f"{who} made a tool call without a name: {block!r}", model=who.model)
        arguments = block.get("input")
        written = arguments if isinstance(arguments, str) else json.dumps(arguments or {}, ensure_ascii=False)
        extra = {"thinking_blocks": thoughts} if thoughts and not calls else None
        calls.append(ToolCall(str(block.get("id") or f"call_{len(calls)}"), block["name"], written, extra))
    return tuple(calls)


def usage(data: dict[str, Any] | None) -> UsageMetrics:
    """Tokens; Anthropic counts cached ones apart from ``input_tokens``, here they are part of the prompt's."""
    if not data:
        return UsageMetrics(successful_requests=1)
    read, written = data.get("cache_read_input_tokens") or 0, data.get("cache_creation_input_tokens") or 0
    prompt, completion = (data.get("input_tokens") or 0) + read + written, data.get("output_tokens") or 0
    details: dict[str, Any] = data.get("output_tokens_details") or {}
    return UsageMetrics(
        total_tokens=prompt + completion,
        prompt_tokens=prompt,
        cached_prompt_tokens=read,
        completion_tokens=completion,
        reasoning_tokens=details.get("thinking_tokens") or details.get("reasoning_tokens") or 0,
        cache_creation_tokens=written,
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
        self._message: dict[str, Any] = {}
        self._usage: dict[str, Any] = {}
        self._blocks: dict[int, Block] = {}
        self._whole: dict[str, Any] | None = None

    def feed(self, event: dict[str, Any]) -> None:
        """Takes one event in."""
        kind = event.get("type")
        if kind == "content_block_delta":
            self._delta(self._blocks.setdefault(event["index"], {"type": "text"}), event["delta"])
        elif kind == "content_block_start":
            block: Block = dict(event["content_block"])
            if block.get("type") == "tool_use":
                block["input"] = ""  # the pieces are text
            self._blocks[event["index"]] = block
        elif kind == "message_start":
            self._message = event["message"]
            self._usage |= self._message.get("usage") or {}
        elif kind == "message_delta":
            self._message |= event.get("delta") or {}
            counts: dict[str, Any] = event.get("usage") or {}
            self._usage |= {key: value for key, value in counts.items() if value is not None}
        elif kind == "error":
            raise failure_in_body(self._who, event)
        elif kind == "message":  # the server did not stream
            self._whole = event

    def _delta(self, block: Block, delta: Block) -> None:
        kind = delta.get("type")
        if kind == "text_delta":
            self._add(block, "text", delta["text"], shown=True)
        elif kind == "input_json_delta":
            self._add(block, "input", delta["partial_json"], shown=block.get("name") == ANSWER_TOOL)
        elif kind == "thinking_delta":
            self._add(block, "thinking", delta["thinking"], shown=False)
        elif kind == "signature_delta":
            self._add(block, "signature", delta["signature"], shown=False)

    def _add(self, block: Block, key: str, piece: str, shown: bool) -> None:
        block[key] = block.get(key, "") + piece
        if shown and piece and self._on_delta is not None:
            self._on_delta(piece)

    def result(self) -> LLMResponse:
        """The whole answer; raises as ``response`` does."""
        if self._whole is not None:
            answer = response(self._who, self._whole)
            if self._on_delta is not None and answer.text:
                self._on_delta(answer.text)
            return answer
        if not self._message.get("stop_reason"):
            raise ProviderDownError(f"{self._who}: the stream broke off before the answer's end", model=self._who.model)
        content = [self._blocks[index] for index in sorted(self._blocks)]
        return response(self._who, {**self._message, "content": content, "usage": self._usage})
