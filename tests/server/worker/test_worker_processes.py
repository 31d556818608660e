"""Real worker processes: SIGKILL, SIGSTOP, SIGTERM."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from quarterdeck.server.store import Store

CREW = """
from quarterdeck import LLM, Agent, Crew, Task
model = LLM("openai/gpt-4o-mini", base_url={url!r}, api_key="k")
writer = Agent(role="writer", goal="write", backstory="brief", llm=model)
tasks = [Task(name=f"t{{n}}", description=f"do {{n}}", expected_output="e", agent=writer, context=[]) for n in range(5)]
crew = Crew(name="report", tasks=tasks)
"""
WORKER = """
import asyncio, sys
from quarterdeck.project import Registry
from quarterdeck.server.housekeeping import Housekeeping
from quarterdeck.server.store import Store
from quarterdeck.server.worker import Worker, run_worker

async def main():
    registry = Registry.load(["report@1=" + sys.argv[2] + ":crew"])
    store = await Store.open(sys.argv[1])
    housekeeping = Housekeeping(store, every=0.1, dead_after=3.0)
    worker = Worker(store, registry, beat_seconds=0.2, housekeeping=housekeeping)
    print(worker.id, flush=True)
    await run_worker(worker)
    store.close()

asyncio.run(main())
"""
Start = Callable[[], Any]


@pytest.fixture
async def start(journal_url: str, tmp_path: Path, model: Any, request: Any) -> AsyncIterator[Start]:
    """Starts a worker process; all are ended with the test."""
    processes: list[asyncio.subprocess.Process] = []

    async def start() -> tuple[asyncio.subprocess.Process, str]:
        command = (sys.executable, "-c", WORKER, journal_url, str(tmp_path / "crew.py"))
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        processes.append(process)
        assert process.stdout
        return process, (await process.stdout.readline()).decode().strip()

    yield start
    for process in processes:
        if process.returncode is None:
            os.kill(process.pid, signal.SIGCONT)
            process.kill()
            await process.wait()


@pytest.fixture
def server(model: Any, gate: Any, tmp_path: Path) -> Any:
    """A model that answers 12 calls, then holds up the next ones until the gate is opened."""
    server = model(lambda request: "fine" if len(server.keys) < 12 else gate())
    (tmp_path / "crew.py").write_text(CREW.format(url=server.base_url))
    return server


@pytest.mark.parametrize(
    ("journal_url", "end"),
    [
        ("sqlite", signal.SIGKILL),
        ("postgresql", signal.SIGKILL),
        ("postgresql", signal.SIGTERM),
        ("postgresql", signal.SIGSTOP),
    ],
    indirect=["journal_url"],
)
async def test_two_processes(place: Any, server: Any, gate: Any, start: Start, end: signal.Signals) -> None:
    ids = [await place.kickoff() for _ in range(8)]
    first, name = await start()
    await place.until(lambda: len(server.requests) >= 12 + 8)  # each run is in the middle of a step
    second, _ = await start()
    os.kill(first.pid, end)
    if end == signal.SIGTERM:
        await asyncio.sleep(0.2)  # it has heard, and waits for its steps
        gate.is_open = True
        assert await asyncio.wait_for(first.wait(), 10) == 0
    else:
        await place.until(lambda: len(server.requests) >= 12 + 16)  # the second one has them all
        gate.is_open = True
    for run_id in ids:
        await place.reaches(run_id, "completed")
    store: Store = place.store
    records = [await place.get(run_id) for run_id in ids]
    taken = [record for record in records if record.attempt == 2]
    assert len(taken) == 8
    assert {record.deaths for record in taken} == {0 if end == signal.SIGTERM else 1}
    if end == signal.SIGSTOP:
        events = {run_id: await store.journal.events(run_id) for run_id in ids}
        os.kill(first.pid, signal.SIGCONT)  # it wakes up in the middle of its runs
        await asyncio.sleep(1.0)
        assert {run_id: await store.journal.events(run_id) for run_id in ids} == events
        assert [await place.get(run_id) for run_id in ids] == records
        more = await place.kickoff()  # and works on
        await place.reaches(more, "completed")
    if end == signal.SIGTERM:
        assert set(server.keys.values()) == {1}
    os.kill(second.pid, signal.SIGTERM)
    assert await asyncio.wait_for(second.wait(), 10) == 0
    assert name
