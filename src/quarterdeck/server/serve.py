"""Starting a server and a worker process, and ending them in order."""

from __future__ import annotations

import socket

import uvicorn
from fastapi import FastAPI

from quarterdeck.errors import ConfigError
from quarterdeck.project import Registry
from quarterdeck.server.app import create_app
from quarterdeck.server.settings import Settings
from quarterdeck.server.store import Store
from quarterdeck.server.webhooks import Deliverer, delivering
from quarterdeck.server.worker import Worker, run_worker


def bound(host: str, port: int) -> socket.socket:
    """A socket that requests come to; from now on they wait until the server answers.

    Args:
        host: The address to listen on.
        port: The port; 0 takes a free one.

    Raises:
        ConfigError: The address is not to be had.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host}, port {port}: {error.strerror or error}; see --host, --port"
        ) from None


async def run_server(registry: Registry, settings: Settings, listener: socket.socket) -> None:
    """Serves until SIGTERM or SIGINT; then running crews finish their step and are handed over.

    Args:
        registry: The crews.
        settings: How the server behaves.
        listener: Where requests come: see ``bound``.

    Raises:
        ConfigError: The database or the webhooks' secret is none.
    """
    store = await Store.open(settings.database)
    try:
        await listen(create_app(registry, settings, store), listener)
    finally:
        store.close()


async def listen(app: FastAPI, listener: socket.socket) -> None:
    """Serves an app until SIGTERM or SIGINT.

    Args:
        app: The app.
        listener: Where requests come.
    """
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=5)
    await uvicorn.Server(config).serve([listener])


async def run_workers(registry: Registry, settings: Settings) -> None:
    """Runs crews and sends webhooks until SIGTERM or SIGINT.

    Args:
        registry: The crews.
        settings: How it behaves.

    Raises:
        ConfigError: The database or the webhooks' secret is none.
    """
    store = await Store.open(settings.database)
    try:
        async with delivering(store, Deliverer(store, settings)):
            await run_worker(Worker(store, registry, concurrency=settings.concurrency))
    finally:
        store.close()
