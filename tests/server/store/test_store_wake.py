"""Who waits is woken: in this process, and by another."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from quarterdeck.events import LLMFinished
from quarterdeck.runtime.journal.database import Target
from quarterdeck.server.store import NewRun, Store, sql

New = Callable[..., NewRun]


async def test_nobody_is_woken_for_nothing(store: Store, new: New, journal_url: str) -> None:
    async with store.wake.on("webhooks", "run:x") as woken:
        await asyncio.sleep(0.6)  # beginning to listen wakes once
        await woken(0.1)
        assert not await woken(0.3)
        if "://" in journal_url:  # on SQLite any commit wakes
            await store.kickoff(new())
            assert not await woken(0.3)


async def test_what_happens_between_two_waits_is_not_missed(store: Store, new: New) -> None:
    async with store.wake.on("queue") as woken:
        await store.kickoff(new())
        await asyncio.sleep(0.05)
        await store.kickoff(new())
        assert await woken(5)


async def test_a_commit_of_another_process_wakes(store: Store, other: Store, new: New) -> None:
    async with store.wake.on("queue") as woken:
        while await woken(0.6):
            pass
        began = time.monotonic()
        await other.kickoff(new())
        assert await woken(5)
        assert time.monotonic() - began < 5.0


async def test_each_event_of_a_run_wakes(store: Store, other: Store, new: New) -> None:
    run, _ = await store.kickoff(new())
    await other.beat("w", [("report", "1")], {})
    opened = await other.open_claimed((await other.claim("w", [("report", "1")], 1))[0])
    async with store.wake.on(f"run:{run.id}") as woken:
        for seq in range(1, 6):
            while await woken(0.0):
                pass
            await opened.append(LLMFinished(model="m").stamped(run.id, seq))
            seen: list[int | None] = []
            while seq not in seen:
                await woken(2)
                seen = [event.seq for event in await store.journal.events(run.id)]


async def test_many_topics_in_one_commit(store: Store, other: Store) -> None:
    """More than one notification of PostgreSQL can hold."""
    topics = [f"run:{n:0100d}" for n in range(300)]
    async with store.wake.on(topics[0]) as first, store.wake.on(topics[-1]) as last:
        while await first(0.6) or await last(0.1):
            pass
        await other.journal.write(lambda database: sql.beat(database, "w", [], False), topics)
        assert await first(5)
        assert await last(5)


async def test_a_lost_connection_is_made_again(store: Store, other: Store, new: New, journal_url: str) -> None:
    if "://" not in journal_url:
        return
    async with store.wake.on("queue") as woken:
        while await woken(0.6):
            pass
        database = Target(journal_url).connect()
        database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND query LIKE 'LISTEN%'"
        )
        database.close()
        assert await woken(10)  # what came meanwhile may be lost: it is told to look again
        while await woken(0.7):
            pass
        await other.kickoff(new())
        assert await woken(5)
