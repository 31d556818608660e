"""Requests to a server that runs crews: the token, time limits, tries, and errors in one line."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import urlsplit

from quarterdeck.errors import APIError, ConfigError, InputError
from quarterdeck.llm.failures import retry_after
from quarterdeck.llm.http import proxy_of, session
from quarterdeck.llm.send import retry_wait

if TYPE_CHECKING:
    from aiohttp import ClientResponse

_LONGEST = 500
"""A server's own message is cut after this many characters."""
CONNECT_SECONDS = 10.0


class Answer(NamedTuple):
    """A JSON object, and what the server advises: when to ask again, in seconds."""

    body: dict[str, Any]
    retry_after: float | None


@dataclass(frozen=True, slots=True)
class Connection:
    """Where a crew is, and how to ask there.

    Args:
        base_url: The crew's base URL.
        token: Its bearer token; "": none is sent.
        timeout: Seconds for one try of a request; of a stream, seconds without a byte.
        retries: How often a request that may be repeated is tried again.

    Raises:
        ConfigError: One of these is none.
    """

    base_url: str
    token: str = field(default="", repr=False)
    timeout: float = 30.0
    retries: int = 3

    def __post_init__(self) -> None:
        if not _is_base(self.base_url):
            got = "a URL with a user name" if "@" in self.base_url else repr(self.base_url[:200])  # and its password
            raise ConfigError(f"base_url must be a crew's base URL, as https://my-crew.example.com, got {got}")
        if not self.token.isascii() or not self.token.isprintable():
            raise ConfigError("the token has characters that no header can hold")
        if self.timeout <= 0 or self.retries < 0:
            raise ConfigError(f"timeout must be above 0 and retries at least 0, got {self.timeout}, {self.retries}")

    def patient(self) -> Connection:
        """The same, for what has begun: a server that is started again may be away for half a minute."""
        return replace(self, retries=self.retries and self.retries + 5)

    async def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        repeat: bool,
    ) -> Answer:
        """Sends a request, and again where it has no answer yet.

        Args:
            method: The HTTP method.
            path: Below the base URL, with a leading ``/``.
            body: Sent as JSON.
            headers: More headers.
            repeat: Whether it may be sent again when nobody knows what became of it.

        Raises:
            APIError: The last one, when the tries are used up, or the first that no other try would change.
            InputError: The body cannot be written as JSON.
        """
        data = None if body is None else _json(body)
        attempt = 1
        while True:
            try:
                async with self.opened(method, path, data, headers or {}, whole=True) as response:
                    return self._answer(response, await response.read())
            except APIError as error:
                if not repeat or not error.retryable or attempt > self.retries:
                    raise
                wait = retry_wait(attempt, error.retry_after)
            await asyncio.sleep(wait)
            attempt += 1

    @contextlib.asynccontextmanager
    async def opened(
        self, method: str, path: str, data: bytes | None, headers: Mapping[str, str], *, whole: bool
    ) -> AsyncGenerator[ClientResponse]:
        """Sends a request once. ``whole``: the time limit is for the whole answer, not for its next byte.

        Raises:
            APIError: There is no answer, or none with a status of 2xx.
        """
        import aiohttp

        pool = await session()
        limit = aiohttp.ClientTimeout(
            total=self.timeout if whole else None, sock_connect=CONNECT_SECONDS, sock_read=self.timeout
        )
        sent = {"Accept": "application/json", **headers}
        if self.token:
            sent["Authorization"] = f"Bearer {self.token}"
        if data is not None:
            sent["Content-Type"] = "application/json"
        base = self.base_url.rstrip("/")
        sending = pool.request(
            method,
            base + path,
            data=data,
            headers=sent,
            timeout=limit,
            proxy=proxy_of(base),
            allow_redirects=False,  # a redirected POST would lose its body, a token must not go elsewhere
        )
        try:
            async with sending as response:
                if not 200 <= response.status < 300:
                    raise self._refused(response, await response.read())
                yield response
        except (aiohttp.ClientError, OSError) as error:  # OSError: time limits too
            raise APIError(f"{base}: {self._broken(error)}") from error

    def _broken(self, error: Exception) -> str:
        import aiohttp

        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            return f"its certificate is not trusted: {error.certificate_error}"
        if isinstance(error, aiohttp.ClientConnectorError):
            number = error.os_error.errno or 0
            return f"no connection: {os.strerror(number) if number > 0 else error.os_error}"
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            return f"no connection within {CONNECT_SECONDS:g} s"
        if isinstance(error, TimeoutError):
            return f"no answer within {self.timeout:g} s"
        return f"the connection broke: {str(error) or type(error).__name__}"

    def _answer(self, response: ClientResponse, text: bytes) -> Answer:
        body = _object(text)
        if body is None:
            shown = text[:100].decode(errors="replace")
            raise APIError(
                f"{self.base_url} answered {response.status} with no JSON object, but {shown!r}: is it a crew's URL?",
                status=response.status,
            )
        return Answer(body, retry_after(response.headers))

    def _refused(self, response: ClientResponse, text: bytes) -> APIError:
        body = _object(text) or {}
        said = _said(body) or " ".join(text.decode(errors="replace").split()) or response.reason or ""
        if 300 <= response.status < 400:
            said = f"it is at {response.headers.get('Location', 'another place')}: give that as the base URL"
        if len(said) > _LONGEST:
            said = f"{said[:_LONGEST]}…"
        message = f"{self.base_url} answered {response.status}: {said}"
        wait = retry_after(response.headers)
        return APIError(message, status=response.status, body=body, retry_after=wait)


def _is_base(url: str) -> bool:
    try:
        parts = urlsplit(url)
        is_there = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return is_there and parts.scheme in ("http", "https") and not (parts.query or parts.fragment or parts.username)


def _said(body: Mapping[str, Any]) -> str:
    """What a problem's body says: AMP's ``error`` and ``message``, or RFC 9457's ``title`` and ``detail``."""
    short, long = body.get("error") or body.get("title"), body.get("message") or body.get("detail")
    said = ": ".join(str(part) for part in (short, long) if part)
    details: Any = body.get("details")
    missing: Any = cast("dict[str, Any]", details).get("missing_inputs") if isinstance(details, dict) else None
    if isinstance(missing, list):
        new = [str(name) for name in cast("list[Any]", missing) if str(name) not in said]
        said += f" (missing: {', '.join(new)})" if new else ""
    return said


def _object(text: bytes) -> dict[str, Any] | None:
    try:
        data: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", data) if isinstance(data, dict) else None


def _json(body: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:  # an unpaired surrogate is a ValueError too
        raise InputError(f"the request cannot be written as JSON: {error}") from None
