"""Starting a server and a worker process, and ending them in order."""

from __future__ import annotations

import uvicorn

from quarterdeck.project import Registry
from quarterdeck.server.app import create_app
from quarterdeck.server.settings import Settings
from quarterdeck.server.store import Store
from quarterdeck.server.worker import Worker, run_worker


async def run_server(registry: Registry, settings: Settings, host: str, port: int) -> None:
    """Serves until SIGTERM or SIGINT; then running crews finish their step and are handed over.

    Args:
        registry: The crews.
        settings: How the server behaves.
        host: The address to listen on.
        port: The port.
    """
    store = await Store.open(settings.database)
    try:
        app = create_app(registry, settings, store)
        config = uvicorn.Config(app, host=host, port=port, log_level="warning", timeout_graceful_shutdown=5)
        await uvicorn.Server(config).serve()
    finally:
        store.close()


async def run_workers(registry: Registry, database: str, concurrency: int) -> None:
    """Runs crews until SIGTERM or SIGINT.

    Args:
        registry: The crews.
        database: Where the runs are.
        concurrency: Runs at once.
    """
    store = await Store.open(database)
    try:
        await run_worker(Worker(store, registry, concurrency=concurrency))
    finally:
        store.close()
