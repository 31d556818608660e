"""Sends one request: signed, to an address that is permitted, without following where it is sent on to."""

from __future__ import annotations

import base64
import secrets
import socket
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import NamedTuple, Self

from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector
from aiohttp.abc import AbstractResolver, ResolveResult
from standardwebhooks import Webhook

from quarterdeck.concurrency import call_in_thread
from quarterdeck.errors import ConfigError
from quarterdeck.server.webhooks.guard import key_of, socket_factory
from quarterdeck.server.webhooks.sql import Job

_CONNECT_SECONDS = 5.0


class Outcome(NamedTuple):
    """What came of a request.

    Args:
        error: Why it has failed; "" where it has arrived.
        final: True where no other try is wanted.
    """

    error: str = ""
    final: bool = False


def new_secret() -> str:
    """A new secret that signs webhooks, for ``Settings.webhook_secret``."""
    return f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"


class Sender:
    """Sends, for as long as the ``async with`` block.

    Args:
        secret: Signs requests whose webhook has no secret of its own: see ``Settings.webhook_secret``.
        dev: See ``guard.check_url``.
        timeout: Time limit of a request in seconds, from the lookup of the name to the answer's head.

    Raises:
        ConfigError: The secret is none.
    """

    def __init__(self, secret: str, dev: bool, timeout: float) -> None:
        try:
            self._keys = [key_of(part) for part in secret.split()]
        except ConfigError as error:
            raise ConfigError(f"webhook_secret (QUARTERDECK_WEBHOOK_SECRET): each secret {error}") from None
        self._dev = dev
        self._timeout = ClientTimeout(total=timeout, connect=min(_CONNECT_SECONDS, timeout))
        self._sessions: dict[str, ClientSession] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        schemes = ("http", "https") if self._dev else ("https",)
        for scheme in schemes:
            connector = TCPConnector(socket_factory=socket_factory(scheme, self._dev), resolver=_Resolver(), limit=0)
            session = ClientSession(
                connector=connector,
                timeout=self._timeout,
                cookie_jar=DummyCookieJar(),
                headers={"User-Agent": "quarterdeck", "Content-Type": "application/json"},
            )
            self._sessions[scheme] = await self._stack.enter_async_context(session)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def send(self, job: Job) -> Outcome:
        """Sends a request; what the receiver says besides the status is not read."""
        session = self._sessions.get(job.url.partition(":")[0].lower())
        if session is None:
            return Outcome("plain http is sent with --dev only")
        body = job.body.encode()
        try:
            headers = self._headers(job)
            async with session.post(job.url, data=body, headers=headers, allow_redirects=False) as response:
                status = response.status
        except TimeoutError:
            return Outcome("it did not answer in time")
        except (ClientError, ConfigError, ValueError, OSError) as error:
            return Outcome(f"{type(error).__name__}: {str(error)[:300]}")
        if 200 <= status < 300:
            return Outcome()
        return Outcome(f"it answered {status}", final=status == 410)  # Standard Webhooks: gone, send no more

    def _headers(self, job: Job) -> dict[str, str]:
        now = datetime.now(UTC)
        headers = {"webhook-id": job.id, "webhook-timestamp": str(int(now.timestamp()))}
        secret = job.access.get("secret")
        keys: Sequence[bytes] = [key_of(secret)] if secret else self._keys
        if keys:
            headers["webhook-signature"] = " ".join(Webhook(key).sign(job.id, now, job.body) for key in keys)
        authorization = _authorization(job.access)
        if authorization:
            headers["Authorization"] = authorization
        return headers


def _authorization(access: dict[str, str]) -> str:
    match access.get("strategy"):
        case "bearer":
            return f"Bearer {access['token']}"
        case "basic":
            pair = f"{access['username']}:{access['password']}"
            return f"Basic {base64.b64encode(pair.encode()).decode()}"
        case _:
            return ""


class _Resolver(AbstractResolver):
    """Looks names up in threads of its own each: a name server that does not answer holds up nobody else."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        flags = socket.AI_ADDRCONFIG
        found = await call_in_thread(socket.getaddrinfo, host, port, family, socket.SOCK_STREAM, 0, flags)
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=int(address[1]),
                family=family,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for family, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        pass
