"""Several processes at one journal, and processes that are killed."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from quarterdeck.runtime.journal import Journal

Query = Callable[[str], list[tuple[Any, ...]]]

WORK = """
import asyncio, os, sys
from quarterdeck.events import LLMFinished
from quarterdeck.runtime.journal import open_journal

async def work(journal, run_id, count):
    run = await journal.open_run(run_id)
    for seq in range(len(run.events) + 1, len(run.events) + 1 + count):
        event = LLMFinished(model="m", path=f"t/1/llm/{seq}", text=f"{run_id} {seq} " * 60)
        await run.append(event.stamped(run_id, seq))
        os.write(1, f"{run_id} {seq}\\n".encode())  # acknowledged

async def main():
    journal = open_journal(sys.argv[1])
    await asyncio.gather(*(work(journal, run_id, int(sys.argv[2])) for run_id in sys.argv[3:]))

asyncio.run(main())
"""


def start(url: str, count: int, *run_ids: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", WORK, url, str(count), *run_ids]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def acknowledged(output: bytes) -> dict[str, int]:
    """The last event of each run that was acknowledged."""
    last: dict[str, int] = {}
    for line in output.decode().splitlines():
        run_id, seq = line.split()
        last[run_id] = int(seq)
    return last


async def test_a_killed_process_loses_nothing_that_was_acknowledged(
    journal: Journal, journal_url: str, query: Query
) -> None:
    run_ids = [f"r{n}" for n in range(20)]
    kills = 0
    for _ in range(6):
        process = start(journal_url, 100_000, *run_ids)
        assert process.stdout is not None
        first = await asyncio.to_thread(process.stdout.readline)  # it is under way
        await asyncio.sleep(random.uniform(0, 0.3))
        process.kill()
        rest, errors = process.communicate(timeout=10)
        assert (process.returncode, errors) == (-9, b"")
        kills += 1
        for run_id, last in acknowledged(first + rest).items():
            events = await journal.events(run_id)
            seqs = [event.seq for event in events]
            assert seqs == list(range(1, len(seqs) + 1))  # no gap
            assert len(seqs) >= last
    assert kills == 6
    assert {row[0] for row in query("SELECT max(epoch) FROM qd_runs")} == {6}
    if "://" not in journal_url:
        assert query("PRAGMA integrity_check") == [("ok",)]


def test_processes_write_to_one_journal_at_once(journal: Journal, journal_url: str) -> None:
    """The tables are not there yet: both make them."""
    processes = [start(journal_url, 20, *(f"{name}{n}" for n in range(10))) for name in "abc"]
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, b"")
    for name in "abc":
        for n in range(10):
            events = asyncio.run(journal.events(f"{name}{n}"))
            assert [event.seq for event in events] == list(range(1, 21))


def test_a_run_goes_to_the_process_that_opened_it_last(journal: Journal, journal_url: str) -> None:
    old = start(journal_url, 100_000, "r1")
    assert old.stdout is not None
    old.stdout.readline()
    run = asyncio.run(journal.open_run("r1"))
    began = time.monotonic()
    _, errors = old.communicate(timeout=30)
    assert time.monotonic() - began < 10
    assert b"FencedError: run 'r1' was taken over: its epoch is 2, and this process has 1" in errors
    assert asyncio.run(journal.events("r1")) == run.events  # nothing was added after it had been taken over
