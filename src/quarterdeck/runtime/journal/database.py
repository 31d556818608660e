"""A connection to the journal's database: what differs between SQLite and PostgreSQL, and nothing else."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Generator, Sequence
from typing import Any, Protocol

from quarterdeck.errors import ConfigError

BUSY_SECONDS = 30.0
"""How long SQLite waits for another process's transaction, and how long connecting to PostgreSQL may take."""

Row = tuple[Any, ...]


class Database(Protocol):
    """One connection. SQL is written with ``?`` for parameters."""

    begin_write: str
    begin_read: str
    lock_rows: str
    """Ends a SELECT whose rows nobody else may change until the transaction ends."""
    lock_schema: str
    """Makes other processes wait until this one has created the tables."""
    find_table: str
    """Gives a row if the table of the parameter's name is there."""
    bytes_type: str
    now: str
    """An expression: seconds since 1970 by the database's clock, the same for all processes."""
    hold_rows: str
    """Ends a SELECT of rows that this transaction changes; waits for others that do."""
    claim_rows: str
    """Ends a SELECT of rows that nobody else may have meanwhile; those that somebody has are passed over."""
    notify: str
    """A statement that sends its parameter, a text, to all connections that listen; "" where there is none."""

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]: ...

    def executemany(self, sql: str, rows: Sequence[Row]) -> None: ...

    def is_one_of(self, values: Sequence[Any]) -> tuple[str, list[Any]]:
        """SQL that is true for a column whose value is among these, and its parameters."""
        ...

    def notifications(self, seconds: float) -> list[str]:
        """Texts sent with ``notify`` that this connection has got, which has to LISTEN; waits so long at most."""
        ...

    def is_lost(self) -> bool:
        """True when the connection is broken, so that another one has to be made."""
        ...

    def concerns_all(self, error: Exception) -> bool:
        """True for an error of the whole database, False for one that a single row or run may have caused."""
        ...

    def close(self) -> None: ...


@contextlib.contextmanager
def transaction(database: Database, begin: str) -> Generator[None]:
    """Commits at the end, rolls back on an error."""
    database.execute(begin)
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(Exception):  # the connection may be gone, and the transaction with it
            database.execute("ROLLBACK")
        raise


class Target:
    """Where a journal is.

    Args:
        where: A path, ``sqlite:///path`` or ``postgresql://user@host/database``.

    Raises:
        ConfigError: It is none of these, or the extra for PostgreSQL is not installed.
    """

    def __init__(self, where: str | os.PathLike[str]) -> None:
        text = os.fspath(where)
        scheme, separator, rest = text.partition("://")
        if not separator:
            self._use_sqlite(text)
        elif scheme == "sqlite":
            self._use_sqlite(rest.removeprefix("/"))
        elif scheme.partition("+")[0] in ("postgresql", "postgres"):
            self._use_postgresql("postgresql://" + rest)
        else:
            raise ConfigError(
                f"journal: {scheme}:// is not known; give a path, sqlite:///path or postgresql://user@host/database"
            )

    def _use_sqlite(self, path: str) -> None:
        if path in ("", ":memory:"):
            raise ConfigError(
                f"journal: {path!r} is not a file; a journal must outlive its process: give a path, such as 'runs.db', "
                "or no journal at all for a run in memory"
            )
        from quarterdeck.runtime.journal.sqlite import SQLite  # no database is loaded before one is named

        self.key = os.path.realpath(path)
        self.shown = path
        self._kind: Callable[[str], Database] = SQLite

    def _use_postgresql(self, url: str) -> None:
        try:
            from quarterdeck.runtime.journal import postgres
        except ImportError:
            raise ConfigError(
                "journal: PostgreSQL needs psycopg 3, which is not installed: pip install 'quarterdeck[postgres]'"
            ) from None
        self.key = url
        self.shown = postgres.shown(url)
        self._kind = postgres.PostgreSQL

    def connect(self) -> Database:
        """A new connection."""
        return self._kind(self.key)
