"""The receiver of the chaos test's webhooks: away now and then, and it notes what it has accepted."""

from __future__ import annotations

import collections
import contextlib
import random
from collections.abc import AsyncGenerator

from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
_AWAY = 0.05  # of the requests get a 503


class Receiver:
    """Verifies every request.

    Attributes:
        accepted: Of each run the seq and type of what came, in order, each for the first time.
        repeated: Requests that had been accepted before.
        forged: Requests whose signature is wrong.
    """

    def __init__(self) -> None:
        self.accepted: dict[str, list[tuple[int, str]]] = collections.defaultdict(list)
        self.repeated = 0
        self.forged = 0
        self._ids: set[str] = set()
        self._verifier = Webhook(SECRET)

    async def handle(self, request: web.Request) -> web.Response:
        """Takes one request."""
        raw = await request.read()
        try:
            body = self._verifier.verify(raw, {name.lower(): value for name, value in request.headers.items()})
        except WebhookVerificationError:
            self.forged += 1
            return web.Response(status=401)
        if random.random() < _AWAY:
            return web.Response(status=503)
        name = request.headers["webhook-id"]
        if name in self._ids:
            self.repeated += 1
        else:
            self._ids.add(name)
            self.accepted[body["kickoff_id"]].append((body["seq"], body["type"]))
        return web.Response(status=204)

    @contextlib.asynccontextmanager
    async def listening(self, port: int) -> AsyncGenerator[None]:
        """Takes requests for as long as the block."""
        app = web.Application()
        app.router.add_post("/", self.handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        try:
            yield
        finally:
            await runner.cleanup()
