"""Tools for models that have no tool calls of their own.

``encode`` turns a request with tools, and its conversation of tool calls and results, into one of plain messages;
``decode`` turns the text that comes back into a response with tool calls. There are two forms:

* *schema*: where the provider can hold the model to a JSON schema, every answer is one JSON object:
  ``{"tool": NAME, "arguments": {...}}`` or ``{"answer": ...}``.
* *text*: else the lines ``Thought:``, ``Action:``, ``Action Input:``, ``Observation:`` and ``Final Answer:``, the
  markers that CrewAI uses (the form of the ReAct paper, Yao et al. 2022, arXiv:2210.03629).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NoReturn, cast

from quarterdeck.errors import MalformedResponseError
from quarterdeck.llm import lenient
from quarterdeck.llm.types import LLMRequest, LLMResponse, Message, OutputSchema, ToolCall, ToolSpec

STOP = "\nObservation:"
"""Ends an answer in the text form: what comes after it is for the tool to say, not for the model."""

_SCHEMA_RULES = """\
Answer with one JSON object and nothing else. To call a tool: {"tool": "<name>", "arguments": {...}}. \
The result is given to you next. When you know the answer: {"answer": ...}."""

_TEXT_RULES = """\
To call a tool, write these three lines and stop; the result is given to you after "Observation:".
Thought: what you need and why
Action: the name of one tool
Action Input: its arguments, one JSON object
When you know the answer, write:
Thought: why you are done
Final Answer: the complete answer"""

_CONTINUE = "Go on from the observation."


def encode(request: LLMRequest, *, schema: bool) -> LLMRequest:
    """The request without tools, in plain messages, for a model that has no tool calls.

    The tools and the rules are put at the end of the system message, where they stay the same from call to call
    (providers' prompt caches). A request with no tools comes back as it is, but for tool calls in its conversation.

    Args:
        request: The request; ``tool_choice`` is kept to by ``decode``, and by the schema where there is one.
        schema: Whether the provider can hold the model to a JSON schema (``BaseLLM.supports_output_schema()``).
    """
    messages = list(_plain_messages(request.messages, schema))
    if not request.tools:
        return replace(request, messages=messages)
    _add_to_system(messages, _instructions(request, schema))
    if schema:
        wanted = OutputSchema("step", _step_schema(request))
        return replace(request, messages=messages, tools=(), tool_choice="auto", output_schema=wanted)
    stop = (*request.stop, STOP)
    return replace(request, messages=messages, tools=(), tool_choice="auto", output_schema=None, stop=stop)


def decode(response: LLMResponse, request: LLMRequest, *, schema: bool) -> LLMResponse:
    """The response with the tool call, or the final answer, that its text holds.

    Args:
        response: What the model answered to the encoded request.
        request: The request as it was given to ``encode``, with its tools.
        schema: As it was given to ``encode``.

    Returns:
        With a tool call, the text is what the model wrote, its thought included (empty in the schema form, which
        has no thoughts). With a final answer, the text is the answer alone.

    Raises:
        MalformedResponseError: The text keeps to neither form; the message is written for the model
            (see ``repair_message``).
    """
    if not request.tools:
        return response
    if not response.text.strip():
        _malformed("Your answer was empty.", response, request)
    read = _read_schema if schema else _read_text
    try:
        return read(response, request)
    except RecursionError:
        _malformed("The JSON is nested too deeply.", response, request)


def repair_message(error: MalformedResponseError) -> Message:
    """What to say to the model about an answer that could not be used; goes after that answer (``error.text``)."""
    return {"role": "user", "content": f"{error}\nWrite your answer again, in the right form."}


# -- the request ----------------------------------------------------------------------------------------------


def _instructions(request: LLMRequest, schema: bool) -> str:
    tools = [f"{tool.name}: {tool.description}\n  arguments: {_dump(tool.parameters)}" for tool in request.tools]
    parts = ["You have these tools:", *tools, "", _SCHEMA_RULES if schema else _TEXT_RULES]
    if request.output_schema and not schema:
        parts.append(f"The final answer is one JSON object of this JSON Schema: {_dump(request.output_schema.schema)}")
    return "\n".join(parts)


def _add_to_system(messages: list[Message], text: str) -> None:
    if not messages or messages[0].get("role") != "system":
        messages.insert(0, {"role": "system", "content": text})
        return
    content = messages[0].get("content")
    if isinstance(content, list):
        content = [*cast("list[Any]", content), {"type": "text", "text": text}]
    else:
        content = f"{content}\n\n{text}" if content else text
    messages[0] = {**messages[0], "content": content}


def _plain_messages(messages: Sequence[Message], schema: bool) -> Iterator[Message]:
    """The conversation with no tool calls in it; several calls of one answer become one turn each."""
    results = {m.get("tool_call_id"): _text(m) for m in messages if m.get("role") == "tool"}
    for number, message in enumerate(messages):
        role, calls = message.get("role"), message.get("tool_calls")
        if role == "tool":
            continue
        if role != "assistant" or not calls:
            yield message
            continue
        later = next((m for m in messages[number + 1 :] if m.get("role") != "tool"), None)
        for place, call in enumerate(calls):
            result = results.get(call.get("id"), "")
            last = place == len(calls) - 1
            yield from _turn(message, call, result, schema, answered=last and _is_user(later))


def _is_user(message: Message | None) -> bool:
    return message is not None and message.get("role") == "user"


def _turn(message: Message, call: dict[str, Any], result: str, schema: bool, *, answered: bool) -> Iterator[Message]:
    """One call and its result. ``answered``: a user's message follows, so that none need be put in."""
    function = call["function"]
    name, arguments = function["name"], function.get("arguments") or "{}"
    if schema:
        content = f'{{"tool": {_dump(name)}, "arguments": {arguments}}}'
        yield {"role": "assistant", "content": content}
        yield {"role": "user", "content": f"Result of {name}:\n{result}"}
        return
    written, one = _text(message), len(message["tool_calls"]) == 1
    if not (one and _ACTION.search(written)):  # not written in this form, but by a model with tool calls of its own
        thought = f"Thought: {written}\n" if written else ""
        written = f"{thought}Action: {name}\nAction Input: {arguments}"
    yield {"role": "assistant", "content": f"{written}{STOP} {result}"}
    if not answered:
        yield {"role": "user", "content": _CONTINUE}


def _text(message: Message) -> str:
    content = message.get("content")
    if isinstance(content, list):
        parts = cast("list[dict[str, Any]]", content)
        return "\n".join(str(part["text"]) for part in parts if part.get("type") == "text")
    return str(content or "")


# -- the schema form ------------------------------------------------------------------------------------------


def _step_schema(request: LLMRequest) -> dict[str, Any]:
    """What one answer may be: a call of one of the tools, or the final answer."""
    definitions: dict[str, Any] = {}
    choices: list[dict[str, Any]] = []
    if request.tool_choice != "none":
        for number, tool in enumerate(request.tools):
            arguments = _embedded(tool.parameters, f"arguments{number}", definitions)
            choices.append(_object({"tool": {"const": tool.name}, "arguments": arguments}))
    if request.tool_choice != "required":
        answer: dict[str, Any] = {"type": "string"}
        if request.output_schema:
            answer = _embedded(request.output_schema.schema, "answer", definitions)
        choices.append(_object({"answer": answer}))
    schema: dict[str, Any] = choices[0] if len(choices) == 1 else {"anyOf": choices}
    return {**schema, "$defs": definitions} if definitions else schema


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _embedded(schema: dict[str, Any], name: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema as a part of another. One whose references are counted from its own root (``#/$defs/...``) is
    put whole into ``definitions``, and its references are led there."""
    if '"$ref"' not in json.dumps(schema):
        return schema
    definitions[name] = _moved(schema, f"#/$defs/{name}")
    return {"$ref": f"#/$defs/{name}"}


def _moved(schema: Any, root: str) -> Any:
    if isinstance(schema, list):
        return [_moved(item, root) for item in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    moved: dict[str, Any] = {}
    for key, value in cast("dict[str, Any]", schema).items():
        is_ref = key == "$ref" and isinstance(value, str) and value.startswith("#")
        moved[key] = root + value[1:] if is_ref else _moved(value, root)
    return moved


def _read_schema(response: LLMResponse, request: LLMRequest) -> LLMResponse:
    found = _json_object(response.text, response, request)
    if "tool" in found:
        called = _with_call(response, request, str(found["tool"]), found.get("arguments", {}))
        return replace(called, text="")
    if "answer" not in found:
        _malformed('The JSON object has neither "tool" nor "answer".', response, request)
    if request.tool_choice == "required":
        _malformed("A tool must be called before the final answer.", response, request)
    answer = found["answer"]
    return replace(response, text=answer if isinstance(answer, str) else _dump(answer), tool_calls=())


# -- the text form --------------------------------------------------------------------------------------------

_ACTION = re.compile(r"^[ \t*]*Action[ \t]*\d*[ \t*]*:[ \t*]*(.*?)[ \t*]*$", re.MULTILINE)
_INPUT = re.compile(r"^[ \t*]*Action[ \t]*\d*[ \t]*Input[ \t]*\d*[ \t*]*:[ \t*]*", re.MULTILINE)
_FINAL = re.compile(r"^[ \t*]*Final Answer[ \t*]*:(?:\*\*)?[ \t]*", re.MULTILINE)
_FINAL_ANYWHERE = re.compile(r"Final Answer[ \t*]*:(?:\*\*)?[ \t]*")
_OBSERVATION = re.compile(r"^[ \t*]*Observation[ \t*]*:", re.MULTILINE)
_THOUGHT = re.compile(r"^[ \t*]*Thought[ \t*]*:", re.MULTILINE)


def _read_text(response: LLMResponse, request: LLMRequest) -> LLMResponse:
    text = _without_observation(response.text)
    action = _ACTION.search(text)
    final = _last(_FINAL, text) or (None if action else _last(_FINAL_ANYWHERE, text))
    if request.tool_choice == "none" or (final and request.tool_choice != "required"):
        answer = _without_lone_fence(text[final.end() :].strip()) if final else text.strip()
        return replace(response, text=answer, tool_calls=())
    if action:
        return _read_action(replace(response, text=text), request, action)
    if final or request.tool_choice == "required":
        _malformed("A tool must be called before the final answer.", response, request)
    if _INPUT.search(text):
        _malformed('There is an "Action Input:" and no "Action:" line.', response, request)
    if _THOUGHT.search(text):
        _malformed('There is a "Thought:", but neither an "Action:" nor a "Final Answer:".', response, request)
    return replace(response, text=text.strip(), tool_calls=())


def _without_observation(text: str) -> str:
    """The text up to the first observation that the model made up, were it not a part of the final answer."""
    made_up = _OBSERVATION.search(text)
    if made_up is None or _FINAL.search(text, 0, made_up.start()):
        return text
    return text[: made_up.start()].rstrip()


def _without_lone_fence(answer: str) -> str:
    """The answer without a closing code fence whose opening one stands before "Final Answer:"."""
    return answer[:-3].rstrip() if answer.endswith("```") and answer.count("```") % 2 else answer


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    last = None
    for match in pattern.finditer(text):
        last = match
    return last


def _read_action(response: LLMResponse, request: LLMRequest, action: re.Match[str]) -> LLMResponse:
    name = action[1] if _tool(request, action[1]) else action[1].strip("`'\"[]()")
    given = _INPUT.search(response.text, action.end())
    source = response.text[given.end() :] if given else ""
    following = _ACTION.search(source)
    if following:  # a second action: it waits until the first one's result is known
        source = source[: following.start()]
    tool = _tool(request, name)
    if tool and not tool.parameters.get("properties") and "{" not in source:
        return _with_call(response, request, name, {})
    if tool and not given:
        _malformed('There is an "Action:" and no "Action Input:" line.', response, request)
    arguments = _json_object(source, response, request) if tool else {}
    return _with_call(response, request, name, arguments)


# -- both -----------------------------------------------------------------------------------------------------


def _tool(request: LLMRequest, name: str) -> ToolSpec | None:
    """The tool of this name, or the only one whose name has the same letters and digits: ``Web Search`` is
    ``web_search``. Prompts name a tool as its author does, and a model writes what it reads there."""
    exact = next((tool for tool in request.tools if tool.name == name), None)
    if exact:
        return exact
    alike = [tool for tool in request.tools if _letters(tool.name) == _letters(name)]
    return alike[0] if len(alike) == 1 else None


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name)).casefold()


def _with_call(response: LLMResponse, request: LLMRequest, name: str, arguments: Any) -> LLMResponse:
    tool = _tool(request, name)
    if tool is None:
        _malformed(f"There is no tool {name[:80]!r}.", response, request)
    if request.tool_choice == "none":
        _malformed("No tool can be called now: give the final answer.", response, request)
    if not isinstance(arguments, dict):
        _malformed(f"The arguments of {name!r} are no JSON object.", response, request)
    # The number of the call in the conversation: the same when a journaled run is done again.
    number = sum(len(message.get("tool_calls") or ()) for message in request.messages)
    call = ToolCall(f"call_{number}", tool.name, _dump(arguments))
    return replace(response, tool_calls=(call,), finish_reason="tool_calls")


def _json_object(source: str, response: LLMResponse, request: LLMRequest) -> dict[str, Any]:
    """The first JSON object in the text, or what is nearly one; code fences around it and text after it are passed
    over."""
    start = source.find("{")
    if start < 0:
        _malformed("There is no JSON object.", response, request)
    try:
        found = _read_json(source, start)
    except ValueError as error:
        cut = " It was cut off: write less." if response.finish_reason == "length" else ""
        _malformed(f"The JSON cannot be read: {error}.{cut}", response, request)
    return found


def _read_json(source: str, start: int) -> dict[str, Any]:
    try:
        found, _ = _decoder.raw_decode(source, start)
    except ValueError:
        found, _ = lenient.read(source, start)
    try:
        json.dumps(found, allow_nan=False)
    except ValueError:  # also a number beyond all floats, which is read as infinite
        raise ValueError("NaN and Infinity are no JSON") from None
    return found


_decoder = json.JSONDecoder(strict=False)
"""Not strict: models write line breaks into strings as they are."""


def _dump(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which only an escape can carry
        return json.dumps(value)
    return text


def _malformed(problem: str, response: LLMResponse, request: LLMRequest) -> NoReturn:
    names = ", ".join(tool.name for tool in request.tools)
    raise MalformedResponseError(f"{problem} The tools are: {names}.", model=response.model, text=response.text)
