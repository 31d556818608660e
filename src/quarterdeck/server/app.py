"""The HTTP server: crews behind the AMP API."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator

from fastapi import APIRouter, Depends, FastAPI
from fastapi.responses import JSONResponse, PlainTextResponse

import quarterdeck
from quarterdeck.project import Registry
from quarterdeck.server.api import admin, document, kickoff, problems, resume, runs
from quarterdeck.server.api.address import BodyLimit, CrewAddress
from quarterdeck.server.api.context import EntryOf, Services, entry
from quarterdeck.server.api.models import HealthBody
from quarterdeck.server.auth import Authenticator
from quarterdeck.server.live import Live
from quarterdeck.server.settings import Settings
from quarterdeck.server.store import Store
from quarterdeck.server.webhooks import Deliverer, delivering
from quarterdeck.server.work import Work

_ERRORS = document.errors(400, 401, 404, 413, 500)


def create_app(registry: Registry, settings: Settings, store: Store, deliverer: Deliverer | None = None) -> FastAPI:
    """The app: its routes, and its worker and the sending of webhooks for as long as it runs.

    Args:
        registry: The crews.
        settings: How it behaves.
        store: The runs; the caller closes it.
        deliverer: Sends the webhooks; by default one with the usual times.

    Raises:
        ConfigError: ``settings.webhook_secret`` is none.
    """
    sender = deliverer or Deliverer(store, settings)

    live = Live()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        async with delivering(store, sender), Work(store, registry, settings, live) as work:
            app.state.work = work
            yield

    app = FastAPI(
        title="Quarterdeck", version=quarterdeck.__version__, lifespan=lifespan, redoc_url=None, redirect_slashes=False
    )
    app.state.services = Services(store, registry, settings, Authenticator(settings.token_hash), live, sender)
    problems.install(app)
    document.install(app)
    _health(app)
    crew = APIRouter(prefix="/crews/{crew}", dependencies=[Depends(entry)], responses=_ERRORS)
    crew.add_api_route("", _healthy, response_class=PlainTextResponse, summary="Whether the crew is there")
    for part in (kickoff.router, resume.router, runs.router):
        crew.include_router(part)
    app.include_router(crew)
    app.include_router(admin.router, responses=_ERRORS)
    app.add_middleware(CrewAddress, names=registry.names)
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes)
    return app


async def _healthy(entry: EntryOf) -> str:
    """AMP's health check."""
    del entry
    return "Healthy"


def _health(app: FastAPI) -> None:
    async def live() -> JSONResponse:
        """The process answers, and needs not be started again."""
        work: Work = app.state.work
        reason = "the worker has failed" if work.has_failed else None
        return JSONResponse({"status": reason or "live"}, 503 if reason else 200)

    async def ready() -> JSONResponse:
        """It takes work: the database answers, and it is not draining."""
        work: Work = app.state.work
        reason = await work.not_ready()
        return JSONResponse({"status": reason or "ready"}, 503 if reason else 200)

    found = document.answer(HealthBody, 200, "Live") | document.answer(HealthBody, 503, "To be started again, and why")
    app.add_api_route("/health/live", live, responses=found, summary="Liveness")
    found = document.answer(HealthBody, 200, "Ready") | document.answer(HealthBody, 503, "Not ready, and why")
    app.add_api_route("/health/ready", ready, responses=found, summary="Readiness")
