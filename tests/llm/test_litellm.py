"""Models through LiteLLM: over real sockets where it is installed, the clear error where it is not."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from quarterdeck.errors import (
    AuthenticationError,
    BadRequestError,
    ConfigError,
    ContextTooLongError,
    LLMError,
    LLMTimeoutError,
    ProviderDownError,
    RateLimitError,
)
from quarterdeck.llm import LLM, LLMRequest, LLMResponse, OutputSchema, ToolSpec, UsageMetrics
from quarterdeck.llm.send import send
from quarterdeck.testing import LoopbackServer, after, call, drop, status

installed = importlib.util.find_spec("litellm") is not None
needs_it = [
    pytest.mark.skipif(not installed, reason="litellm is not installed"),
    pytest.mark.filterwarnings("ignore"),  # its own
]
ASK = LLMRequest([{"role": "user", "content": "hi"}])


def through_litellm(server: LoopbackServer, **settings: Any) -> LLM:
    return server.llm("openai/gpt-4o-mini", is_litellm=True, **settings)


@pytest.mark.skipif(installed, reason="litellm is installed")
@pytest.mark.parametrize("model", ["bedrock/anthropic.claude-3", "snowflake/llama", "acme/model-1"])
def test_without_the_extra_the_error_says_which(model: str) -> None:
    with pytest.raises(ConfigError, match=r"pip install 'quarterdeck\[litellm\]'") as caught:
        LLM(model)
    assert repr(model) in str(caught.value)


class TestWithLiteLLM:
    pytestmark = needs_it

    @pytest.mark.parametrize("streamed", [False, True])
    async def test_calls(self, streamed: bool) -> None:
        usage = UsageMetrics(
            total_tokens=12, prompt_tokens=9, cached_prompt_tokens=4, completion_tokens=3, successful_requests=1
        )
        tool = ToolSpec("lookup", "Looks up.", {"type": "object", "properties": {"q": {"type": "string"}}})
        pieces: list[str] = []
        with LoopbackServer([LLMResponse("Hello there.", usage=usage), [call("lookup", q="ü")] * 2]) as server:
            llm = through_litellm(server)
            text = await send(llm, ASK, pieces.append if streamed else None)
            request = LLMRequest(ASK.messages, tools=(tool,), step_key="k")
            calls = await send(llm, request, pieces.append if streamed else None)
        assert (text.text, text.finish_reason) == ("Hello there.", "stop")
        if not streamed:  # in a stream it keeps the cached tokens to itself
            assert text.usage == usage
        assert [c.arguments for c in calls.tool_calls] == ['{"q": "ü"}'] * 2
        assert "".join(pieces) == ("Hello there." if streamed else "")
        assert server.requests[1].request.tools == (tool,)
        assert server.keys == {"k": 1}

    async def test_schema_and_settings(self) -> None:
        schema = OutputSchema("P", {"type": "object", "properties": {"x": {"type": "integer"}}})
        with LoopbackServer(['{"x": 1}']) as server:
            got = await send(through_litellm(server, temperature=0.5), LLMRequest(ASK.messages, output_schema=schema))
        assert got.text == '{"x": 1}'
        assert server.requests[0].body["temperature"] == 0.5
        assert server.requests[0].body["response_format"]["json_schema"]["strict"] is True

    @pytest.mark.parametrize(
        ("answer", "kind"),
        [
            (status(400, "bad"), BadRequestError),
            (status(400, "maximum context length", code="context_length_exceeded"), ContextTooLongError),
            (status(401, "no"), AuthenticationError),
            (status(429, "slow down"), RateLimitError),
            (status(503, "down"), ProviderDownError),
            (drop(), ProviderDownError),
            (after(5, "late"), LLMTimeoutError),
        ],
    )
    async def test_failures(self, answer: Any, kind: type[LLMError]) -> None:
        with LoopbackServer([answer]) as server, pytest.raises(kind) as caught:
            await send(through_litellm(server, max_retries=0, timeout=2), ASK)
        assert len(server.requests) == 1
        assert "loopback-key" not in str(caught.value)

    async def test_retry_after(self) -> None:
        with LoopbackServer([status(429, retry_after=0), "ok"]) as server:
            assert (await send(through_litellm(server), ASK)).text == "ok"

    def test_what_it_knows_of_a_model(self) -> None:
        known = LLM("bedrock/moonshotai.kimi-k2.5")
        assert known.supports_function_calling()
        assert known.get_context_window_size() >= 100_000
        usage = UsageMetrics(prompt_tokens=1000, completion_tokens=1000)
        assert (known.cost(usage) or 0) > 0
        unknown = LLM("acme/model-1")
        assert (unknown.cost(usage), unknown.get_context_window_size()) == (None, 0)
