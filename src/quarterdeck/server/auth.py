"""Who asks: bearer tokens."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass

from fastapi import Request

from quarterdeck.server.api.problems import Problem


@dataclass(frozen=True, slots=True)
class Principal:
    """Whoever sent a request.

    Args:
        tenant: Whose runs it may see.
    """

    tenant: str


def new_token() -> str:
    """A token that nobody can guess."""
    return f"qd_{secrets.token_urlsafe(32)}"


class Authenticator:
    """Knows the server's token, by its hash alone.

    Args:
        token: The token.
    """

    def __init__(self, token: str) -> None:
        self._hash = _hash(token)

    def principal(self, request: Request) -> Principal:
        """Who sent a request.

        Raises:
            Problem: 401, there is no token, or a wrong one.
        """
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise _unauthorized("send the header Authorization: Bearer TOKEN")
        if not hmac.compare_digest(_hash(token.strip()), self._hash):
            raise _unauthorized("the token is not valid")
        return Principal("default")


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _unauthorized(message: str) -> Problem:
    return Problem(401, message, headers={"WWW-Authenticate": "Bearer"})
