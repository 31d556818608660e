"""SQLite, through Python's own module."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from typing import Any

from quarterdeck.errors import ConfigError
from quarterdeck.runtime.journal.database import BUSY_SECONDS, Row


class SQLite:
    """A connection to an SQLite file in WAL mode; a commit is on the disk (``synchronous=FULL``)."""

    begin_write = "BEGIN IMMEDIATE"
    begin_read = "BEGIN"
    lock_rows = ""  # BEGIN IMMEDIATE has locked the whole file
    lock_schema = "SELECT 1"
    find_table = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
    bytes_type = "BLOB"
    now = "((julianday('now') - 2440587.5) * 86400.0)"
    hold_rows = ""
    claim_rows = ""
    notify = ""

    def __init__(self, path: str) -> None:
        if sqlite3.sqlite_version_info < (3, 35):
            raise ConfigError(f"an SQLite journal needs SQLite 3.35, this Python has {sqlite3.sqlite_version}")
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

    def notifications(self, seconds: float) -> list[str]:
        raise NotImplementedError("SQLite sends no notifications")

    def is_lost(self) -> bool:
        return False

    def concerns_all(self, error: Exception) -> bool:
        # SQLITE_ERROR is a statement that is wrong; all others (busy, full, read-only, I/O) meet every run.
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        return isinstance(error, sqlite3.OperationalError) and code != sqlite3.SQLITE_ERROR

    def close(self) -> None:
        self._connection.close()
