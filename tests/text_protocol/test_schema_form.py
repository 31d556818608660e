"""The schema form: one JSON object an answer, for providers that hold a model to a JSON schema."""

import json
from typing import Any

import pytest

from quarterdeck.errors import MalformedResponseError
from quarterdeck.llm.text_protocol import decode, encode, repair_message
from quarterdeck.llm.types import LLMRequest, LLMResponse, OutputSchema, ToolCall, ToolSpec

READ = ToolSpec(
    "read_file",
    "Reads a file.",
    {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
)
NOW = ToolSpec("now", "The time.", {"type": "object", "properties": {}})


def request(messages: list[dict[str, Any]] | None = None, **kwargs: Any) -> LLMRequest:
    return LLMRequest(messages or [{"role": "user", "content": "Go."}], tools=[READ, NOW], **kwargs)


def step(tool: str, arguments: Any) -> LLMResponse:
    return LLMResponse(text=json.dumps({"tool": tool, "arguments": arguments}), model="m")


def test_the_request_has_rules_and_a_schema_in_place_of_tools() -> None:
    encoded = encode(
        request([{"role": "system", "content": "You read."}, {"role": "user", "content": "Go."}]), schema=True
    )

    assert (encoded.tools, encoded.tool_choice, list(encoded.stop)) == ((), "auto", [])
    system, user = encoded.messages
    assert system["content"].startswith("You read.\n\n")
    assert "read_file: Reads a file." in system["content"]
    assert user == {"role": "user", "content": "Go."}
    assert encoded.output_schema is not None
    calls_and_answer = encoded.output_schema.schema["anyOf"]
    assert [part["properties"].get("tool") for part in calls_and_answer] == [
        {"const": "read_file"},
        {"const": "now"},
        None,
    ]
    assert calls_and_answer[0]["properties"]["arguments"] == READ.parameters
    assert calls_and_answer[2]["properties"] == {"answer": {"type": "string"}}


@pytest.mark.parametrize(("choice", "keys"), [("none", [["answer"]]), ("required", [["tool", "arguments"]] * 2)])
def test_tool_choice_narrows_the_schema_and_leaves_the_prompt(choice: Any, keys: list[list[str]]) -> None:
    encoded = encode(request(tool_choice=choice), schema=True)

    assert encoded.output_schema is not None
    schema = encoded.output_schema.schema
    assert [part["required"] for part in schema.get("anyOf", [schema])] == keys
    assert encoded.messages == encode(request(), schema=True).messages


def test_a_wanted_schema_takes_the_place_of_the_text_answer() -> None:
    answer = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    asked = request(output_schema=OutputSchema("N", answer))

    encoded = encode(asked, schema=True)
    assert encoded.output_schema is not None
    assert encoded.output_schema.schema["anyOf"][-1]["properties"] == {"answer": answer}
    assert decode(LLMResponse(text='{"answer": {"n": 3}}'), asked, schema=True).text == '{"n": 3}'


def test_references_still_lead_somewhere_inside_the_larger_schema() -> None:
    node = {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]}}}
    tree = ToolSpec(
        "walk", "", {"type": "object", "properties": {"node": {"$ref": "#/$defs/Node"}}, "$defs": {"Node": node}}
    )
    encoded = encode(LLMRequest([], tools=[tree, READ]), schema=True)

    assert encoded.output_schema is not None
    schema = encoded.output_schema.schema
    references: list[str] = []

    def collect(part: Any) -> None:
        for key, value in part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ():
            references.append(value) if key == "$ref" else collect(value)

    collect(schema)
    assert len(references) == 3
    for reference in references:
        place = schema
        for name in reference.removeprefix("#/").split("/"):
            place = place[name]
        assert place["type"] == "object"
    assert tree.parameters["properties"]["node"] == {"$ref": "#/$defs/Node"}, "the tool's own schema is left alone"


def test_calls_and_results_become_turns_in_the_same_form() -> None:
    calls = [ToolCall("a", "read_file", '{"path": "x"}'), ToolCall("b", "now", "")]
    asked = request(
        [
            {"role": "user", "content": "Go."},
            LLMResponse(tool_calls=tuple(calls)).to_message(),
            {"role": "tool", "tool_call_id": "b", "content": "noon"},
            {"role": "tool", "tool_call_id": "a", "content": "text of x"},
        ]
    )
    assert list(encode(asked, schema=True).messages)[2:] == [
        {"role": "assistant", "content": '{"tool": "read_file", "arguments": {"path": "x"}}'},
        {"role": "user", "content": "Result of read_file:\ntext of x"},
        {"role": "assistant", "content": '{"tool": "now", "arguments": {}}'},
        {"role": "user", "content": "Result of now:\nnoon"},
    ]


def test_a_call_is_numbered_by_its_place_in_the_conversation() -> None:
    first = decode(step("now", {}), request(), schema=True)
    assert first.tool_calls == (ToolCall("call_0", "now", "{}"),)
    assert (first.text, first.finish_reason) == ("", "tool_calls")

    later = request([first.to_message(), {"role": "tool", "tool_call_id": "call_0", "content": "noon"}])
    assert decode(step("now", {}), later, schema=True).tool_calls[0].id == "call_1"


@pytest.mark.parametrize(
    ("text", "choice", "problem"),
    [
        ("", "auto", "empty"),
        ("I think so", "auto", "no JSON object"),
        ('{"tool": "read_file", "argu', "auto", "JSON cannot be read"),
        ('{"tool": "write_file", "arguments": {}}', "auto", "no tool 'write_file'"),
        ('{"tool": "read_file", "arguments": "x"}', "auto", "no JSON object"),
        ('{"path": "x"}', "auto", 'neither "tool" nor "answer"'),
        ('{"answer": "x"}', "required", "must be called before"),
        ('{"tool": "now", "arguments": {}}', "none", "give the final answer"),
        ('{"answer": NaN}', "auto", "NaN and Infinity are no JSON"),
        ('{"answer": 1e999}', "auto", "JSON cannot be read"),
        ('{"answer": ' + "[" * 100_000, "auto", "nested too deeply"),
    ],
)
def test_what_cannot_be_used_is_said_to_the_model(text: str, choice: Any, problem: str) -> None:
    with pytest.raises(MalformedResponseError, match=problem) as caught:
        decode(LLMResponse(text=text, model="m"), request(tool_choice=choice), schema=True)

    assert (caught.value.text, caught.value.model) == (text, "m")
    repair = repair_message(caught.value)
    assert repair["role"] == "user"
    assert problem in repair["content"]
    assert "The tools are: read_file, now." in repair["content"]


def test_an_answer_that_was_cut_off_is_told_to_be_shorter() -> None:
    cut = LLMResponse(text='{"answer": "once upon', finish_reason="length")
    with pytest.raises(MalformedResponseError, match="cut off: write less"):
        decode(cut, request(), schema=True)


def test_without_tools_nothing_changes() -> None:
    plain = LLMRequest([{"role": "user", "content": "Hi."}], output_schema=OutputSchema("N", {"type": "object"}))
    assert encode(plain, schema=True) == plain
    response = LLMResponse(text='{"tool": 1}')
    assert decode(response, plain, schema=True) is response
