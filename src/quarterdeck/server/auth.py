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
        token_hash: SHA-256 of the token, in hex.
    """

    def __init__(self, token_hash: str) -> None:
        self._hash = token_hash

    def principal(self, request: Request) -> Principal:
        """Who sent a request.

        Raises:
            Problem: 401, there is no token, or a wrong one.
        """
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise _unauthorized("send the header Authorization: Bearer TOKEN")
        if not hmac.compare_digest(hash_of(token.strip()), self._hash):
            raise _unauthorized("the token is not valid")
        return Principal("default")


def hash_of(token: str) -> str:
    """What is kept of a token: its SHA-256, in hex."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def _unauthorized(message: str) -> Problem:
    return Problem(401, message, headers={"WWW-Authenticate": "Bearer"})
