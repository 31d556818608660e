"""record and replay: real calls once, then none."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quarterdeck.errors import ConfigError, RateLimitError
from quarterdeck.llm import LLMRequest, LLMResponse, OutputSchema, ToolCall, ToolSpec, UsageMetrics
from quarterdeck.llm.send import send
from quarterdeck.testing import LoopbackServer, ScriptedLLM, call, record, replay, status


def asking(text: str, **more: Any) -> LLMRequest:
    return LLMRequest([{"role": "user", "content": text}], **more)


TOOL = ToolSpec("lookup", "Looks up.", {"type": "object"})
SCHEMA = OutputSchema("P", {"type": "object", "properties": {"x": {"type": "integer"}}})


async def test_what_was_recorded_is_replayed_with_no_server(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "crew.json"
    requests = [
        asking("Grüße?"),
        asking("use it", tools=(TOOL,), step_key="run-1"),
        asking("json", output_schema=SCHEMA),
    ]
    answers = [LLMResponse("Grüße!", reasoning="hm"), call("lookup", q="ü"), '{"x": 1}']
    with LoopbackServer(answers) as server:
        llm = server.llm(api_key="sk-very-secret-key")
        with record(path):
            live = [await send(llm, request) for request in requests]
    pieces: list[str] = []
    with replay(path):
        got = [await send(llm, request, pieces.append) for request in [*requests[1:], requests[0]]]
    assert got == [*live[1:], live[0]]
    assert pieces == ['{"x": 1}', "Grüße!"]
    text = path.read_text()
    assert "sk-very-secret-key" not in text
    assert server.base_url not in text
    assert "Grüße?" in text  # readable in a diff


async def test_a_run_has_another_step_key_and_the_same_answers(tmp_path: Path) -> None:
    with record(tmp_path / "a.json"):
        await send(ScriptedLLM(["ok"]), asking("x", step_key="run-1/llm/1"))
    with replay(tmp_path / "a.json"):
        assert (await send(ScriptedLLM([]), asking("x", step_key="run-2/llm/1"))).text == "ok"


@pytest.mark.parametrize(
    "other",
    [
        asking("y"),
        asking("x", tools=(TOOL,)),
        asking("x", output_schema=SCHEMA),
        asking("x", stop=("END",)),
        asking("x", max_tokens=5),
    ],
)
async def test_a_call_that_is_not_on_the_cassette(tmp_path: Path, other: LLMRequest) -> None:
    path = tmp_path / "a.json"
    with record(path):
        await send(ScriptedLLM(["ok"]), asking("x"))
    with replay(path), pytest.raises(AssertionError, match=r"a\.json: this call of 'scripted' is not on the cassette"):
        await send(ScriptedLLM(["unused"]), other)
    with replay(path), pytest.raises(AssertionError, match="of 'another' is not on the cassette"):
        await send(ScriptedLLM([], model="another"), asking("x"))


async def test_the_same_call_gets_its_answers_in_order_and_no_more(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with record(path):
        llm = ScriptedLLM(["one", "two"])
        for _ in range(2):
            await send(llm, asking("x"))
    with replay(path):
        assert [(await send(llm, asking("x"))).text for _ in range(2)] == ["one", "two"]
        with pytest.raises(AssertionError, match="answered as often as it was recorded"):
            await send(llm, asking("x"))


async def test_only_answers_are_kept_and_an_error_does_not_lose_them(tmp_path: Path) -> None:
    path = tmp_path / "a.json"

    async def work(server: LoopbackServer) -> None:
        with record(path):
            await send(server.llm(), asking("x"))
            await send(server.llm(max_retries=0), asking("y"))

    refusal = status(429, retry_after=0)
    with LoopbackServer([refusal, "ok", refusal]) as server, pytest.raises(RateLimitError):
        await work(server)
    assert [entry["response"]["text"] for entry in json.loads(path.read_text())["calls"]] == ["ok"]


async def test_calls_at_once_and_in_tasks(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    llm = ScriptedLLM(by=lambda request: "re " + request.messages[0]["content"])
    with record(path):
        await asyncio.gather(*(send(llm, asking(str(n))) for n in range(30)))
    with replay(path):
        got = await asyncio.gather(*(send(ScriptedLLM([]), asking(str(n))) for n in range(30)))
    assert [response.text for response in got] == [f"re {n}" for n in range(30)]


def test_sync_calls_are_on_it_too(tmp_path: Path) -> None:
    with record(tmp_path / "a.json"):
        assert ScriptedLLM(["ok"]).call("x") == "ok"
    with replay(tmp_path / "a.json"):
        assert ScriptedLLM([]).call("x") == "ok"
    with pytest.raises(AssertionError, match="has 0 answers"):  # the block has ended
        ScriptedLLM([]).call("x")


@pytest.mark.parametrize(
    ("text", "told"), [(None, "there is no cassette"), ("no json", "is no cassette"), ("[]", "is no cassette")]
)
def test_files_that_are_none(tmp_path: Path, text: str | None, told: str) -> None:
    path = tmp_path / "a.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=told), replay(path):
        pass


texts = st.text(max_size=30)
calls = st.builds(ToolCall, texts, texts, texts, st.none() | st.just({"a": [1]}))
responses = st.builds(
    LLMResponse,
    text=texts,
    tool_calls=st.lists(calls, max_size=2).map(tuple),
    usage=st.builds(UsageMetrics, prompt_tokens=st.integers(0, 9), reasoning_tokens=st.integers(0, 9)),
    finish_reason=st.sampled_from(["stop", "length", "tool_calls"]),
    model=texts,
    response_id=st.none() | st.text(min_size=1),
    reasoning=st.none() | st.text(min_size=1),
)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(response=responses, asked=texts)
async def test_any_answer_comes_back_as_it_was(tmp_path: Path, response: LLMResponse, asked: str) -> None:
    path = tmp_path / "a.json"
    with record(path):
        await send(ScriptedLLM([response]), asking(asked))
    with replay(path):
        assert await send(ScriptedLLM([]), asking(asked)) == response
