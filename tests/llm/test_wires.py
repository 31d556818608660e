"""What is sent to a provider and what comes back, over real sockets, for both wire protocols."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from quarterdeck.errors import ContentFilteredError, MalformedResponseError, ProviderDownError
from quarterdeck.llm import LLMRequest, LLMResponse, OutputSchema, ToolCall, ToolSpec, UsageMetrics
from quarterdeck.llm.send import send
from quarterdeck.testing import LoopbackServer, call, raw, status

MODELS = ["openai/gpt-4o-mini", "anthropic/claude-sonnet-4-5", "claude-3-haiku-20240307"]
OPENAI, ANTHROPIC, OLD_ANTHROPIC = MODELS

LOOKUP = ToolSpec(
    "lookup", "Looks something up.", {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]}
)
SCHEMA = OutputSchema(
    "Point", {"type": "object", "properties": {"x": {"type": "integer"}, "y": {"type": "integer"}}, "required": ["x"]}
)
IMAGE = "data:image/png;base64," + base64.b64encode(b"not really a picture").decode()


def user(text: Any = "hi") -> dict[str, Any]:
    return {"role": "user", "content": text}


@pytest.fixture(params=[False, True], ids=["whole", "streamed"])
def pieces(request: pytest.FixtureRequest) -> list[str] | None:
    """The list that pieces of text come into, or None where the answer is not streamed."""
    return [] if request.param else None


def watcher(pieces: list[str] | None) -> Any:
    return None if pieces is None else pieces.append


@pytest.mark.parametrize("model", MODELS)
async def test_text_usage_and_names(model: str, pieces: list[str] | None) -> None:
    usage = UsageMetrics(
        total_tokens=130,
        prompt_tokens=100,
        cached_prompt_tokens=64,
        completion_tokens=30,
        reasoning_tokens=12,
        cache_creation_tokens=20,
        successful_requests=1,
    )
    said = LLMResponse("Grüße, it works.", usage=usage, response_id="id-7", reasoning="because\nit must")
    with LoopbackServer([said]) as server:
        got = await send(server.llm(model), LLMRequest([user()]), watcher(pieces))
    assert got == LLMResponse(said.text, (), usage, "stop", server.llm(model).model, "id-7", said.reasoning)
    if pieces is not None:
        assert len(pieces) > 1
        assert "".join(pieces) == said.text
    assert server.requests[0].body.get("stream", False) is (pieces is not None)


@pytest.mark.parametrize("model", MODELS)
async def test_parallel_tool_calls(model: str, pieces: list[str] | None) -> None:
    calls = [call("lookup", q='tides "now"'), call("lookup", q="Ebbe\nund Flut")]
    with LoopbackServer([calls]) as server:
        got = await send(server.llm(model), LLMRequest([user()], tools=(LOOKUP,)), watcher(pieces))
    assert [(c.id, c.name, json.loads(c.arguments)) for c in got.tool_calls] == [
        (c.id, c.name, json.loads(c.arguments)) for c in calls
    ]
    assert (got.text, got.finish_reason) == ("", "tool_calls")
    assert server.requests[0].request.tools == (LOOKUP,)


@pytest.mark.parametrize("model", MODELS)
async def test_a_conversation_with_tool_results_arrives_as_it_is(model: str) -> None:
    first = LLMResponse("Let me see.", (call("lookup", q="a"), call("lookup", q="b")))
    conversation = [
        {"role": "system", "content": "Be brief."},
        user("a and b?"),
        first.to_message(),
        {"role": "tool", "tool_call_id": first.tool_calls[0].id, "content": "1"},
        {"role": "tool", "tool_call_id": first.tool_calls[1].id, "content": "2"},
    ]
    with LoopbackServer(["a is 1, b is 2"]) as server:
        await send(server.llm(model), LLMRequest(conversation, tools=(LOOKUP,)))
    assert list(server.requests[0].request.messages) == conversation


@pytest.mark.parametrize("model", MODELS)
async def test_an_answer_held_to_a_schema(model: str, pieces: list[str] | None) -> None:
    with LoopbackServer(['{"x": 1, "y": 2}']) as server:
        got = await send(server.llm(model), LLMRequest([user()], output_schema=SCHEMA), watcher(pieces))
    assert json.loads(got.text) == {"x": 1, "y": 2}
    assert (got.tool_calls, got.finish_reason) == ((), "stop")
    if pieces is not None:
        assert json.loads("".join(pieces)) == {"x": 1, "y": 2}


@pytest.mark.parametrize("model", MODELS)
async def test_a_schema_and_tools_together(model: str, pieces: list[str] | None) -> None:
    request = LLMRequest([user()], tools=(LOOKUP,), output_schema=SCHEMA)
    with LoopbackServer([call("lookup", q="x"), '{"x": 5}']) as server:
        llm = server.llm(model)
        first, second = [await send(llm, request, watcher(pieces)) for _ in range(2)]
    assert [c.name for c in first.tool_calls] == ["lookup"]
    assert (json.loads(second.text), second.tool_calls) == ({"x": 5}, ())
    assert server.requests[0].request.tools == (LOOKUP,)


async def test_how_each_wire_asks_for_a_schema() -> None:
    request = LLMRequest([user()], tools=(LOOKUP,), output_schema=SCHEMA)
    with LoopbackServer(['{"x": 1, "y": 1}'] * 5) as server:
        for model in MODELS:
            await send(server.llm(model), request)
        await send(server.llm(OLD_ANTHROPIC), LLMRequest([user()], output_schema=SCHEMA))
        await send(server.llm("claude-sonnet-4-20250514", reasoning_effort="low"), request)
    openai, native, forced, alone, thinking = [received.body for received in server.requests]
    wanted = {**SCHEMA.schema, "required": ["x", "y"], "additionalProperties": False}
    assert openai["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "Point", "schema": wanted, "strict": True},
    }
    assert native["output_config"] == {"format": {"type": "json_schema", "schema": wanted}}
    assert [tool["name"] for tool in forced["tools"]] == ["lookup", "quarterdeck_answer"]
    assert forced["tools"][1]["input_schema"] == SCHEMA.schema
    assert forced["tool_choice"] == {"type": "any"}
    assert alone["tool_choice"] == {"type": "tool", "name": "quarterdeck_answer"}
    assert "tool_choice" not in thinking  # thinking and a forced tool exclude each other
    assert [tool["name"] for tool in thinking["tools"]] == ["lookup", "quarterdeck_answer"]


async def test_a_schema_that_cannot_be_strict_is_sent_as_it_is() -> None:
    free = OutputSchema("Any thing!", {"type": "object", "additionalProperties": {"type": "string"}})
    with LoopbackServer(["{}", "{}"]) as server:
        await send(server.llm(OPENAI), LLMRequest([user()], output_schema=free))
        await send(server.llm(ANTHROPIC), LLMRequest([user()], output_schema=free))
    openai, anthropic = [received.body for received in server.requests]
    form = openai["response_format"]["json_schema"]
    assert form == {"name": "Any_thing_", "schema": free.schema, "strict": False}
    assert anthropic["tools"][0]["input_schema"] == free.schema


@pytest.mark.parametrize("choice", ["none", "required"])
async def test_tool_choice(choice: Any) -> None:
    with LoopbackServer(["x"] * 2) as server:
        for model in (OPENAI, ANTHROPIC):
            await send(server.llm(model), LLMRequest([user()], tools=(LOOKUP,), tool_choice=choice))
    openai, anthropic = server.requests
    assert openai.body["tool_choice"] == choice
    assert anthropic.body["tool_choice"] == {"type": {"none": "none", "required": "any"}[choice]}


@pytest.mark.parametrize("model", [OPENAI, ANTHROPIC])
async def test_images(model: str) -> None:
    parts = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": IMAGE}},
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
    ]
    with LoopbackServer(["a ship"]) as server:
        await send(server.llm(model), LLMRequest([user(parts)]))
    assert list(server.requests[0].request.messages) == [user(parts)]
    if model == ANTHROPIC:
        sources = [block["source"] for block in server.requests[0].body["messages"][0]["content"][1:]]
        assert [source["type"] for source in sources] == ["base64", "url"]
        assert sources[0]["media_type"] == "image/png"


async def test_settings_in_the_body() -> None:
    penalties = {"presence_penalty": 0.1, "frequency_penalty": 0.2}
    given: dict[str, Any] = {"temperature": 0.0, "top_p": 0.9, "seed": 7, "n": 1, "logprobs": True, **penalties}
    with LoopbackServer(["x"] * 3) as server:
        await send(server.llm(OPENAI, max_tokens=10, stop="END", metadata={"a": 1}, **given), LLMRequest([user()]))
        await send(server.llm("openai/o3-mini", max_tokens=10, reasoning_effort="low"), LLMRequest([user()]))
        await send(server.llm(ANTHROPIC, temperature=0.5, max_tokens=10), LLMRequest([user()], stop=("A", " ")))
    full, reasoning, anthropic = [received.body for received in server.requests]
    assert {**given, "max_tokens": 10, "stop": ["END"], "metadata": {"a": 1}}.items() <= full.items()
    assert (reasoning["max_completion_tokens"], reasoning["reasoning_effort"]) == (10, "low")
    assert "max_tokens" not in reasoning
    assert (anthropic["temperature"], anthropic["max_tokens"], anthropic["stop_sequences"]) == (0.5, 10, ["A"])


async def test_stop_texts_where_the_model_takes_none() -> None:
    with LoopbackServer(["one END two STOP", "a 6 b"]) as server:
        reasoning = server.llm("openai/o3-mini", stop=["STOP"])
        assert (await send(reasoning, LLMRequest([user()], stop=("END",)))).text == "one "
        many = server.llm(OPENAI, stop=["1", "2", "3", "4"])
        assert (await send(many, LLMRequest([user()], stop=("6",)))).text == "a "
    assert "stop" not in server.requests[0].body
    assert server.requests[1].body["stop"] == ["1", "2", "3", "4"]


async def test_the_limit_of_one_request_wins() -> None:
    with LoopbackServer(["x"] * 2) as server:
        for model in (OPENAI, ANTHROPIC):
            await send(server.llm(model, max_tokens=500), LLMRequest([user()], max_tokens=9))
    assert [received.body["max_tokens"] for received in server.requests] == [9, 9]


async def test_reasoning_effort_of_anthropic_models() -> None:
    with LoopbackServer(["x"] * 3) as server:
        for model in ("claude-opus-4-7", "claude-sonnet-4-5", "claude-sonnet-4-5"):
            llm = server.llm(model, reasoning_effort="medium", temperature=0.3, max_tokens=100)
            await send(llm, LLMRequest([user()]))
    adaptive, budget, _ = [received.body for received in server.requests]
    assert (adaptive["thinking"], adaptive["output_config"]) == ({"type": "adaptive"}, {"effort": "medium"})
    assert budget["thinking"] == {"type": "enabled", "budget_tokens": 8192}
    assert budget["max_tokens"] == 8292  # the budget is part of the limit
    assert "temperature" not in budget  # it is not taken together with thinking


async def test_thinking_goes_back_with_the_tool_results() -> None:
    said = LLMResponse("", (call("lookup", q="a"),), reasoning="hm")
    with LoopbackServer([said, "done", "done"]) as server:
        llm = server.llm("claude-sonnet-4-5", reasoning_effort="low")
        first = await send(llm, LLMRequest([user()], tools=(LOOKUP,)))
        restored = ToolCall.from_message_part(json.loads(json.dumps(first.tool_calls[0].to_message_part())))
        for calls in ((restored,), (ToolCall(restored.id, restored.name, restored.arguments),)):
            result = {"role": "tool", "tool_call_id": restored.id, "content": "1"}
            messages = [user(), LLMResponse("", calls).to_message(), result]
            await send(llm, LLMRequest(messages, tools=(LOOKUP,)))
    kept, lost = server.requests[1].body, server.requests[2].body
    assert kept["messages"][1]["content"][0] == {"type": "thinking", "thinking": "hm", "signature": "c2lnbmVk"}
    assert kept["thinking"]["type"] == "enabled"
    assert "thinking" not in lost  # the API refuses to think on without the earlier thoughts


async def test_what_gemini_adds_to_a_call_goes_back_to_gemini_only() -> None:
    signed = ToolCall("c1", "lookup", "{}", {"google": {"thought_signature": "abc"}})
    with LoopbackServer([[signed], "x", "x"]) as server:
        first = await send(server.llm("gemini/gemini-3-pro"), LLMRequest([user()], tools=(LOOKUP,)))
        messages = [user(), first.to_message(), {"role": "tool", "tool_call_id": "c1", "content": "1"}]
        for model in ("gemini/gemini-3-pro", OPENAI):
            await send(server.llm(model), LLMRequest(messages, tools=(LOOKUP,)))
    gemini, openai = [received.body["messages"][1]["tool_calls"][0] for received in server.requests[1:]]
    assert gemini["extra_content"] == {"google": {"thought_signature": "abc"}}
    assert "extra_content" not in openai


async def test_prompt_cache_marks() -> None:
    with LoopbackServer(["x", "x"]) as server:
        llm = server.llm(ANTHROPIC)
        system = {"role": "system", "content": "You are a pilot."}
        await send(llm, LLMRequest([system, user()], tools=(LOOKUP,)))
        await send(llm, LLMRequest([system, user()]))
    agent, single = [received.body for received in server.requests]
    mark = {"type": "ephemeral"}
    assert agent["system"][0]["cache_control"] == mark
    assert agent["messages"][-1]["content"][-1]["cache_control"] == mark
    assert single["system"][0]["cache_control"] == mark
    assert "cache_control" not in single["messages"][-1]["content"][-1]  # nobody comes back for it


@pytest.mark.parametrize(
    ("messages", "turns", "system"),
    [
        ([user("a"), user("b")], [("user", 2)], ""),
        ([{"role": "system", "content": "s"}], [("user", 1)], ""),
        ([{"role": "assistant", "content": "a "}, user("b")], [("user", 1), ("assistant", 1), ("user", 1)], ""),
        ([user("a"), {"role": "assistant", "content": None}, user("b")], [("user", 2)], ""),
        ([user("a"), {"role": "system", "content": "later"}, user("b")], [("user", 2)], "later"),
    ],
)
async def test_conversations_that_anthropic_would_refuse_are_put_right(
    messages: list[dict[str, Any]], turns: list[tuple[str, int]], system: str
) -> None:
    with LoopbackServer(["x"]) as server:
        await send(server.llm(ANTHROPIC), LLMRequest(messages))
    body = server.requests[0].body
    assert [(turn["role"], len(turn["content"])) for turn in body["messages"]] == turns
    assert "".join(block["text"] for block in body.get("system", [])) == system


async def test_arguments_that_are_no_object_go_back_in_one() -> None:
    bad = LLMResponse("", (ToolCall("c1", "lookup", "{broken"),))
    messages = [user(), bad.to_message(), {"role": "tool", "tool_call_id": "c1", "content": "no JSON"}]
    with LoopbackServer(["x"]) as server:
        await send(server.llm(ANTHROPIC), LLMRequest(messages, tools=(LOOKUP,)))
    assert server.requests[0].body["messages"][1]["content"][0]["input"] == {"invalid_arguments": "{broken"}


# -- answers of servers that do not keep to the protocol -----------------------------------------------------


def completion(message: dict[str, Any], **more: Any) -> str:
    return json.dumps({"id": "1", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], **more})


async def test_loose_openai_servers(pieces: list[str] | None) -> None:
    loose = {"role": "assistant", "tool_calls": [{"function": {"name": "lookup", "arguments": {"q": "a"}}}]}
    parts = {"role": "assistant", "content": [{"type": "text", "text": "in "}, {"type": "text", "text": "parts"}]}
    answers = [raw(completion(loose)), raw(completion(parts, usage=None)), raw(completion({"content": "plain"}))]
    with LoopbackServer(answers) as server:
        llm = server.llm(OPENAI)
        calls, text, plain = [await send(llm, LLMRequest([user()]), watcher(pieces)) for _ in range(3)]
    assert calls.tool_calls == (ToolCall("call_0", "lookup", '{"q": "a"}'),)
    assert calls.finish_reason == "tool_calls"
    assert (text.text, text.usage) == ("in parts", UsageMetrics(successful_requests=1))
    assert plain.text == "plain"
    if pieces is not None:
        assert pieces == ["in parts", "plain"]


def events(*data: Any, end: str = "data: [DONE]\n\n") -> Any:
    text = "".join(f"data: {item if isinstance(item, str) else json.dumps(item)}\n\n" for item in data)
    return raw(text + end, "text/event-stream")


def delta(**fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields}]}


async def test_loose_openai_streams() -> None:
    function = {"name": "lookup", "arguments": '{"q": "a"}'}
    unnumbered = events(delta(tool_calls=[{"id": "a", "function": function}, {"id": "b", "function": function}]))
    no_reason = events(delta(content="ab"))
    comments = raw(
        b': hello\r\n\r\ndata:{"choices": [{"delta": {"content": "x"}}]}\r\n\r\ndata:[DONE]', "text/event-stream"
    )
    with LoopbackServer([unnumbered, no_reason, comments]) as server:
        llm = server.llm(OPENAI, stream=True)
        calls, text, noisy = [await send(llm, LLMRequest([user()])) for _ in range(3)]
    assert [c.id for c in calls.tool_calls] == ["a", "b"]
    assert (text.text, noisy.text) == ("ab", "x")


MALFORMED = {
    "no choices": (OPENAI, raw('{"id": "1", "choices": []}'), MalformedResponseError),
    "no content": (ANTHROPIC, raw('{"id": "1"}'), MalformedResponseError),
    "a list": (OPENAI, raw("[1]"), MalformedResponseError),
    "a call without a name": (
        OPENAI,
        raw(completion({"tool_calls": [{"id": "1", "function": {"arguments": "{}"}}]})),
        MalformedResponseError,
    ),
    "a block without a name": (
        ANTHROPIC,
        raw(json.dumps({"content": [{"type": "tool_use", "id": "1", "input": {}}]})),
        MalformedResponseError,
    ),
    "an empty body": (OPENAI, raw(""), ProviderDownError),
    "a page": (OPENAI, raw("<html>bad gateway</html>", "text/html"), ProviderDownError),
    "a refusal": (OPENAI, raw(completion({"content": None, "refusal": "I will not."})), ContentFilteredError),
    "a filtered answer": (OPENAI, LLMResponse("", finish_reason="content_filter"), ContentFilteredError),
    "a refusing model": (ANTHROPIC, LLMResponse("", finish_reason="content_filter"), ContentFilteredError),
    "an error with status 200": (
        OPENAI,
        raw('{"error": {"message": "upstream is down", "code": 502}}'),
        ProviderDownError,
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_answers_that_are_none(name: str) -> None:
    model, answer, error = MALFORMED[name]
    with LoopbackServer([answer]) as server, pytest.raises(error, match=server.llm(model).model):
        await send(server.llm(model, max_retries=0), LLMRequest([user()]))


@pytest.mark.parametrize(
    ("model", "answer", "error"),
    [
        (OPENAI, events(end=""), ProviderDownError),
        (OPENAI, events(delta(content="half of the an"), end=""), ProviderDownError),
        (OPENAI, events(end="data: [DONE]\n\n"), MalformedResponseError),
        (ANTHROPIC, events(end=""), ProviderDownError),
        (ANTHROPIC, events({"type": "message_start", "message": {"id": "1"}}, end=""), ProviderDownError),
        (OPENAI, events({"error": {"message": "overloaded", "type": "server_error"}}), ProviderDownError),
        (
            ANTHROPIC,
            events({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}),
            ProviderDownError,
        ),
        (OPENAI, events("no json"), ProviderDownError),
    ],
)
async def test_streams_that_are_none(model: str, answer: Any, error: type[Exception]) -> None:
    with LoopbackServer([answer]) as server, pytest.raises(error, match=server.llm(model).model):
        await send(server.llm(model, max_retries=0, stream=True), LLMRequest([user()]))


async def test_a_filtered_answer_that_has_a_text_is_kept() -> None:
    with LoopbackServer([LLMResponse("as far as", finish_reason="content_filter")]) as server:
        got = await send(server.llm(OPENAI), LLMRequest([user()]))
    assert (got.text, got.finish_reason) == ("as far as", "content_filter")


class Point(BaseModel):
    x: int
    y: int = 0


@pytest.mark.parametrize("model", MODELS)
async def test_response_format_class_and_dict(model: str) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "Point", "schema": Point.model_json_schema()}}
    with LoopbackServer(['{"x": 1, "y": 1}'] * 2) as server:
        for given_format in (Point, form):
            assert json.loads(await server.llm(model, response_format=given_format).acall("?")) == {"x": 1, "y": 1}
    for received in server.requests:
        assert received.request.output_schema is not None
        assert set(received.request.output_schema.schema["properties"]) == {"x", "y"}


# -- anything goes through -----------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=60)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def echo() -> Iterator[LoopbackServer]:
    """A server that answers with what the last message tells it to."""

    def answer(request: LLMRequest) -> LLMResponse:
        wanted = json.loads(request.messages[0]["content"])
        calls = tuple(ToolCall(f"c{n}", "lookup", json.dumps(a)) for n, a in enumerate(wanted["calls"]))
        return LLMResponse(wanted["text"], calls, finish_reason="tool_calls" if calls else "stop")

    with LoopbackServer(by=answer) as server:
        yield server


@pytest.mark.parametrize("model", [OPENAI, ANTHROPIC])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=texts, calls=st.lists(st.dictionaries(texts, values, max_size=3), max_size=3), streamed=st.booleans())
async def test_any_text_and_any_arguments_come_through(
    echo: LoopbackServer, model: str, text: str, calls: list[dict[str, Any]], streamed: bool
) -> None:
    pieces: list[str] = []
    asked = user(json.dumps({"text": text, "calls": calls}))
    got = await send(echo.llm(model), LLMRequest([asked], tools=(LOOKUP,)), pieces.append if streamed else None)
    assert got.text == text
    assert [json.loads(c.arguments) for c in got.tool_calls] == calls
    assert "".join(pieces) == (text if streamed else "")


async def test_half_of_a_surrogate_pair_does_not_stop_the_conversation() -> None:
    with LoopbackServer([raw(completion({"content": "smile \ud83d"})), "ok"]) as server:
        first = await send(server.llm(), LLMRequest([user()]))
        assert first.text == "smile \ud83d"
        assert (await send(server.llm(), LLMRequest([user(), first.to_message(), user("on")]))).text == "ok"
    assert server.requests[1].body["messages"][1]["content"] == "smile ?"


def test_a_script_that_is_used_up_is_told() -> None:
    with LoopbackServer([status(400, "first")]) as server:
        for text in ("first", "used up"):
            with pytest.raises(Exception, match=text):
                server.llm().call("x")
