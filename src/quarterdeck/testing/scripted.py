"""ScriptedLLM: a model whose answers are written down."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import json
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

from pydantic import BaseModel

from quarterdeck.errors import ConfigError
from quarterdeck.llm.base import BaseLLM
from quarterdeck.llm.types import LLMRequest, LLMResponse, Message, OnDelta, ToolCall, UsageMetrics


@dataclass(frozen=True, slots=True)
class After:
    """An answer that takes its time: make it with ``after``."""

    seconds: float
    answer: Any


Answer = Any
"""What a scripted model may answer: a text, a pydantic object (its JSON), a ``ToolCall`` or a list of them, an
``LLMResponse``, an exception (raised), ``after(seconds, answer)``, or a function that is given the request and
returns one of these."""

_numbers = itertools.count(1)


def call(name: str, /, **arguments: Any) -> ToolCall:
    """A tool call, as an answer of a scripted model.

    Args:
        name: The tool's name.
        arguments: The call's arguments.

    Example:
        ``ScriptedLLM([call("lookup", query="tides"), "High water is at noon."])``
    """
    return ToolCall(f"call_{next(_numbers)}", name, json.dumps(arguments, ensure_ascii=False))


def after(seconds: float, answer: Answer) -> After:
    """An answer that comes after some time."""
    return After(seconds, answer)


class ScriptedLLM(BaseLLM):
    """A model whose answers are written down: no network, no chance.

    Args:
        answers: The answers, in order. One that is left out or superfluous is an error: the first at the call, the
            second in ``assert_done``.
        by: In place of ``answers``, a function of the request, sync or async: the same request has the same
            answer, so that runs at the same time are deterministic.
        model: The model's name, for events.
        tools: Whether the model takes tools.
        schemas: Whether it can be held to a JSON schema.
        settings: Others of ``BaseLLM``, such as ``max_retries``, ``timeout`` or ``price``.

    Attributes:
        requests: The requests that came, in order.

    Raises:
        ConfigError: Neither ``answers`` nor ``by`` is given, or both.
    """

    def __init__(
        self,
        answers: Iterable[Answer] | None = None,
        *,
        by: Callable[[LLMRequest], Answer] | None = None,
        model: str = "scripted",
        tools: bool = True,
        schemas: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(model, provider="scripted", **settings)
        if (answers is None) == (by is None):
            raise ConfigError("ScriptedLLM needs answers or by=, and not both")
        if isinstance(answers, str):
            raise ConfigError(f"ScriptedLLM answers must be a list, got the text {answers[:40]!r}")
        self.requests: list[LLMRequest] = []
        self._answers = list(answers or ())
        self._by = by
        self._tools = tools
        self._schemas = schemas
        self._lock = threading.Lock()

    def supports_function_calling(self) -> bool:
        return self._tools

    def supports_output_schema(self) -> bool:
        return self._schemas

    async def complete(self, request: LLMRequest, on_delta: OnDelta | None = None) -> LLMResponse:
        """Gives the next answer.

        Raises:
            AssertionError: The script is used up.
        """
        response = await answer_to(request, self._next(request), self.model)
        if on_delta is not None and response.text:
            for piece in response.text.splitlines(keepends=True):
                on_delta(piece)
        return response

    def _next(self, request: LLMRequest) -> Answer:
        with self._lock:
            self.requests.append(request)
            number = len(self.requests)
            if self._by is not None:
                return self._by
            if number > len(self._answers):
                raise AssertionError(
                    f"ScriptedLLM has {len(self._answers)} answers, and this is call {number}; its last message is "
                    f"{_ending(request)!r}"
                )
            return self._answers[number - 1]

    def assert_done(self) -> None:
        """Checks that every answer was used.

        Raises:
            AssertionError: Some were not.
        """
        rest = self._answers[len(self.requests) :]
        assert not rest, f"{len(rest)} of {len(self._answers)} answers were not used; the next is {rest[0]!r}"


def _ending(request: LLMRequest) -> str:
    message: Message = request.messages[-1] if request.messages else {}
    return str(message.get("content"))[-200:]


async def answer_to(request: LLMRequest, answer: Answer, model: str) -> LLMResponse:
    """What a scripted answer means for a request: waits, calls and raises as it says.

    Raises:
        TypeError: It is nothing that a model can answer.
    """
    while True:
        if isinstance(answer, After):
            await asyncio.sleep(answer.seconds)
            answer = answer.answer
        elif isinstance(answer, BaseException):
            raise answer
        elif not isinstance(answer, type) and callable(cast("object", answer)):
            answer = answer(request)
            if inspect.isawaitable(answer):
                answer = await answer
        else:
            return _response(request, answer, model)


def _response(request: LLMRequest, answer: Any, model: str) -> LLMResponse:
    if isinstance(answer, LLMResponse):
        return answer
    if isinstance(answer, BaseModel):
        answer = answer.model_dump_json()
    if isinstance(answer, ToolCall):
        answer = [answer]
    if isinstance(answer, str):
        return LLMResponse(text=answer, usage=_usage(request, answer), model=model)
    calls = tuple(cast("list[Any]", answer)) if isinstance(answer, (list, tuple)) else ()
    if not calls or not all(isinstance(part, ToolCall) for part in calls):
        raise TypeError(
            f"an answer must be a text, a ToolCall or a list of them, an LLMResponse or an exception, got {answer!r}"
        )
    usage = _usage(request, "".join(part.arguments for part in calls))
    return LLMResponse(tool_calls=calls, usage=usage, finish_reason="tool_calls", model=model)


def _usage(request: LLMRequest, text: str) -> UsageMetrics:
    """A token for every four characters: no real count, but the same each time."""
    prompt = sum(len(str(message.get("content") or "")) for message in request.messages) // 4 + 1
    completion = len(text) // 4 + 1
    return UsageMetrics(
        total_tokens=prompt + completion,
        prompt_tokens=prompt,
        completion_tokens=completion,
        successful_requests=1,
    )
