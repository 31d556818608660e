"""Recorded calls: ``record`` keeps what real models answer in a file, ``replay`` answers from it.

The file is JSON, one entry per call, sorted the way the calls came, to be read in a diff. It holds requests and
answers, and no key, header or address.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Awaitable, Callable, Generator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from quarterdeck.errors import ConfigError
from quarterdeck.llm.send import Completes, tape
from quarterdeck.llm.types import LLMRequest, LLMResponse, ToolCall, UsageMetrics

VERSION = 1


class UnknownCallError(AssertionError):
    """A call that is not on the cassette. It is an ``AssertionError``: the test is wrong, or the cassette is old."""


@contextlib.contextmanager
def record(path: str | Path) -> Generator[None]:
    """Within the block, every call goes to its model, and is kept in a file.

    Args:
        path: The file; written when the block ends, also after an error. Earlier contents are replaced.
    """
    recorder = _Recorder()
    token = tape.set(recorder)
    try:
        yield
    finally:
        tape.reset(token)
        recorder.save(Path(path))


@contextlib.contextmanager
def replay(path: str | Path) -> Generator[None]:
    """Within the block, every call is answered from a file; nothing touches the network.

    A call is found by the model and the whole request (messages, tools, schema, stop texts, limit). The same
    request made several times gets its recorded answers in order.

    Args:
        path: A file that ``record`` wrote.

    Raises:
        ConfigError: There is no such file, or it is no cassette.
        UnknownCallError: A call is not on it, or is made more often than it was recorded.
    """
    token = tape.set(_Player(Path(path)))
    try:
        yield
    finally:
        tape.reset(token)


class _Recorder:
    def __init__(self) -> None:
        self._calls: list[dict[str, Any]] = []
        self._lock = threading.Lock()

    async def answer(
        self, llm: Completes, request: LLMRequest, live: Callable[[], Awaitable[LLMResponse]]
    ) -> LLMResponse:
        asked = _asked(llm.model, request)
        response = await live()
        with self._lock:
            self._calls.append({"digest": _digest(asked), "request": asked, "response": _to_json(response)})
        return response

    def save(self, path: Path) -> None:
        text = json.dumps({"version": VERSION, "calls": self._calls}, ensure_ascii=False, indent=2)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8", errors="replace")


class _Player:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._answers: dict[str, list[LLMResponse]] = {}
        self._lock = threading.Lock()
        for call in _calls(path):
            self._answers.setdefault(call["digest"], []).append(_response(call["response"]))

    async def answer(
        self, llm: Completes, request: LLMRequest, live: Callable[[], Awaitable[LLMResponse]]
    ) -> LLMResponse:
        del live
        asked = _asked(llm.model, request)
        with self._lock:
            answers = self._answers.get(_digest(asked))
            if answers:
                return answers.pop(0)
        known = "was answered as often as it was recorded" if answers is not None else "is not on the cassette"
        last = json.dumps(asked["messages"][-1:], ensure_ascii=False)[-300:]
        raise UnknownCallError(
            f"{self._path}: this call of {llm.model!r} {known}; its last message is {last}. Record it again."
        )


def _calls(path: Path) -> list[dict[str, Any]]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"there is no cassette {path}: make it with record({str(path)!r})") from None
    except ValueError as error:
        raise ConfigError(f"{path} is no cassette: {error}") from None
    if not isinstance(data, dict) or data.get("version") != VERSION:  # pyright: ignore[reportUnknownMemberType]
        raise ConfigError(f"{path} is no cassette of version {VERSION}: record it again")
    return data["calls"]  # pyright: ignore[reportUnknownVariableType]


def _asked(model: str, request: LLMRequest) -> dict[str, Any]:
    """What makes two calls the same. The step key is not part of it: it names the run."""
    asked: dict[str, Any] = {"model": model, "messages": [dict(message) for message in request.messages]}
    if request.tools:
        asked["tools"] = [asdict(tool) for tool in request.tools]
        asked["tool_choice"] = request.tool_choice
    if request.output_schema:
        asked["output_schema"] = asdict(request.output_schema)
    if request.stop:
        asked["stop"] = list(request.stop)
    if request.max_tokens:
        asked["max_tokens"] = request.max_tokens
    return asked


def _digest(asked: dict[str, Any]) -> str:
    text = json.dumps(asked, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:32]


def _to_json(response: LLMResponse) -> dict[str, Any]:
    """A response as JSON; what is empty is left out."""
    data = {
        "text": response.text,
        "tool_calls": [call.to_message_part() for call in response.tool_calls],
        "reasoning": response.reasoning,
        "finish_reason": response.finish_reason,
        "model": response.model,
        "response_id": response.response_id,
        "usage": {name: count for name, count in response.usage.model_dump().items() if count},
    }
    return {name: value for name, value in data.items() if value}


def _response(data: dict[str, Any]) -> LLMResponse:
    fields: dict[str, Any] = dict(data)
    fields["tool_calls"] = tuple(ToolCall.from_message_part(part) for part in data.get("tool_calls", ()))
    fields["usage"] = UsageMetrics(**data.get("usage", {}))
    return LLMResponse(**fields)
