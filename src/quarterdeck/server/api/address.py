"""Which crew a request is for: by path (``/crews/NAME``), by host (``NAME.example.com``), or the only one there is.

What the whole server has, such as ``/health/ready``, is there on every host: who checks it may use any name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from quarterdeck.server.api.problems import ASKED, Problem

_OWN = ("/crews", "/health", "/openapi.json", "/docs", "/metrics", "/console", "/admin")


class CrewAddress:
    """Rewrites every request for a crew to ``/crews/NAME/...``, so that there is one set of routes.

    Args:
        app: The app.
        names: Gives the names of the crews.
    """

    def __init__(self, app: ASGIApp, names: Callable[[], Collection[str]]) -> None:
        self._app = app
        self._names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            asked: str = scope["path"]
            path = _plain(asked)
            crew = self._crew(scope, path)
            scope = {
                **scope,
                "path": (f"/crews/{crew}{path}".rstrip("/") if crew else path),
                "raw_path": None,
                ASKED: asked,
            }
        await self._app(scope, receive, send)

    def _crew(self, scope: Scope, path: str) -> str | None:
        if any(path == own or path.startswith(f"{own}/") for own in _OWN):
            return None
        names = self._names()
        label, _, rest = _host(scope).partition(".")
        name, at, version = label.partition("@")
        if rest and name in names:
            return f"{name}{at}{version}"
        return next(iter(names)) if len(names) == 1 else None


def _plain(path: str) -> str:
    """A path without what joining it to a base URL may have doubled: ``/crews/report//inputs/``. It is not redirected
    to, since behind a proxy the server does not know its own URL, and a POST may lose its body."""
    return "/" + "/".join(part for part in path.split("/") if part)


def _host(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"host":
            return value.decode("latin-1").partition(":")[0].lower()
    return ""


class BodyLimit:
    """Refuses request bodies that are too large with 413, before they are read into memory.

    Args:
        app: The app.
        max_bytes: The most bytes of a body.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max = max_bytes
        self._said = f"the request is larger than {max_bytes} bytes"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._max:
                # FastAPI lets this one pass, and takes any other error for a body that it cannot read.
                raise HTTPException(413, self._said)
            return message

        if length.isdigit() and int(length) > self._max:
            await Problem(413, self._said).response()(scope, receive, send)
            return
        await self._app(scope, counted, send)
