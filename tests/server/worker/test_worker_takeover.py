"""A worker that ends, dies or sleeps: its runs go on elsewhere, and it can do no harm."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from quarterdeck import Task
from quarterdeck.events import LLMFinished, RunStarted
from quarterdeck.server.housekeeping import Housekeeping
from quarterdeck.server.store import Store
from quarterdeck.testing import after


async def epochs(store: Store, run_id: str) -> list[int]:
    rows = await store.journal.read(
        lambda database: database.execute("SELECT epoch FROM qd_events WHERE run_id = ? ORDER BY seq", (run_id,))
    )
    return [row[0] for row in rows]


def steps(agent: Any, count: int) -> list[Task]:
    return [
        Task(name=f"t{n}", description=f"do {n}", expected_output="e", agent=agent, context=[]) for n in range(count)
    ]


async def test_a_draining_worker_hands_over_between_steps(place: Any, model: Any, agent: Any, other: Store) -> None:
    server = model(lambda request: after(0.1, "fine"))
    place.serve(*steps(agent(server), 4))
    ids = [await place.kickoff() for _ in range(10)]
    first = place.start()
    await place.until(lambda: len(server.keys) >= 10)  # each has done a step
    began = time.monotonic()
    await first.drain()
    assert time.monotonic() - began < 15
    assert first.running == []  # ended or handed over
    waiting = [await place.get(run_id) for run_id in ids]
    assert {record.state for record in waiting} == {"queued"}
    assert {record.deaths for record in waiting} == {0}
    done = len(server.keys)
    await asyncio.sleep(0.2)
    assert len(server.keys) == done < 40
    place.start(other)
    for run_id in ids:
        record = await place.reaches(run_id, "completed")
        assert record.attempt == 2
        events = await place.store.journal.events(run_id)
        assert [e.segment for e in events if isinstance(e, RunStarted)] == [1, 2]
    assert len(server.keys) == 40
    assert set(server.keys.values()) == {1}  # nothing was paid twice


async def test_a_step_longer_than_the_grace_is_interrupted(place: Any, model: Any, agent: Any) -> None:
    slow = [True]
    server = model(lambda request: after(60.0 if slow[0] else 0.0, "fine"))
    place.serve(*steps(agent(server), 1))
    run_id = await place.kickoff()
    first = place.start()
    await place.until(lambda: server.requests)
    began = time.monotonic()
    await first.drain(grace=0.3)
    assert 0.3 <= time.monotonic() - began < 15
    assert (await place.get(run_id)).state == "queued"
    slow[0] = False
    place.start()
    await place.reaches(run_id, "completed")


async def test_a_draining_worker_takes_nothing_new(place: Any, model: Any, agent: Any) -> None:
    server = model(lambda request: after(0.3, "fine"))
    place.serve(*steps(agent(server), 1))
    first = place.start()
    run_id = await place.kickoff()
    await place.until(lambda: server.requests)
    draining = asyncio.create_task(first.drain())
    await asyncio.sleep(0)
    late = await place.kickoff()
    await draining
    assert (await place.get(late)).attempt == 0
    assert (await place.get(run_id)).state == "completed"  # its last step was its end


async def test_the_runs_of_a_dead_worker_are_taken_over(place: Any, model: Any, agent: Any, other: Store) -> None:
    server = model(lambda request: after(0.1, "fine"))
    place.serve(*steps(agent(server), 4))
    ids = [await place.kickoff() for _ in range(10)]
    place.start()
    await place.until(lambda: len(server.keys) >= 15)
    _, task = place.workers.pop()
    task.cancel()  # what a kill leaves behind: rows that say running
    await asyncio.wait([task])
    died = time.monotonic()
    assert {(await place.get(run_id)).state for run_id in ids} <= {"running", "completed"}
    place.start(other)
    for run_id in ids:
        await place.reaches(run_id, "completed")
    assert 0.4 < time.monotonic() - died < 15
    # Only what was under way when it died was asked twice; what was in the journal never.
    assert len(server.keys) == 40
    assert sum(server.keys.values()) <= 50
    for run_id in ids:
        calls = [e.path for e in await place.store.journal.events(run_id) if isinstance(e, LLMFinished)]
        assert sorted(calls) == [f"t{n}/1/llm/1" for n in range(4)]


async def test_a_worker_that_slept_writes_nothing(place: Any, model: Any, agent: Any, other: Store, gate: Any) -> None:
    """Its run was taken over while it slept; then its model answers, and it wants to go on."""
    server = model(lambda request: gate() if len(server.requests) == 1 else "by another")
    place.serve(*steps(agent(server), 3))
    run_id = await place.kickoff()
    place.start(beat_seconds=60.0, concurrency=1)  # its heart has stopped, and its run goes on
    await place.until(lambda: server.requests)
    place.start(other, beat_seconds=0.05)
    await place.reaches(run_id, "completed")
    taken = await place.get(run_id)
    assert (taken.attempt, taken.deaths) == (2, 1)
    events = await place.store.journal.events(run_id)
    gate.is_open = True
    await place.until(lambda: not place.workers[0][0].running)  # it has tried to write, and given up
    assert await place.store.journal.events(run_id) == events
    assert await epochs(place.store, run_id) == sorted(await epochs(place.store, run_id))
    assert await place.get(run_id) == taken
    assert len(server.requests) == 4  # it did not go on


async def test_a_worker_that_slept_begins_no_step(place: Any, model: Any, agent: Any, gate: Any) -> None:
    """It wakes up in the middle of a run and cannot know yet whether another one has it."""
    server = model(lambda request: gate() if len(server.requests) == 1 else "fine")
    place.serve(*steps(agent(server), 3))
    run_id = await place.kickoff()
    housekeeping = Housekeeping(place.store, every=60.0, dead_after=0.6)
    worker = place.start(beat_seconds=60.0, concurrency=1, housekeeping=housekeeping)
    await place.until(lambda: server.requests)
    await asyncio.sleep(0.5)  # more than three quarters of the time after which it counts as dead
    gate.is_open = True
    record = await place.reaches(run_id, "completed")
    assert (record.attempt, record.deaths) == (2, 0)  # it gave the run back, and took it up again with a heartbeat
    events = await place.store.journal.events(run_id)
    assert [e.segment for e in events if isinstance(e, RunStarted)] == [1, 2]
    assert len(server.requests) == 3  # the answer that had come was kept
    await place.until(lambda: not worker.running)


async def test_a_worker_that_has_lost_its_run_stops_it(place: Any, model: Any, agent: Any) -> None:
    server = model(lambda request: after(60.0, "late"))
    place.serve(*steps(agent(server), 1))
    run_id = await place.kickoff()
    worker = place.start(beat_seconds=0.3)
    await place.until(lambda: server.requests)
    await place.store.take_over_dead(-1.0)  # somebody thinks that it is dead
    await place.until(lambda: len(server.requests) == 2, 5)
    record = await place.get(run_id)
    assert (record.worker, record.attempt, record.deaths) == (worker.id, 2, 1)
    await asyncio.sleep(0.4)
    assert worker.running == [run_id]  # the second attempt, which is its own


async def test_a_database_that_is_away_for_a_moment(place: Any, model: Any, agent: Any, journal_url: str) -> None:
    """PostgreSQL ends every connection; the worker, its runs and the wake-ups go on."""
    if "://" not in journal_url:
        return
    server = model(lambda request: after(0.05, "fine"))
    place.serve(*steps(agent(server), 6))
    ids = [await place.kickoff() for _ in range(10)]
    place.start()
    for _ in range(4):
        await asyncio.sleep(0.15)
        database = place.store.journal.connect()
        database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        database.close()
    for run_id in ids:
        await place.reaches(run_id, "completed", seconds=20)
    assert set(server.keys.values()) == {1}
