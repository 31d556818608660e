"""Starting a server and a worker process, and ending them in order."""

from __future__ import annotations

import uvicorn
from fastapi import FastAPI

from quarterdeck.project import Registry
from quarterdeck.server.app import create_app
from quarterdeck.server.settings import Settings
from quarterdeck.server.store import Store
from quarterdeck.server.webhooks import Deliverer, delivering
from quarterdeck.server.worker import Worker, run_worker


async def run_server(registry: Registry, settings: Settings, host: str, port: int) -> None:
    """Serves until SIGTERM or SIGINT; then running crews finish their step and are handed over.

    Args:
        registry: The crews.
        settings: How the server behaves.
        host: The address to listen on.
        port: The port.

    Raises:
        ConfigError: The database or the webhooks' secret is none.
    """
    store = await Store.open(settings.database)
    try:
        await listen(create_app(registry, settings, store), host, port)
    finally:
        store.close()


async def listen(app: FastAPI, host: str, port: int) -> None:
    """Serves an app until SIGTERM or SIGINT.

    Args:
        app: The app.
        host: The address to listen on.
        port: The port.
    """
    config = uvicorn.Config(app, host=host, port=port, log_level="warning", timeout_graceful_shutdown=5)
    await uvicorn.Server(config).serve()


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
