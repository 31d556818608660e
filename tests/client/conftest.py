"""A server on the loopback that answers what a test says: other servers than ours, and broken connections."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import web

from quarterdeck.client import AsyncClient

Answer = Callable[[web.Request], Any] | web.StreamResponse | dict[str, Any] | None
"""What is answered: a JSON object, a response, what a function gives; None breaks the connection."""


@dataclass
class Got:
    """A request that came."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


class Script:
    """Answers in order; the last one again and again."""

    def __init__(self) -> None:
        self.url = ""
        self.got: list[Got] = []
        self._answers: list[Answer] = []

    def answers(self, *answers: Answer) -> None:
        self._answers = list(answers)
        self.got.clear()

    def client(self, token: str = "user-token", **settings: Any) -> AsyncClient:
        return AsyncClient(self.url, token, **settings)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        body = await request.json() if request.can_read_body else None
        self.got.append(Got(request.method, request.path_qs, headers, body))
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if callable(answer) and not isinstance(answer, web.StreamResponse):
            answer = await answer(request)
        if answer is None:
            assert request.transport
            request.transport.abort()
            return web.Response()
        return web.json_response(answer) if isinstance(answer, dict) else answer


@pytest.fixture
async def script() -> AsyncIterator[Script]:
    script = Script()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", script.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    script.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield script
    await runner.cleanup()
