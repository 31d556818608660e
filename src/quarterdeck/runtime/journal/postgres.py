"""PostgreSQL, through psycopg 3 (the extra ``postgres``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict

from quarterdeck.errors import ConfigError
from quarterdeck.runtime.journal.database import BUSY_SECONDS, Row


def shown(url: str) -> str:
    """The URL's host and database: what may be shown of it.

    Raises:
        ConfigError: It cannot be read.
    """
    try:
        parts = conninfo_to_dict(url)
    except psycopg.Error:  # its text may hold a part of the password
        raise ConfigError(
            "journal: the PostgreSQL URL cannot be read; the form is postgresql://user:password@host:5432/database, "
            "with special characters in the password percent-encoded"
        ) from None
    return f"postgresql://{parts.get('host') or ''}/{parts.get('dbname') or ''}"


class PostgreSQL:
    """A connection to PostgreSQL through psycopg 3."""

    begin_write = "BEGIN"
    begin_read = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"
    lock_rows = " FOR SHARE"
    lock_schema = "SELECT pg_advisory_xact_lock(3907172904105)"  # "quarterdeck", nobody else's number
    # Not to_regclass: within a transaction it may still not see what another one has just committed.
    find_table = "SELECT 1 FROM pg_class WHERE relname = ? AND pg_table_is_visible(oid)"
    bytes_type = "BYTEA"
    now = "extract(epoch FROM clock_timestamp())::double precision"
    hold_rows = " FOR UPDATE"
    claim_rows = " FOR UPDATE SKIP LOCKED"
    notify = "SELECT pg_notify('quarterdeck', ?)"

    def __init__(self, url: str) -> None:
        # Unix sockets and pools answer quickly or never: the limit is for a host that does not answer.
        self._connection = psycopg.connect(url, autocommit=True, connect_timeout=int(BUSY_SECONDS))

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        cursor = self._connection.execute(sql.replace("?", "%s").encode(), parameters or None)
        return cursor.fetchall() if cursor.description else []

    def executemany(self, sql: str, rows: Sequence[Row]) -> None:
        with self._connection.cursor() as cursor:
            cursor.executemany(sql.replace("?", "%s").encode(), rows)

    def is_one_of(self, values: Sequence[Any]) -> tuple[str, list[Any]]:
        return "= ANY(?)", [list(values)]

    def notifications(self, seconds: float) -> list[str]:
        """Texts that were sent with ``notify`` to this connection, which has to LISTEN; waits for the first."""
        return [item.payload for item in self._connection.notifies(timeout=seconds, stop_after=1)]

    def is_lost(self) -> bool:
        return self._connection.closed

    def concerns_all(self, error: Exception) -> bool:
        rolled_back = isinstance(error, (errors.DeadlockDetected, errors.SerializationFailure))
        return isinstance(error, psycopg.OperationalError) and not rolled_back

    def close(self) -> None:
        self._connection.close()
