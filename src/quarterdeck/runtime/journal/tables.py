"""Every table and every SQL statement of the journal, the same for both databases."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from quarterdeck.errors import ConfigError
from quarterdeck.events import LLMFinished
from quarterdeck.runtime.journal.database import Database, Row, transaction
from quarterdeck.runtime.journal.payloads import EventRow, base_of, references

SCHEMA_VERSION = 1
_CHUNK = 500  # values in one IN (...): SQLite takes 999 at least

_TABLES = (
    "CREATE TABLE qd_schema (version INTEGER NOT NULL)",
    """CREATE TABLE qd_runs (
        run_id TEXT NOT NULL PRIMARY KEY,
        epoch BIGINT NOT NULL,
        status TEXT NOT NULL,
        created DOUBLE PRECISION NOT NULL,
        finished DOUBLE PRECISION)""",
    "CREATE INDEX qd_runs_created ON qd_runs (created)",
    """CREATE TABLE qd_events (
        run_id TEXT NOT NULL,
        seq BIGINT NOT NULL,
        epoch BIGINT NOT NULL,
        type TEXT NOT NULL,
        path TEXT NOT NULL,
        time DOUBLE PRECISION NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (run_id, seq))""",
    # Of one run, not of all: runs can then be erased one by one, with no race against a writer elsewhere that
    # has just decided that a text is there already.
    """CREATE TABLE qd_payloads (
        run_id TEXT NOT NULL,
        hash TEXT NOT NULL,
        body {bytes} NOT NULL,
        PRIMARY KEY (run_id, hash))""",
)


class RunRow(NamedTuple):
    """A run in the journal.

    Args:
        run_id: The run.
        status: ``running`` (or interrupted: nobody can tell), or the status that it ended with.
        started: When it was first opened, in seconds since 1970.
        finished: When it ended; None while it has not.
    """

    run_id: str
    status: str
    started: float
    finished: float | None


class Ownership(NamedTuple):
    """Who may append to a run. A run that was erased and made again has another ``created``."""

    epoch: int
    created: float


def prepare(database: Database) -> None:
    """Creates the tables where they are not there yet; several processes may do so at once.

    Raises:
        ConfigError: The tables were made by a newer version.
    """
    if not database.execute(database.find_table, ("qd_schema",)):
        with transaction(database, database.begin_write):
            database.execute(database.lock_schema)
            if not database.execute(database.find_table, ("qd_schema",)):
                for statement in _TABLES:
                    database.execute(statement.format(bytes=database.bytes_type))
                database.execute("INSERT INTO qd_schema (version) VALUES (?)", (SCHEMA_VERSION,))
    version = database.execute("SELECT version FROM qd_schema")[0][0]
    if version > SCHEMA_VERSION:
        raise ConfigError(
            f"its tables have version {version}, this version knows {SCHEMA_VERSION}: upgrade quarterdeck"
        )


def take_over(database: Database, run_id: str) -> Ownership:
    """Creates the run, or raises its epoch by one: from then on, appends of an older epoch are refused."""
    return take_over_all(database, [run_id])[run_id]


def take_over_all(database: Database, run_ids: Iterable[str]) -> dict[str, Ownership]:
    """As ``take_over``, for many runs."""
    owners: dict[str, Ownership] = {}
    for chunk in _chunks(sorted(run_ids)):
        values = ", ".join(["(?, 1, 'running', ?)"] * len(chunk))
        rows = database.execute(
            f"INSERT INTO qd_runs (run_id, epoch, status, created) VALUES {values} "
            "ON CONFLICT (run_id) DO UPDATE SET epoch = qd_runs.epoch + 1 RETURNING run_id, epoch, created",
            [value for run_id in chunk for value in (run_id, time.time())],
        )
        owners.update((run_id, Ownership(epoch, created)) for run_id, epoch, created in rows)
    return owners


def lock_owners(database: Database, run_ids: Iterable[str]) -> dict[str, Ownership]:
    """Who owns these runs, which cannot change before the transaction ends."""
    owners: dict[str, Ownership] = {}
    for chunk in _chunks(sorted(run_ids)):  # in order: two writers cannot wait for each other
        among, parameters = database.is_one_of(chunk)
        sql = f"SELECT run_id, epoch, created FROM qd_runs WHERE run_id {among} ORDER BY run_id{database.lock_rows}"
        for run_id, epoch, created in database.execute(sql, parameters):
            owners[run_id] = Ownership(epoch, created)
    return owners


def last_seqs(database: Database, run_ids: Iterable[str]) -> dict[str, int]:
    """The last event of each of these runs; a run without events is left out."""
    last: dict[str, int] = {}
    for chunk in _chunks(sorted(run_ids)):
        among, parameters = database.is_one_of(chunk)
        rows = database.execute(
            f"SELECT run_id, max(seq) FROM qd_events WHERE run_id {among} GROUP BY run_id", parameters
        )
        last.update((run_id, seq) for run_id, seq in rows)
    return last


def insert(database: Database, events: Sequence[tuple[str, int, EventRow]], payloads: Sequence[Row]) -> None:
    """Writes events, each with its run and epoch, and payloads (run, hash, body)."""
    if payloads:
        database.executemany(
            "INSERT INTO qd_payloads (run_id, hash, body) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", payloads
        )
    database.executemany(
        "INSERT INTO qd_events (run_id, epoch, seq, type, path, time, body) VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(run_id, epoch, *row) for run_id, epoch, row in events],
    )


def set_status(database: Database, changes: Sequence[tuple[str, float | None, str]]) -> None:
    """Keeps ``qd_runs`` in step with the events; each change is status, time of the end, run."""
    if changes:
        database.executemany("UPDATE qd_runs SET status = ?, finished = ? WHERE run_id = ?", changes)


def delete(database: Database, run_id: str) -> None:
    """Erases a run."""
    for table in ("qd_runs", "qd_events", "qd_payloads"):
        database.execute(f"DELETE FROM {table} WHERE run_id = ?", (run_id,))


def list_runs(database: Database, limit: int) -> list[RunRow]:
    """The newest runs first."""
    rows = database.execute(
        "SELECT run_id, status, created, finished FROM qd_runs ORDER BY created DESC LIMIT ?", (limit,)
    )
    return [RunRow(*row) for row in rows]


def read(
    database: Database, run_id: str, after: int, limit: int | None = None
) -> tuple[list[EventRow], dict[str, bytes]]:
    """The run's events after a seq, all or the first ones, before them what their conversations build on, and all their
    payloads."""
    with transaction(database, database.begin_read):
        return read_within(database, run_id, after, limit)


def read_within(
    database: Database, run_id: str, after: int, limit: int | None = None
) -> tuple[list[EventRow], dict[str, bytes]]:
    """As ``read``, in a transaction that has begun."""
    columns = "SELECT seq, type, path, time, body FROM qd_events WHERE run_id = ?"
    first = "" if limit is None else f" LIMIT {limit:d}"
    found = database.execute(f"{columns} AND seq > ? ORDER BY seq{first}", (run_id, after))
    rows = [EventRow(*row) for row in found]
    if any((base_of(row) or after + 1) <= after for row in rows):
        found = database.execute(f"{columns} AND seq <= ? AND type = ? ORDER BY seq", (run_id, after, LLMFinished.type))
        rows = _needed([EventRow(*row) for row in found], rows) + rows
    payloads: dict[str, bytes] = {}
    for chunk in _chunks(sorted(references(rows))):
        among, parameters = database.is_one_of(chunk)
        sql = f"SELECT hash, body FROM qd_payloads WHERE run_id = ? AND hash {among}"
        payloads.update((name, bytes(body)) for name, body in database.execute(sql, [run_id, *parameters]))
    return rows, payloads


def _needed(earlier: list[EventRow], rows: list[EventRow]) -> list[EventRow]:
    """Those of the earlier rows that the others build on, directly or through another."""
    wanted = {base_of(row) for row in rows}
    needed: list[EventRow] = []
    for row in reversed(earlier):
        if row.seq in wanted:
            wanted.add(base_of(row))
            needed.append(row)
    return needed[::-1]


def _chunks(values: list[str]) -> Iterable[list[str]]:
    return (values[start : start + _CHUNK] for start in range(0, len(values), _CHUNK))
