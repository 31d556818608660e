"""Sends one request to a model until it is answered: retries, waits and the whole-call time limit."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, Protocol

from quarterdeck.errors import LLMError, LLMTimeoutError, ProviderDownError
from quarterdeck.llm.types import LLMRequest, LLMResponse, OnDelta

FIRST_WAIT = 0.5
"""Seconds: the longest wait before the first retry; each next one is twice as long."""
LONGEST_WAIT = 60.0
"""Seconds: no single wait is longer, whatever the provider asks for."""


class Completes(Protocol):
    """What ``send`` needs of a model; ``BaseLLM`` is one."""

    model: str
    timeout: float | None
    max_retries: int

    async def complete(self, request: LLMRequest, on_delta: OnDelta | None = None) -> LLMResponse: ...


class OnRetry(Protocol):
    """Called before each wait: the error, the number of the failed try (from 1), the seconds to wait."""

    def __call__(self, error: LLMError, attempt: int, wait: float) -> None: ...


class Tape(Protocol):
    """Stands between ``send`` and the model: keeps what passes, or answers in the model's place."""

    async def answer(
        self, llm: Completes, request: LLMRequest, live: Callable[[], Awaitable[LLMResponse]]
    ) -> LLMResponse: ...


tape: ContextVar[Tape | None] = ContextVar("quarterdeck_tape", default=None)
"""The tape of this context (``quarterdeck.testing.record`` and ``replay``)."""


class Caller(Protocol):
    """Makes a call that a program makes on its own, with ``LLM.call``."""

    async def __call__(self, llm: Any, request: LLMRequest) -> LLMResponse: ...


own_caller: ContextVar[Caller | None] = ContextVar("quarterdeck_own_caller", default=None)
"""Who makes a program's own calls in this context: in a flow's method, the flow's run; None: nobody else."""


async def send(
    llm: Completes, request: LLMRequest, on_delta: OnDelta | None = None, on_retry: OnRetry | None = None
) -> LLMResponse:
    """Makes a call and, where it fails in a way that may pass, makes it again.

    Tried again, at most ``llm.max_retries`` times, are errors with ``retryable``: HTTP 408, 409, 429 and 5xx, broken
    connections and time-outs. The wait is what the provider asks for (``Retry-After``), else random between 0
    and a bound that doubles (full jitter; AWS Architecture Blog, "Exponential Backoff And Jitter").

    Args:
        llm: The model. Its ``timeout`` limits each try, from connecting to the last byte.
        request: What to ask.
        on_delta: Called with each piece of text. After a retry the text begins again.
        on_retry: Called before each wait.

    Raises:
        LLMError: The last error, when the tries are used up, or the first that cannot pass.
    """
    current = tape.get()
    if current is None:
        return await _send_with_retries(llm, request, on_delta, on_retry)
    response = await current.answer(llm, request, lambda: _send_with_retries(llm, request, None, on_retry))
    if on_delta is not None and response.text:
        on_delta(response.text)
    return response


async def _send_with_retries(
    llm: Completes, request: LLMRequest, on_delta: OnDelta | None, on_retry: OnRetry | None
) -> LLMResponse:
    attempt = 1
    while True:
        try:
            return await _send_once(llm, request, on_delta)
        except LLMError as error:
            if not error.retryable or attempt > llm.max_retries:
                raise
            wait = retry_wait(attempt, error.retry_after)
            if on_retry is not None:
                on_retry(error, attempt, wait)
        await asyncio.sleep(wait)
        attempt += 1


async def _send_once(llm: Completes, request: LLMRequest, on_delta: OnDelta | None) -> LLMResponse:
    limit = asyncio.timeout(llm.timeout)
    try:
        async with limit:
            return await llm.complete(request, on_delta)
    except LLMError:
        raise
    except TimeoutError as error:
        what = f"no answer within timeout={llm.timeout:g} s" if limit.expired() else f"timed out: {error}"
        raise LLMTimeoutError(f"{llm.model}: {what}", model=llm.model) from error
    except ConnectionError as error:
        what = str(error) or type(error).__name__
        raise ProviderDownError(f"{llm.model}: the connection failed: {what}", model=llm.model) from error


def retry_wait(attempt: int, retry_after: float | None) -> float:
    """Seconds before the next try.

    Args:
        attempt: The number of the try that failed, from 1.
        retry_after: Seconds that the other side asked for.
    """
    if retry_after is not None:  # a little longer, and not the same for all who were told so
        return min(retry_after * random.uniform(1.0, 1.1), LONGEST_WAIT)
    return random.uniform(0.0, min(FIRST_WAIT * 2 ** (attempt - 1), LONGEST_WAIT))
