"""LoopbackServer: a server on 127.0.0.1 that speaks the providers' protocols, for tests over real sockets."""

from __future__ import annotations

import asyncio
import inspect
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

from quarterdeck.errors import ConfigError
from quarterdeck.llm.llm import LLM
from quarterdeck.llm.types import LLMRequest
from quarterdeck.testing.protocols import Anthropic, OpenAI, Speaks
from quarterdeck.testing.scripted import After, Answer, answer_to

_OPENAI, _ANTHROPIC = OpenAI(), Anthropic()


@dataclass(frozen=True, slots=True)
class Status:
    """An answer that is an error: make it with ``status``."""

    status: int
    message: str
    code: str | None
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Raw:
    """An answer that is sent as it is: make it with ``raw``."""

    body: bytes
    content_type: str


@dataclass(frozen=True, slots=True)
class Drop:
    """An answer that breaks off: make it with ``drop``."""

    after: int
    answer: Answer


@dataclass(frozen=True, slots=True)
class Slow:
    """An answer that comes in pieces: make it with ``slow``."""

    answer: Answer
    pause: float


def status(
    status: int,
    message: str = "as the script says",
    *,
    code: str | None = None,
    retry_after: float | str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Status:
    """An error, in the form of the protocol that is spoken.

    Args:
        status: The HTTP status.
        message: The provider's message.
        code: OpenAI's ``code`` or Anthropic's ``type``.
        retry_after: The header ``Retry-After``: seconds or an HTTP date.
        headers: More headers.
    """
    more = {"Retry-After": str(retry_after)} if retry_after is not None else {}
    return Status(status, message, code, {**(headers or {}), **more})


def raw(body: str | bytes, content_type: str = "application/json") -> Raw:
    """An answer with status 200 whose body is sent as it is."""
    return Raw(body.encode() if isinstance(body, str) else body, content_type)


def drop(answer: Answer = "", after: int = 0) -> Drop:
    """A connection that breaks.

    Args:
        answer: What would have been answered.
        after: How many bytes of its body are sent before; 0: not even the head is.
    """
    return Drop(after, answer)


def slow(answer: Answer, pause: float = 0.05) -> Slow:
    """An answer in pieces, with a pause in seconds before each."""
    return Slow(answer, pause)


@dataclass(frozen=True, slots=True)
class Received:
    """A request that came.

    Args:
        path: Its path.
        headers: Its headers; names in lower case.
        body: Its JSON.
        request: What it asks, the same for both protocols.
    """

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    request: LLMRequest


@dataclass(slots=True)
class _Counts:
    requests: list[Received] = field(default_factory=list[Received])
    keys: Counter[str] = field(default_factory=Counter[str])
    most_at_once: int = 0
    now: int = 0


class LoopbackServer:
    """A server on 127.0.0.1 that speaks OpenAI's chat completions and Anthropic's messages, streaming and not.

    It runs in a thread of its own, within a ``with`` block.

    Args:
        answers: The answers, in the order in which requests come: those of ``ScriptedLLM``, and ``status``, ``drop``,
            ``slow`` and ``raw``. A request too many is answered with status 400.
        by: In place of ``answers``, a function of the request.
        latency: Seconds before each answer.

    Attributes:
        requests: What came, in order.
        keys: How often a request with each ``Idempotency-Key`` was answered (errors do not count): what a
            provider would have been paid for.

    Example:
        ``with LoopbackServer(["Hello."]) as server: assert server.llm().call("Hi") == "Hello."``

    Raises:
        ConfigError: Neither ``answers`` nor ``by`` is given, or both.
    """

    def __init__(
        self,
        answers: Iterable[Answer] | None = None,
        *,
        by: Callable[[LLMRequest], Answer] | None = None,
        latency: float = 0.0,
    ) -> None:
        if (answers is None) == (by is None):
            raise ConfigError("LoopbackServer needs answers or by=, and not both")
        self.latency = latency
        self._answers: Iterator[Answer] = iter(answers or ())
        self._by = by
        self._counts = _Counts()
        self._port = 0

    @property
    def requests(self) -> list[Received]:
        return self._counts.requests

    @property
    def keys(self) -> Counter[str]:
        return self._counts.keys

    @property
    def most_at_once(self) -> int:
        """The largest number of requests that were being answered at the same time."""
        return self._counts.most_at_once

    @property
    def base_url(self) -> str:
        """Where it is, for ``LLM(base_url=...)``; both protocols."""
        return f"http://127.0.0.1:{self._port}/v1"

    def llm(self, model: str = "openai/gpt-4o-mini", **settings: Any) -> LLM:
        """A model that this server answers for.

        Args:
            model: Its name; the prefix says which protocol is spoken.
            settings: Others of ``LLM``.
        """
        given: dict[str, Any] = {"base_url": self.base_url, "api_key": "loopback-key", **settings}
        return LLM(model, **given)

    def clear(self) -> None:
        """Forgets what came."""
        self._counts = _Counts()

    # -- life ---------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._stop = asyncio.Event()
        self._started: Future[asyncio.AbstractEventLoop] = Future()
        self._thread = threading.Thread(target=asyncio.run, args=(self._live(),), name="loopback-server", daemon=True)
        self._thread.start()
        self._loop = self._started.result(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    async def _live(self) -> None:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/{path:.*}", self._serve)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
            self._port = runner.addresses[0][1]
            self._started.set_result(asyncio.get_running_loop())
            await self._stop.wait()
        finally:
            await runner.cleanup()

    # -- one request --------------------------------------------------------------------------------------

    async def _serve(self, http: web.Request) -> web.StreamResponse:
        speaks: Speaks = _ANTHROPIC if http.path.endswith("/messages") else _OPENAI
        headers = {name.lower(): value for name, value in http.headers.items()}
        body: dict[str, Any] = await http.json()
        key = headers.get("idempotency-key")
        received = Received(http.path_qs, headers, body, speaks.request(body, key))
        counts = self._counts
        counts.requests.append(received)
        counts.now += 1
        counts.most_at_once = max(counts.most_at_once, counts.now)
        try:
            if self.latency:
                await asyncio.sleep(self.latency)
            return await self._answer(http, speaks, received, self._next())
        finally:
            counts.now -= 1

    def _next(self) -> Answer:
        if self._by is not None:
            return self._by
        return next(self._answers, status(400, "LoopbackServer: the script is used up"))

    async def _answer(
        self, http: web.Request, speaks: Speaks, received: Received, answer: Answer
    ) -> web.StreamResponse:
        pause, limit = 0.0, None
        while True:
            if isinstance(answer, After):
                await asyncio.sleep(answer.seconds)
                answer = answer.answer
            elif isinstance(answer, Slow):
                pause, answer = answer.pause, answer.answer
            elif isinstance(answer, Drop):
                limit, answer = answer.after, answer.answer
            elif callable(answer):
                answer = answer(received.request)
                if inspect.isawaitable(answer):
                    answer = await answer
            else:
                break
        if isinstance(answer, Status):
            text = speaks.error(answer.status, answer.message, answer.code)
            return web.json_response(text, status=answer.status, headers=answer.headers)
        if limit == 0:
            return _break(http)
        kind, chunks = await self._chunks(speaks, received, answer)
        return await _write(http, kind, chunks, pause, limit)

    async def _chunks(self, speaks: Speaks, received: Received, answer: Answer) -> tuple[str, list[bytes]]:
        """The content type, and the body in the pieces that a slow answer is sent in."""
        if isinstance(answer, Raw):
            return answer.content_type, [answer.body]
        body = received.body
        response = await answer_to(received.request, answer, body.get("model", ""))
        if received.request.step_key:
            self._counts.keys[received.request.step_key] += 1
        if body.get("stream"):
            return "text/event-stream", list(speaks.events(response, body))
        data = json.dumps(speaks.whole(response, body), ensure_ascii=False).encode()
        return "application/json", [data[start : start + 64] for start in range(0, len(data), 64)]


async def _write(
    http: web.Request, kind: str, chunks: list[bytes], pause: float, limit: int | None
) -> web.StreamResponse:
    if not pause and limit is None and kind == "application/json":
        return web.Response(body=b"".join(chunks), content_type=kind)
    response = web.StreamResponse(headers={"Content-Type": kind})
    await response.prepare(http)
    sent = 0
    for chunk in chunks:
        if pause:
            await asyncio.sleep(pause)
        if limit is not None and sent + len(chunk) > limit:
            await response.write(chunk[: limit - sent])
            return _break(http)
        await response.write(chunk)
        sent += len(chunk)
    await response.write_eof()
    return response


def _break(http: web.Request) -> web.StreamResponse:
    if http.transport is not None:
        http.transport.abort()
    return web.Response()
