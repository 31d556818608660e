"""A connection to the journal's database: what differs between SQLite and PostgreSQL, and nothing else."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Generator, Sequence
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

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]: ...

    def executemany(self, sql: str, rows: Sequence[Row]) -> None: ...

    def is_one_of(self, values: Sequence[Any]) -> tuple[str, list[Any]]:
        """SQL that is true for a column whose value is among these, and its parameters."""
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


class SQLite:
    """A connection to an SQLite file in WAL mode; a commit is on the disk (``synchronous=FULL``)."""

    begin_write = "BEGIN IMMEDIATE"
    begin_read = "BEGIN"
    lock_rows = ""  # BEGIN IMMEDIATE has locked the whole file
    lock_schema = "SELECT 1"
    find_table = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
    bytes_type = "BLOB"

    def __init__(self, path: str) -> None:
        self._connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            self._use_wal()
            self._connection.execute("PRAGMA synchronous = FULL")
        except BaseException:
            self._connection.close()
            raise

    def _use_wal(self) -> None:
        """Changing the mode does not wait for other connections as a transaction does: try again."""
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                if self._connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] == "wal":
                    return
                raise ConfigError("an SQLite journal needs WAL mode, which this file system does not offer")
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        return self._connection.execute(sql, parameters).fetchall()

    def executemany(self, sql: str, rows: Sequence[Row]) -> None:
        self._connection.executemany(sql, rows)

    def is_one_of(self, values: Sequence[Any]) -> tuple[str, list[Any]]:
        return f"IN ({','.join('?' * len(values))})", list(values)

    def is_lost(self) -> bool:
        return False

    def concerns_all(self, error: Exception) -> bool:
        return isinstance(error, sqlite3.OperationalError)

    def close(self) -> None:
        self._connection.close()


class PostgreSQL:
    """A connection to PostgreSQL through psycopg 3."""

    begin_write = "BEGIN"
    begin_read = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"
    lock_rows = " FOR SHARE"
    lock_schema = "SELECT pg_advisory_xact_lock(3907172904105)"  # "quarterdeck", nobody else's number
    find_table = "SELECT 1 WHERE to_regclass(?) IS NOT NULL"
    bytes_type = "BYTEA"

    def __init__(self, url: str) -> None:
        self._psycopg = _psycopg()
        # Unix sockets and pools answer quickly or never: the limit is for a host that does not answer.
        self._connection = self._psycopg.connect(url, autocommit=True, connect_timeout=int(BUSY_SECONDS))

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        cursor = self._connection.execute(sql.replace("?", "%s"), parameters or None)
        return cursor.fetchall() if cursor.description else []

    def executemany(self, sql: str, rows: Sequence[Row]) -> None:
        with self._connection.cursor() as cursor:
            cursor.executemany(sql.replace("?", "%s"), rows)

    def is_one_of(self, values: Sequence[Any]) -> tuple[str, list[Any]]:
        return "= ANY(?)", [list(values)]

    def is_lost(self) -> bool:
        return self._connection.closed

    def concerns_all(self, error: Exception) -> bool:
        errors = self._psycopg.errors
        rolled_back = isinstance(error, (errors.DeadlockDetected, errors.SerializationFailure))
        return isinstance(error, self._psycopg.OperationalError) and not rolled_back

    def close(self) -> None:
        self._connection.close()


def _psycopg() -> Any:
    try:
        import psycopg  # an optional extra
    except ImportError:
        raise ConfigError("a journal in PostgreSQL needs psycopg 3: pip install 'quarterdeck[postgres]'") from None
    return psycopg


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
        self._postgresql = False
        self.key = os.path.realpath(path)
        self.shown = path

    def _use_postgresql(self, url: str) -> None:
        try:
            parts = _psycopg().conninfo.conninfo_to_dict(url)
        except _psycopg().Error:  # its text may hold a part of the password
            raise ConfigError(
                "journal: the PostgreSQL URL cannot be read; the form is postgresql://user:password@host:5432/database"
                ", with special characters in the password percent-encoded"
            ) from None
        self._postgresql = True
        self.key = url
        self.shown = f"postgresql://{parts.get('host', '')}/{parts.get('dbname', '')}"

    def connect(self) -> Database:
        """A new connection."""
        return PostgreSQL(self.key) if self._postgresql else SQLite(self.key)
