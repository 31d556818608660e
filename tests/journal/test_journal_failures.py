"""A database that fails: every waiter is told, nobody hangs, and nothing is written twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from quarterdeck.errors import JournalError
from quarterdeck.events import LLMFinished
from quarterdeck.runtime.journal import Journal, open_journal

Query = Callable[[str], list[tuple[Any, ...]]]


def answer(seq: int, run_id: str = "r1") -> LLMFinished:
    return LLMFinished(model="m", text="hi").stamped(run_id, seq)


async def test_every_waiter_is_told_of_a_failed_database(journal: Journal, query: Query) -> None:
    runs = [await journal.open_run(f"r{n}") for n in range(10)]
    query("DROP TABLE qd_events")
    async with asyncio.timeout(10):
        results = await asyncio.gather(*(run.append(answer(1, run.run_id)) for run in runs), return_exceptions=True)
        assert [type(result) for result in results] == [JournalError] * 10
        assert "qd_events" in str(results[0])
        assert results[0] is not results[1]  # each has its own traceback
        with pytest.raises(JournalError, match="qd_events"):
            await journal.events("r1")
        assert len(await journal.runs()) == 10


@pytest.mark.parametrize("obstacle", ["no directory", "a directory", "another file"])
async def test_an_sqlite_file_that_cannot_be_opened(tmp_path: Path, obstacle: str) -> None:
    path = tmp_path / "sub" / "journal.db"
    if obstacle == "a directory":
        path.mkdir(parents=True)
    elif obstacle == "another file":
        path.parent.mkdir()
        path.write_text("not a database " * 100)
    says = "file is not a database" if obstacle == "another file" else "unable to open database file"
    journal = open_journal(path)
    for use in (journal.open_run("r1"), journal.runs(), journal.delete_run("r1")):
        with pytest.raises(JournalError, match=f"journal {path}: {says}"):
            await use
    journal.close()


async def test_an_sqlite_file_that_can_be_opened_later(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "sub" / "journal.db")
    with pytest.raises(JournalError):
        await journal.open_run("r1")
    (tmp_path / "sub").mkdir()
    await (await journal.open_run("r1")).append(answer(1))
    journal.close()


async def test_a_postgresql_server_that_is_not_there(tmp_path: Path) -> None:
    journal = open_journal(f"postgresql://me:geheim@/runs?host={tmp_path}")
    for use in (journal.open_run("r1"), journal.runs()):
        with pytest.raises(JournalError, match="No such file or directory") as caught:
            await use
        assert "geheim" not in str(caught.value)
    journal.close()


@pytest.fixture
def postgres_journal(postgres_url: str) -> Iterator[Journal]:
    journal = open_journal(postgres_url)
    yield journal
    journal.close()


async def test_a_broken_connection_is_made_again(postgres_journal: Journal, postgres_url: str) -> None:
    run = await postgres_journal.open_run("r1")
    await run.append(answer(1))
    assert len(await postgres_journal.events("r1")) == 1
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    await run.append(answer(2))
    assert [event.seq for event in await postgres_journal.events("r1")] == [1, 2]


async def test_a_database_that_does_not_come_back(postgres_journal: Journal, postgres_url: str) -> None:
    runs = [await postgres_journal.open_run(f"r{n}") for n in range(10)]
    await postgres_journal.runs()
    name = urlsplit(postgres_url).path[1:]
    with psycopg.connect(postgres_url.replace(f"/{name}?", "/postgres?"), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
    async with asyncio.timeout(20):
        results = await asyncio.gather(*(run.append(answer(1, run.run_id)) for run in runs), return_exceptions=True)
        assert [type(result) for result in results] == [JournalError] * 10
        with pytest.raises(JournalError, match="does not exist"):
            await postgres_journal.runs()


class CutCommit:
    """A loopback proxy before PostgreSQL that, once armed, cuts the connection in place of the answer to a COMMIT.

    The client cannot know whether it was committed. It was.
    """

    def __init__(self, socket: str) -> None:
        self._socket = socket
        self._serving: set[asyncio.Future[None]] = set()
        self.armed = False
        self.cuts = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_unix_connection(self._socket)
        ways = {
            asyncio.ensure_future(self._forward(reader, server_writer, cut=False)),
            asyncio.ensure_future(self._forward(server_reader, writer, cut=True)),
        }
        self._serving |= ways
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        writer.close()
        server_writer.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cut: bool) -> None:
        while data := await reader.read(65536):
            if cut and self.armed and b"COMMIT\0" in data:
                self.armed, self.cuts = False, self.cuts + 1
                return
            writer.write(data)

    async def ended(self) -> None:
        await asyncio.wait(self._serving)
        await asyncio.sleep(0)


@asynccontextmanager
async def proxy_before(url: str) -> AsyncGenerator[tuple[CutCommit, str]]:
    parts = urlsplit(url)
    proxy = CutCommit(f"{parse_qs(parts.query)['host'][0]}/.s.PGSQL.5432")
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield proxy, f"postgresql://postgres@127.0.0.1:{port}{parts.path}?sslmode=disable&gssencmode=disable"
        await proxy.ended()


async def test_a_commit_whose_answer_is_lost_is_not_done_twice(postgres_url: str) -> None:
    async with proxy_before(postgres_url) as (proxy, url):
        journal = open_journal(url)
        runs = [await journal.open_run(f"r{n}") for n in range(5)]
        for cut in range(1, 4):
            proxy.armed = True
            await asyncio.gather(*(run.append(answer(cut, run.run_id)) for run in runs))
            assert proxy.cuts == cut
        proxy.armed = True
        assert (await journal.open_run("r0")).epoch == 3  # raised twice: harmless, and nobody has the one between
        for run in runs:
            assert [event.seq for event in await journal.events(run.run_id)] == [1, 2, 3]
        journal.close()
