"""A process of the chaos test: as ``quarterdeck serve --no-worker`` or ``quarterdeck worker``, with short times and
without the limit of deaths.

python process.py DATABASE DEAD_AFTER [PORT]: with a port a server, else a worker.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from pathlib import Path

from quarterdeck.project import Registry
from quarterdeck.server.app import create_app
from quarterdeck.server.auth import hash_of
from quarterdeck.server.housekeeping import Housekeeping
from quarterdeck.server.serve import bound, listen
from quarterdeck.server.settings import Settings
from quarterdeck.server.store import Store
from quarterdeck.server.webhooks import Deliverer, Retries, delivering
from quarterdeck.server.worker import Worker, run_worker


async def main(database: str, dead_after: float, port: int | None) -> None:
    registry = Registry.load([f"report@1={Path(__file__).with_name('crew.py')}:crew"])
    settings = Settings(
        database=database,
        token_hash=hash_of(os.environ["QUARTERDECK_TOKEN"]),
        webhook_secret=os.environ["QUARTERDECK_WEBHOOK_SECRET"],
        worker=False,
        dev=True,
    )
    store = await Store.open(database)
    store.max_deaths = 1_000_000  # so many kills hit some run three times
    retries = Retries(first=0.2, longest=1.0)
    deliverer = Deliverer(store, settings, retries=retries, timeout=5.0, lease=1.5 * dead_after)
    print("up", flush=True)
    if port is not None:
        await listen(create_app(registry, settings, store, deliverer), bound("127.0.0.1", port))
    else:
        housekeeping = Housekeeping(store, every=dead_after / 5, dead_after=dead_after)
        worker = Worker(store, registry, concurrency=20, beat_seconds=dead_after / 5, housekeeping=housekeeping)
        async with delivering(store, deliverer):
            await run_worker(worker)
    await asyncio.to_thread(store.close)


logging.basicConfig(level=logging.ERROR)
asyncio.run(main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else None))
