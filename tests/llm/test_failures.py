"""Every kind of failure: its typed error, whether it is tried again, and the three time limits."""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import socket
import sys
import time
from typing import Any

import pytest

from quarterdeck.errors import (
    AuthenticationError,
    BadRequestError,
    ConfigError,
    ContentFilteredError,
    ContextTooLongError,
    LLMError,
    LLMTimeoutError,
    ProviderDownError,
    RateLimitError,
)
from quarterdeck.llm import LLM, BaseLLM, LLMRequest, LLMResponse, OnDelta
from quarterdeck.llm.send import LONGEST_WAIT, send
from quarterdeck.testing import LoopbackServer, after, drop, raw, slow, status

sending = sys.modules["quarterdeck.llm.send"]
OPENAI, ANTHROPIC = "openai/gpt-4o-mini", "anthropic/claude-sonnet-4-5"
ASK = LLMRequest([{"role": "user", "content": "hi"}])


class Retries(list[tuple[LLMError, int, float]]):
    """What ``on_retry`` was told."""

    def __call__(self, error: LLMError, attempt: int, wait: float) -> None:
        self.append((error, attempt, wait))


ONCE = [
    (400, "Invalid 'temperature'", None, BadRequestError),
    (400, "maximum context length is 8192 tokens", "context_length_exceeded", ContextTooLongError),
    (400, "prompt is too long: 210000 tokens > 200000 maximum", None, ContextTooLongError),
    (400, "the request exceeds the available context size (4096 tokens)", None, ContextTooLongError),
    (413, "Request exceeds the maximum size", "request_too_large", ContextTooLongError),
    (400, "The response was filtered", "content_filter", ContentFilteredError),
    (400, "Output blocked by content filtering policy", None, ContentFilteredError),
    (401, "Incorrect API key provided", "invalid_api_key", AuthenticationError),
    (403, "Country not supported", None, AuthenticationError),
    (404, "The model does not exist", "model_not_found", BadRequestError),
    (422, "extra fields not permitted", None, BadRequestError),
    (429, "You exceeded your current quota", "insufficient_quota", RateLimitError),
    (402, "Insufficient Balance", None, RateLimitError),
]


@pytest.mark.parametrize("model", [OPENAI, ANTHROPIC])
@pytest.mark.parametrize(("code", "message", "name", "kind"), ONCE)
async def test_failures_that_stay_are_not_tried_again(
    model: str, code: int, message: str, name: str | None, kind: type[LLMError]
) -> None:
    with LoopbackServer([status(code, message, code=name), "too late"]) as server, pytest.raises(kind) as caught:
        await send(server.llm(model), ASK)
    error = caught.value
    assert type(error) is kind
    assert (error.status, error.model, error.retryable) == (code, server.llm(model).model, False)
    for part in (model, str(code), message):
        assert part in str(error)
    assert len(server.requests) == 1


