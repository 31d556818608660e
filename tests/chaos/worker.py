"""A worker process of the chaos test: as ``quarterdeck worker``, with short times and without the limit of deaths.

python worker.py DATABASE DEAD_AFTER
"""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path

from quarterdeck.project import Registry
from quarterdeck.server.housekeeping import Housekeeping
from quarterdeck.server.store import Store
from quarterdeck.server.worker import Worker, run_worker


async def main(database: str, dead_after: float) -> None:
    registry = Registry.load([f"report@1={Path(__file__).with_name('crew.py')}:crew"])
    store = await Store.open(database)
    store.max_deaths = 1_000_000  # so many kills hit some run three times
    housekeeping = Housekeeping(store, every=dead_after / 5, dead_after=dead_after)
    worker = Worker(store, registry, concurrency=20, beat_seconds=dead_after / 5, housekeeping=housekeeping)
    await run_worker(worker)
    await asyncio.to_thread(store.close)


logging.basicConfig(level=logging.ERROR)
asyncio.run(main(sys.argv[1], float(sys.argv[2])))
