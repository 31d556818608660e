"""What must wait for what in PostgreSQL, with the waiting brought about: chance finds such a race too seldom."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import psycopg
import pytest

from quarterdeck.events import LLMFinished
from quarterdeck.runtime.journal import Journal, open_journal
from quarterdeck.runtime.journal.postgres import PostgreSQL


@pytest.fixture
def journals(postgres_url: str) -> Iterator[list[Journal]]:
    """Two journals with a writer each in one database, as two processes have them."""
    both = [open_journal(f"{postgres_url}&application_name={name}") for name in "ab"]
    yield both
    for journal in both:
        journal.close()


@contextmanager
def held(url: str, sql: str) -> Generator[None]:
    """A transaction that has done something, and is rolled back at the end."""
    with psycopg.connect(url) as connection:
        connection.execute(sql.encode())
        yield
        connection.rollback()


async def waiting(url: str, count: int) -> None:
    """Returns when so many connections wait for a lock."""
    with psycopg.connect(url, autocommit=True) as connection:
        async with asyncio.timeout(10):
            sql = (
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            while connection.execute(sql).fetchone() != (count,):  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.01)


async def test_two_processes_make_the_tables_one_after_the_other(journals: list[Journal], postgres_url: str) -> None:
    with held(postgres_url, PostgreSQL.lock_schema):
        opening = [asyncio.ensure_future(journal.open_run(f"r{n}")) for n, journal in enumerate(journals)]
        await waiting(postgres_url, 2)  # both have found no tables
    await asyncio.gather(*opening)
    assert len(await journals[0].runs()) == 2


async def test_a_takeover_waits_for_appends_under_way(journals: list[Journal], postgres_url: str) -> None:
    """Else the new owner would not see an event that its old owner was told is kept."""
    old = await journals[0].open_run("r1")
    with held(postgres_url, "LOCK TABLE qd_events IN EXCLUSIVE MODE"):
        append = asyncio.ensure_future(old.append(LLMFinished(model="m").stamped("r1", 1)))
        await waiting(postgres_url, 1)  # its epoch has been found good, its row is not written yet
        take_over = asyncio.ensure_future(journals[1].open_run("r1"))
        done, _ = await asyncio.wait([take_over], timeout=0.3)
        assert not done
    await append
    new = await take_over
    assert (new.epoch, [event.seq for event in new.events]) == (2, [1])