@pytest.mark.parametrize("model", [OPENAI, ANTHROPIC])
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("answer", "kind", "code"),
    [
        (status(408, "slow", retry_after=0), ProviderDownError, 408),
        (status(409, "conflict", retry_after=0), ProviderDownError, 409),
        (status(429, "slow down", retry_after=0), RateLimitError, 429),
        (status(500, "oops", retry_after=0), ProviderDownError, 500),
        (status(503, "busy", retry_after=0), ProviderDownError, 503),
        (status(529, "overloaded", code="overloaded_error", retry_after=0), ProviderDownError, 529),
        (drop(), ProviderDownError, None),
        (drop("half an answer", after=30), ProviderDownError, None),
        (raw("<html>", "text/html"), ProviderDownError, None),
    ],
)
async def test_failures_that_may_pass_are_tried_again(
    model: str, streamed: bool, answer: Any, kind: type[LLMError], code: int | None, quick: None
) -> None:
    retries, pieces = Retries(), []
    with LoopbackServer([answer, answer, "done"]) as server:
        got = await send(server.llm(model), ASK, pieces.append if streamed else None, retries)
        assert got.text == "done"
    assert [(type(error), error.status, attempt) for error, attempt, _ in retries] == [(kind, code, 1), (kind, code, 2)]
    with LoopbackServer([answer, answer, answer]) as server, pytest.raises(kind):
        await send(server.llm(model, max_retries=1), ASK)
    assert len(server.requests) == 2


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short waits where the provider names none."""
    monkeypatch.setattr(sending, "FIRST_WAIT", 0.01)


@pytest.mark.parametrize("value", [0.3, "date"])
async def test_retry_after_is_kept(value: Any) -> None:
    if value == "date":
        value = email.utils.formatdate(time.time() + 1.99, usegmt=True)  # whole seconds: 1 to 2 from now
    retries = Retries()
    with LoopbackServer([status(429, retry_after=value), "ok"]) as server:
        start = time.monotonic()
        await send(server.llm(), ASK, on_retry=retries)
        assert time.monotonic() - start >= 0.3
    [(error, _, wait)] = retries
    assert error.retry_after is not None
    assert error.retry_after >= 0.3
    assert error.retry_after <= wait <= error.retry_after * 1.1


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({"retry-after-ms": "20", "Retry-After": "9"}, 0.02), ({"Retry-After": "soon"}, None), ({"Retry-After": "-1"}, 0)],
)
async def test_other_forms_of_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    with LoopbackServer([status(429, headers=headers)]) as server, pytest.raises(RateLimitError) as caught:
        await send(server.llm(max_retries=0), ASK)
    assert caught.value.retry_after == seconds


async def test_waits_grow_are_random_and_have_a_bound() -> None:
    waits: dict[int, list[float]] = {}
    for answer in (status(500), status(429, retry_after=9999)):
        with LoopbackServer(by=lambda _, answer=answer: answer) as server:

            async def give_up(number: int, llm: LLM = server.llm(max_retries=20)) -> None:  # noqa: B008
                def keep(error: LLMError, attempt: int, wait: float) -> None:
                    waits.setdefault(attempt if error.retry_after is None else 0, []).append(wait)
                    raise KeyError  # the wait itself is not awaited

                with pytest.raises(KeyError):
                    await send(llm, ASK, on_retry=keep)

            await asyncio.gather(*(give_up(n) for n in range(20)))
    assert all(0 <= wait <= 0.5 for wait in waits[1])
    assert len(set(waits[1])) > 10
    assert waits[0] == [LONGEST_WAIT] * 20


# -- the three time limits -----------------------------------------------------------------------------------


async def test_the_whole_call_limit_covers_an_answer_that_trickles() -> None:
    with LoopbackServer([slow("a long answer " * 40, pause=0.05)] * 2) as server:
        for pieces in (None, []):
            start = time.monotonic()
            with pytest.raises(LLMTimeoutError, match=r"no answer within timeout=0\.3 s"):
                await send(server.llm(timeout=0.3, max_retries=0), ASK, pieces if pieces is None else pieces.append)
            assert time.monotonic() - start > 0.25


async def test_the_whole_call_limit_is_each_trys_own() -> None:
    with LoopbackServer([after(5, "late"), "ok"]) as server:
        assert (await send(server.llm(timeout=0.5), ASK)).text == "ok"
    assert len(server.requests) == 2


async def test_the_read_limit_is_between_bytes() -> None:
    with LoopbackServer([after(5, "late"), slow("many words come, one by one", pause=0.1)]) as server:
        llm = server.llm(read_timeout=0.4, max_retries=0, stream=True)
        start = time.monotonic()
        with pytest.raises(LLMTimeoutError, match=r"no byte for 0\.4 s"):
            await send(llm, ASK)
        assert time.monotonic() - start < 4
        start = time.monotonic()
        assert (await send(llm, ASK)).text == "many words come, one by one"
        assert time.monotonic() - start > 0.4


async def test_the_connect_limit() -> None:
    with socket.socket() as listener, contextlib.ExitStack() as queue:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        for _ in range(4):  # a listener whose queue is full lets further connections hang
            waiting = queue.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(address)
        llm = LLM(OPENAI, base_url=f"http://127.0.0.1:{address[1]}", connect_timeout=0.3, max_retries=0)
        start = time.monotonic()
        with pytest.raises(LLMTimeoutError, match=r"no connection within 0\.3 s"):
            await send(llm, ASK)
        assert time.monotonic() - start < 10


async def test_no_limits() -> None:
    with LoopbackServer([after(0.2, "ok")]) as server:
        assert (await send(server.llm(timeout=None, connect_timeout=None), ASK)).text == "ok"


# -- no server, no key, no URL -------------------------------------------------------------------------------


async def test_nobody_listens() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    llm = LLM(OPENAI, base_url=f"http://127.0.0.1:{port}/v1", api_key="k", max_retries=0)
    with pytest.raises(ProviderDownError, match=r"gpt-4o-mini.*connection failed"):
        await send(llm, ASK)


async def test_a_base_url_that_is_none() -> None:
    with pytest.raises(ConfigError, match=r"base_url.*'not a url/chat"):
        await send(LLM(OPENAI, base_url="not a url", api_key="k"), ASK)


@pytest.mark.parametrize(("model", "variable"), [(OPENAI, "OPENAI_API_KEY"), (ANTHROPIC, "ANTHROPIC_API_KEY")])
async def test_a_missing_key_names_the_variable(monkeypatch: pytest.MonkeyPatch, model: str, variable: str) -> None:
    monkeypatch.delenv(variable, raising=False)
    llm = LLM(model)  # not told before it is needed
    with pytest.raises(ConfigError, match=variable):
        await send(llm, ASK)


@pytest.mark.parametrize("key", ["loopback-key", "sk-proj-abcdefghijklmnop1234", "gsk_abcdefghijklmnop1234"])
async def test_a_key_in_the_providers_message_is_left_out(key: str) -> None:
    told = status(401, f"Incorrect API key provided: {key}. " + "x" * 5000)
    with LoopbackServer([told]) as server, pytest.raises(AuthenticationError) as caught:
        await send(server.llm(api_key=key), ASK)
    assert key not in str(caught.value)
    assert "[key]" in str(caught.value)
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ('[{"error": {"code": 400, "message": "API key not valid"}}]', "API key not valid"),
        ('{"error": "model not found"}', "model not found"),
        ('{"detail": [{"loc": ["body"], "msg": "field required"}]}', "field required"),
        ('{"object": "error", "message": "bad input"}', "bad input"),
        ('{"error": {"innererror": {"code": "ResponsibleAIPolicyViolation"}, "message": "no"}}', "no"),
        ("plain words", "plain words"),
        ("", "answered 400"),
    ],
)
def test_the_forms_of_error_bodies(body: str, told: str) -> None:
    from quarterdeck.llm.failures import Caller, failure_from

    error = failure_from(Caller("openai", "gpt-4o", "k"), 400, {}, body.encode())
    assert told in str(error)
    assert isinstance(error, ContentFilteredError if "ResponsibleAI" in body else BadRequestError)


# -- models of one's own, cancellation -------------------------------------------------------------------------


class Fails(BaseLLM):
    def __init__(self, *errors: Exception) -> None:
        super().__init__("mine")
        self.errors = list(errors)
        self.calls = 0

    async def complete(self, request: LLMRequest, on_delta: OnDelta | None = None) -> LLMResponse:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return LLMResponse("ok")


async def test_a_custom_models_broken_connection_is_tried_again(quick: None) -> None:
    retries = Retries()
    llm = Fails(ConnectionResetError("reset"), TimeoutError("slow"))
    assert (await send(llm, ASK, on_retry=retries)).text == "ok"
    assert [type(error) for error, _, _ in retries] == [ProviderDownError, LLMTimeoutError]
    assert "reset" in str(retries[0][0])
    assert "slow" in str(retries[1][0])


@pytest.mark.parametrize("error", [ValueError("a defect"), BadRequestError("no"), OSError("disk")])
async def test_a_custom_models_other_errors_pass_through(error: Exception) -> None:
    llm = Fails(error)
    with pytest.raises(type(error)) as caught:
        await send(llm, ASK)
    assert caught.value is error
    assert llm.calls == 1


@pytest.mark.parametrize("answer", [after(30, "late"), status(503, retry_after=30)])
async def test_cancelling_passes_at_once(answer: Any) -> None:
    with LoopbackServer([answer, "never"]) as server:
        task = asyncio.create_task(send(server.llm(), ASK))
        await asyncio.sleep(0.3)
        start = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - start < 10
    assert len(server.requests) == 1


async def test_the_same_idempotency_key_for_every_try() -> None:
    request = LLMRequest(ASK.messages, step_key="run-1/a/1/llm/1")
    with LoopbackServer([status(500, retry_after=0), "ok"]) as server:
        await send(server.llm(), request)
    assert [received.headers["idempotency-key"] for received in server.requests] == ["run-1/a/1/llm/1"] * 2
    assert server.keys == {"run-1/a/1/llm/1": 1}
