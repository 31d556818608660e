"""For any names, arguments and texts: what is encoded is decoded, and only one kind of error comes out."""

import json
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.errors import MalformedResponseError
from quarterdeck.llm.text_protocol import decode, encode
from quarterdeck.llm.types import LLMRequest, LLMResponse, Message, ToolCall, ToolSpec

names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,30}", fullmatch=True)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.text(), json_values, max_size=4)
markers = ["Thought:", "Action:", "Action Input:", "Observation:", "Final Answer:", "\n", "t", "```json\n"]
of_json = [
    "{",
    "}",
    '{"a": 1}',
    '"tool"',
    '"arguments"',
    '"answer"',
    ":",
    ",",
    "[",
    '"',
    "\\",
    "1e999",
    "NaN",
    "\ud800",
]
pieces = st.sampled_from([*markers, *of_json])
texts = st.text() | st.lists(pieces | st.text(max_size=5), max_size=12).map("".join)


def request(name: str, messages: list[Message] | None = None) -> LLMRequest:
    properties: dict[str, Any] = {"a": {"type": "string"}}
    return LLMRequest(messages or [], tools=[ToolSpec(name, "", {"type": "object", "properties": properties})])


@given(name=names, arguments=objects, schema=st.booleans())
def test_a_call_comes_through_history_and_back(name: str, arguments: dict[str, Any], schema: bool) -> None:
    call = ToolCall("x", name, json.dumps(arguments))
    history = [
        LLMResponse(tool_calls=(call,)).to_message(),
        {"role": "tool", "tool_call_id": "x", "content": "the result"},
    ]
    encoded = encode(request(name, history), schema=schema)
    written = next(m for m in encoded.messages if m["role"] == "assistant")["content"]

    response = decode(LLMResponse(text=written), request(name), schema=schema)
    assert [(c.name, json.loads(c.arguments)) for c in response.tool_calls] == [(name, arguments)]

    # And once more: the decoded response, as the next request's history, reads the same.
    again = [response.to_message(), {"role": "tool", "tool_call_id": "call_0", "content": "the result"}]
    rendered = next(m for m in encode(request(name, again), schema=schema).messages if m["role"] == "assistant")
    assert decode(LLMResponse(text=rendered["content"]), request(name), schema=schema) == response


@given(answer=st.text(min_size=1))
def test_an_answer_comes_through(answer: str) -> None:
    in_schema = LLMResponse(text=json.dumps({"answer": answer}))
    assert decode(in_schema, request("f"), schema=True).text == answer
    if "Final Answer" not in answer:
        in_text = LLMResponse(text=f"Thought: so\nFinal Answer: {answer}")
        assert decode(in_text, request("f"), schema=False).text == answer.strip()


@given(text=texts, choice=st.sampled_from(["auto", "none", "required"]), schema=st.booleans())
def test_only_one_error_and_only_what_was_asked_for(text: str, choice: Any, schema: bool) -> None:
    asked = replace(request("t"), tool_choice=choice)
    try:
        response = decode(LLMResponse(text=text), asked, schema=schema)
    except MalformedResponseError:
        return
    for call in response.tool_calls:
        assert call.name == "t"
        assert isinstance(json.loads(call.arguments), dict)
        call.arguments.encode()
    assert not (choice == "required" and not response.tool_calls)
    assert not (choice == "none" and response.tool_calls)
