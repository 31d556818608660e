"""The text form: Thought, Action, Action Input, Observation, Final Answer."""

from typing import Any

import pytest

from quarterdeck.errors import MalformedResponseError
from quarterdeck.llm.text_protocol import STOP, decode, encode
from quarterdeck.llm.types import LLMRequest, LLMResponse, OutputSchema, ToolCall, ToolSpec

READ = ToolSpec(
    "read_file",
    "Reads a file.",
    {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
)
NOW = ToolSpec("now", "The time.", {"type": "object", "properties": {}})
CALL = 'Thought: I need the file.\nAction: read_file\nAction Input: {"path": "a.txt"}'


def request(messages: list[dict[str, Any]] | None = None, **kwargs: Any) -> LLMRequest:
    return LLMRequest(messages or [{"role": "user", "content": "Go."}], tools=[READ, NOW], **kwargs)


def read(text: str, **kwargs: Any) -> LLMResponse:
    return decode(LLMResponse(text=text), request(**kwargs), schema=False)


def test_the_request_has_the_tools_the_form_and_a_stop_word() -> None:
    encoded = encode(request(stop=["END"], output_schema=OutputSchema("N", {"type": "object"})), schema=False)

    assert (encoded.tools, encoded.output_schema, list(encoded.stop)) == ((), None, ["END", STOP])
    system = encoded.messages[0]["content"]
    for part in ("read_file: Reads a file.", '"path"', "Action Input:", "Final Answer:", '{"type": "object"}'):
        assert part in system


@pytest.mark.parametrize(
    ("text", "name", "arguments"),
    [
        (CALL, "read_file", '{"path": "a.txt"}'),
        (CALL + "\nObservation: made up\nThought: so\nFinal Answer: made up", "read_file", '{"path": "a.txt"}'),
        ('Action: read_file\nAction Input:\n```json\n{"path": "a"}\n```\nThat is it.', "read_file", '{"path": "a"}'),
        ('**Action:** `read_file`\n**Action Input:** {"path": "a"}', "read_file", '{"path": "a"}'),
        ('Action 1: read_file\nAction 1 Input: {"path": "a"}', "read_file", '{"path": "a"}'),
        ('Action: [read_file]\nAction Input: {"path": "two\nlines"}', "read_file", '{"path": "two\\nlines"}'),
        (CALL + "\nAction: now\nAction Input: {}", "read_file", '{"path": "a.txt"}'),
        ('Action: read_file\nAction Input: {"path": "Final Answer: 4"}', "read_file", '{"path": "Final Answer: 4"}'),
        ('Action: Read File\nAction Input: {"path": "a"}', "read_file", '{"path": "a"}'),
        ('Action: ReadFile\nAction Input: {"path": "a"}', "read_file", '{"path": "a"}'),
        ("Action: read_file\nAction Input: {'path': 'a',}  # so", "read_file", '{"path": "a"}'),
        ("Action: now", "now", "{}"),
        ("Action: now\nAction Input: None", "now", "{}"),
    ],
)
def test_an_action_is_a_tool_call(text: str, name: str, arguments: str) -> None:
    response = read(text)

    assert response.tool_calls == (ToolCall("call_0", name, arguments),)
    assert response.finish_reason == "tool_calls"
    assert "made up" not in response.text
    assert response.text == text[: len(response.text)], "the model's own wording"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Thought: done\nFinal Answer: 42", "42"),
        ("Final Answer: 1\nFinal Answer: 2\nand more", "2\nand more"),
        ("I know it. Final Answer: 42", "42"),
        (CALL + "\nFinal Answer: 42", "42"),
        ("Final Answer: the log says\nObservation: calm", "the log says\nObservation: calm"),
        ("**Final Answer:** 42", "42"),
        ("```\nThought: done\nFinal Answer: 42\n```", "42"),
        ("Final Answer: so:\n```\nx\n```", "so:\n```\nx\n```"),
        ("Final Answer: * one\n* two", "* one\n* two"),
        ("  Just an answer.\n", "Just an answer."),
    ],
)
def test_a_final_answer_wins_and_plain_text_is_one(text: str, answer: str) -> None:
    response = read(text)
    assert (response.text, response.tool_calls) == (answer, ())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("   ", "empty"),
        ("Thought: hm", 'neither an "Action:" nor a "Final Answer:"'),
        ("Action: write_file\nAction Input: {}", "no tool 'write_file'"),
        ("Action:\nAction Input: {}", "no tool ''"),
        ("Action: read_file", 'no "Action Input:"'),
        ("Action: read_file\nAction Input: a.txt", "no JSON object"),
        ('Action: read_file\nAction Input: {"path": "a', "JSON cannot be read"),
        ("Action: read_file\nAction Input: {'path': NaN}", "JSON cannot be read"),
        ('Action Input: {"path": "a"}', 'no "Action:" line'),
    ],
)
def test_what_cannot_be_used_is_said_to_the_model(text: str, problem: str) -> None:
    with pytest.raises(MalformedResponseError, match=problem) as caught:
        read(text)
    assert "The tools are: read_file, now." in str(caught.value)
    assert caught.value.text == text


def test_tool_choice_is_kept_to() -> None:
    assert read("Action: now", tool_choice="none").text == "Action: now"
    assert read("Thought: so\nFinal Answer: 4", tool_choice="none").text == "4"
    assert read("Final Answer: 4\nAction: now", tool_choice="required").tool_calls[0].name == "now"
    for answer in ("Final Answer: 4", "4"):
        with pytest.raises(MalformedResponseError, match="must be called before"):
            read(answer, tool_choice="required")


def test_history_keeps_the_models_words_and_a_user_turn_follows() -> None:
    called = read(CALL)
    asked = request(
        [
            {"role": "user", "content": "Go."},
            called.to_message(),
            {"role": "tool", "tool_call_id": "call_0", "content": "hello"},
        ]
    )
    assistant, user = list(encode(asked, schema=False).messages)[2:]
    assert assistant == {"role": "assistant", "content": f"{CALL}\nObservation: hello"}
    assert user["role"] == "user"

    told = request([*asked.messages, {"role": "user", "content": "Answer now."}])
    assert list(encode(told, schema=False).messages)[3:] == [{"role": "user", "content": "Answer now."}]


def test_history_of_a_model_with_tool_calls_is_written_in_this_form() -> None:
    calls = (ToolCall("a", "read_file", '{"path": "x"}'), ToolCall("b", "now", ""))
    asked = request(
        [
            LLMResponse(text="Let me see.", tool_calls=calls).to_message(),
            {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": "text of x"}]},
            {"role": "tool", "tool_call_id": "b", "content": "noon"},
        ]
    )
    turns = [m["content"] for m in encode(asked, schema=False).messages if m["role"] == "assistant"]
    assert turns == [
        'Thought: Let me see.\nAction: read_file\nAction Input: {"path": "x"}\nObservation: text of x',
        "Thought: Let me see.\nAction: now\nAction Input: {}\nObservation: noon",
    ]


def test_a_system_message_of_parts_gets_one_more() -> None:
    parts = [{"type": "text", "text": "You read."}]
    messages = encode(request([{"role": "system", "content": parts}]), schema=False).messages
    assert messages[0]["content"][0] == parts[0]
    assert "read_file" in messages[0]["content"][1]["text"]
    assert len(parts) == 1, "the caller's message is left alone"
