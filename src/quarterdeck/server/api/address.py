"""Which crew a request is for: by path (``/crews/NAME``), by host (``NAME.example.com``), or the only one there is."""

from __future__ import annotations

from collections.abc import Callable, Collection

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from quarterdeck.server.api.problems import Problem

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
            crew = self._crew(scope)
            if crew:
                scope = {**scope, "path": f"/crews/{crew}{scope['path']}", "raw_path": None}
        await self._app(scope, receive, send)

    def _crew(self, scope: Scope) -> str | None:
        names = self._names()
        label, _, rest = _host(scope).partition(".")
        name, at, version = label.partition("@")
        if rest and name in names:
            return f"{name}{at}{version}"
        path: str = scope["path"]
        if len(names) == 1 and not any(path == own or path.startswith(f"{own}/") for own in _OWN):
            return next(iter(names))
        return None


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
