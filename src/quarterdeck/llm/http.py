"""HTTP to models: one pooled session per event loop, server-sent events, time limits."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from quarterdeck.errors import (
    ConfigError,
    LLMError,
    LLMTimeoutError,
    MalformedResponseError,
    ProviderDownError,
    QuarterdeckError,
)
from quarterdeck.llm.failures import Caller, failure_from

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

CONNECTIONS = 1000
"""At most this many connections at once, in one event loop."""


DONE: dict[str, Any] = {"type": "done"}
"""What stands for the ``[DONE]`` that ends OpenAI's streams."""


before_sending: ContextVar[Callable[[], None] | None] = ContextVar("quarterdeck_before_sending", default=None)
"""Called when the connection is there, right before a request is written to it: what it raises stops the request."""


class Call(NamedTuple):
    """One HTTP request to a model.

    Args:
        url: Where to.
        headers: With the key.
        body: Sent as JSON.
        caller: Who calls whom, for errors.
        connect_timeout: Seconds to connect.
        read_timeout: Seconds without a byte; None: no limit.
    """

    url: str
    headers: dict[str, str]
    body: dict[str, Any]
    caller: Caller
    connect_timeout: float | None
    read_timeout: float | None


# -- sessions ---------------------------------------------------------------------------------------------

_sessions: dict[asyncio.AbstractEventLoop, tuple[ClientSession, AsyncGenerator[ClientSession]]] = {}


async def session() -> ClientSession:
    """The pooled session of this event loop; it is closed when the loop ends."""
    loop = asyncio.get_running_loop()
    found = _sessions.get(loop)
    if found is not None and not found[0].closed:
        return found[0]
    _forget_closed_loops()
    lifetime = _lifetime(loop)
    made = await anext(lifetime)
    _sessions[loop] = (made, lifetime)
    return made


async def _lifetime(loop: asyncio.AbstractEventLoop) -> AsyncGenerator[ClientSession]:
    """The session, closed when the loop ends: loops close the generators that are open then."""
    import aiohttp

    class Connector(aiohttp.TCPConnector):
        async def connect(self, *args: Any, **kwargs: Any) -> aiohttp.connector.Connection:
            connection = await super().connect(*args, **kwargs)
            if check := before_sending.get():
                try:
                    check()
                except BaseException:
                    connection.release()
                    raise
            return connection

    connector = Connector(limit=CONNECTIONS, keepalive_timeout=60)
    made = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
    try:
        yield made
    finally:
        _sessions.pop(loop, None)
        await made.close()


def _forget_closed_loops() -> None:
    """Lets go of the sessions of loops that were closed without ending their generators."""
    for loop in [loop for loop in list(_sessions) if loop.is_closed()]:
        left, _ = _sessions.pop(loop)
        with contextlib.suppress(StopIteration):
            left.close().send(None)  # with its loop gone it has nothing to wait for


@atexit.register
def _close_at_exit() -> None:
    for loop, (left, _) in list(_sessions.items()):
        if loop.is_running():
            with contextlib.suppress(Exception):
                asyncio.run_coroutine_threadsafe(left.close(), loop).result(1)


# -- calls ------------------------------------------------------------------------------------------------


async def post(call: Call) -> dict[str, Any]:
    """Sends a request and returns the JSON object that it was answered with.

    Raises:
        LLMError: The fitting kind: see ``failures.failure_from``.
    """
    async with _sent(call) as response:
        text = await response.read()
        if response.status >= 400:
            raise failure_from(call.caller, response.status, response.headers, text)
        return _object(call.caller, text)


async def stream(call: Call) -> AsyncGenerator[dict[str, Any]]:
    """Sends a request and yields the JSON objects of the server-sent events that it is answered with.

    A server that does not stream answers with one JSON object; that one is yielded.

    Raises:
        LLMError: The fitting kind.
    """
    async with _sent(call) as response:
        if response.status >= 400:
            raise failure_from(call.caller, response.status, response.headers, await response.read())
        if response.content_type == "application/json":
            yield _object(call.caller, await response.read())
            return
        async for data in _events(response):
            if data == b"[DONE]":
                yield DONE
                return
            yield _object(call.caller, data)


@contextlib.asynccontextmanager
async def _sent(call: Call) -> AsyncGenerator[ClientResponse]:
    import aiohttp

    pool = await session()
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=call.connect_timeout, sock_read=call.read_timeout)
    text = json.dumps(call.body, ensure_ascii=False, separators=(",", ":"))
    data = text.encode(errors="replace")  # a model may have written half of a surrogate pair
    try:
        sending = pool.post(call.url, data=data, headers=call.headers, timeout=timeout, proxy=proxy_of(call.url))
        async with sending as response:
            yield response
    except LLMError:
        raise
    except aiohttp.ClientError as error:
        raise _broken(call, error) from error
    except OSError as error:  # a time limit of aiohttp's, or a connection that the system ended
        raise _broken(call, error) from error


@functools.lru_cache(maxsize=256)
def proxy_of(url: str) -> str | None:
    """The proxy that the environment names for a URL (``HTTPS_PROXY``, ``NO_PROXY``, …), read at its first call.

    aiohttp's ``trust_env`` would read it at every call, by way of two threads, which takes longer than the rest of
    the call; and it refuses hosts that are in ``~/.netrc`` beside the key in our headers.
    """
    from urllib.request import getproxies, proxy_bypass  # aiohttp has loaded it

    with contextlib.suppress(ValueError):  # no URL: aiohttp says so
        parts = urlsplit(url)
        if not proxy_bypass(parts.netloc.rpartition("@")[2]):
            return getproxies().get(parts.scheme)
    return None


def _broken(call: Call, error: Exception) -> QuarterdeckError:
    import aiohttp

    who = call.caller
    if isinstance(error, aiohttp.InvalidURL):
        return ConfigError(f"{who}: base_url is no URL: {call.url!r}; expected e.g. 'https://host/v1'")
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return LLMTimeoutError(f"{who}: no connection within {call.connect_timeout:g} s", model=who.model)
    if isinstance(error, TimeoutError):
        return LLMTimeoutError(f"{who}: no byte for {call.read_timeout:g} s", model=who.model)
    text = who.safe(str(error) or type(error).__name__)
    return ProviderDownError(f"{who}: the connection failed: {text}", model=who.model)


async def _events(response: ClientResponse) -> AsyncIterator[bytes]:
    """The ``data`` of each server-sent event."""
    parts: list[bytes] = []
    rest = b""
    async for chunk in response.content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for raw in lines:
            line = raw.rstrip(b"\r")
            if line.startswith(b"data:"):
                parts.append(line[5:].strip())
            elif not line and parts:
                yield b"\n".join(parts)
                parts = []
    if rest.startswith(b"data:"):
        parts.append(rest[5:].strip())
    if parts:
        yield b"\n".join(parts)


def _object(who: Caller, text: bytes) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except ValueError:
        shown = who.safe(text[:200].decode(errors="replace"))
        what = f"no JSON: {shown!r}" if text.strip() else "an empty body"
        raise ProviderDownError(f"{who} answered with {what}", model=who.model) from None
    if not isinstance(data, dict):
        shown = who.safe(text[:200].decode(errors="replace"))
        raise MalformedResponseError(f"{who} answered with no JSON object: {shown!r}", model=who.model, text=shown)
    return data  # pyright: ignore[reportUnknownVariableType]
