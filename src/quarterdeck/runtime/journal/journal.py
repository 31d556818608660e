"""The journal as the runtime sees it: runs are opened, events appended and read."""

from __future__ import annotations

import asyncio
import atexit
import functools
import os
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from quarterdeck.concurrency import call_in_thread
from quarterdeck.errors import ConfigError, JournalError
from quarterdeck.events import Event
from quarterdeck.runtime.journal import tables
from quarterdeck.runtime.journal.database import Database, Target
from quarterdeck.runtime.journal.payloads import Packer, unpack
from quarterdeck.runtime.journal.tables import Ownership, RunRow
from quarterdeck.runtime.journal.writer import (
    Announcer,
    Append,
    Delete,
    Owner,
    TakeOver,
    Topics,
    Work,
    Writer,
    connect,
    journal_error,
    status_after,
)

T = TypeVar("T")

Beside = Callable[[Event, Database], None]
"""Called with an event in the transaction that writes it."""

_LONGEST_RUN_ID = 200

_journals: dict[str, Journal] = {}
_lock = threading.Lock()


def open_journal(where: str | os.PathLike[str] | Journal) -> Journal:
    """The journal at ``where``: the same object for the same place, so that all runs of a process share one writer.

    Nothing is read or written yet: the database is opened, and its tables are made, by the first use.

    Args:
        where: A path to an SQLite file, ``sqlite:///path``, or ``postgresql://user:password@host/database``; or a
            Journal, which is returned.

    Raises:
        ConfigError: It is none of these, or PostgreSQL's extra is not installed.
    """
    if isinstance(where, Journal):
        return where
    target = Target(where)
    with _lock:
        journal = _journals.get(target.key)
        if journal is None:
            journal = _journals[target.key] = Journal(target)
        return journal


class Journal:
    """An append-only table of the events of runs. Made by ``open_journal``; may serve several event loops."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self.writer = Writer(target)
        self._reader: Database | None = None
        self._reading = threading.Lock()

    def __repr__(self) -> str:
        return f"Journal({self._target.shown!r})"

    @property
    def commits(self) -> int:
        """Transactions that this process has committed to the journal."""
        return self.writer.commits

    async def open_run(self, run_id: str) -> OpenRun:
        """Creates the run, or takes it over: whoever had it open before can append nothing more.

        Args:
            run_id: Its name: 1 to 200 printable characters.

        Raises:
            ConfigError: ``run_id`` is no such name, or the journal was made by a newer version.
            JournalError: The database failed.
        """
        _check_run_id(run_id)
        return await self.open_owned(run_id, await self._request(TakeOver, run_id))

    async def open_owned(self, run_id: str, ownership: Ownership, beside: Beside | None = None) -> OpenRun:
        """A run that ``write`` has created or taken over.

        Args:
            run_id: The run.
            ownership: What ``tables.take_over_all`` gave.
            beside: Called with each event in the transaction that writes it.

        Raises:
            JournalError: The database failed.
        """
        owner = Owner(run_id, ownership)
        if ownership.epoch == 1:
            return OpenRun(self, owner, [], Packer(), beside)
        return await call_in_thread(self._continue, owner, beside)

    async def write(self, function: Callable[[Database], T], topics: Topics = ()) -> T:
        """Writes what else belongs into this database, in the next transaction of the one writer.

        Args:
            function: Called with the connection, in the writer's thread. It may be called again where the transaction
                had to be rolled back. What it raises fails this call alone.
            topics: What the announcer is told of; or a function of the result that says it.

        Raises:
            JournalError: The database failed, or ``function`` did.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.writer.submit(Work(function, topics, future))
        return await future

    def write_soon(self, function: Callable[[Database], None]) -> None:
        """As ``write``, from any thread; nobody waits, and a failure is not told."""
        self.writer.submit(Work(function, (), None))

    async def read(self, query: Callable[[Database], T]) -> T:
        """Asks the reading connection, in a thread.

        Raises:
            JournalError: The database failed.
        """
        return await call_in_thread(self._read, query)

    def connect(self) -> Database:
        """A new connection, for the caller to use and to close."""
        return self._target.connect()

    def announce_to(self, announcer: Announcer | None) -> None:
        """Tells an announcer of what is written from now on."""
        self.writer.announcer = announcer

    async def events(self, run_id: str, after: int = 0, limit: int | None = None) -> list[Event]:
        """The run's events in order, whole; none for a run that is not there.

        Args:
            run_id: The run.
            after: Only events with a greater ``seq``.
            limit: The first of them, so many at most.

        Raises:
            JournalError: The database failed, or a row is damaged.
            ConfigError: An event was written by a newer version.
        """
        return await call_in_thread(self._events, run_id, after, limit)

    async def runs(self, limit: int = 100) -> list[RunRow]:
        """The newest runs first.

        Raises:
            JournalError: The database failed.
        """
        return await call_in_thread(self._read, lambda database: tables.list_runs(database, limit))

    async def delete_run(self, run_id: str) -> None:
        """Erases all that is kept of a run. One that is under way gets a FencedError at its next append.

        Raises:
            JournalError: The database failed.
        """
        await self._request(Delete, run_id)

    def close(self) -> None:
        """Writes what is under way and closes the database; done by itself when the process ends."""
        with _lock:
            if _journals.get(self._target.key) is self:
                del _journals[self._target.key]
        self.writer.close()
        with self._reading:
            reader, self._reader = self._reader, None
            if reader is not None:
                reader.close()

    def abandon(self) -> None:
        """Refuses further use: called in a forked process, which has to open the journal for itself."""
        self.writer.abandon()

    async def _request(self, kind: type[TakeOver | Delete], run_id: str) -> Any:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.writer.submit(kind(run_id, future))
        return await future

    def _continue(self, owner: Owner, beside: Beside | None) -> OpenRun:
        rows, payloads = self._read(lambda database: tables.read(database, owner.run_id, 0))
        events = unpack(owner.run_id, rows, payloads)
        return OpenRun(self, owner, events, Packer(events, payloads), beside)

    def _events(self, run_id: str, after: int, limit: int | None) -> list[Event]:
        rows, payloads = self._read(lambda database: tables.read(database, run_id, after, limit))
        return [event for event in unpack(run_id, rows, payloads) if (event.seq or 0) > after]

    def _read(self, query: Callable[[Database], T]) -> T:
        """Asks the reading connection; where that is broken, a new one, once."""
        with self._reading:
            self.writer.check()
            try:
                try:
                    return query(self._connected())
                except Exception:
                    if self._reader is None or not self._reader.is_lost():
                        raise
                    self._reader = None
                    return query(self._connected())
            except Exception as error:
                raise journal_error(self._target, error) from error

    def _connected(self) -> Database:
        if self._reader is None:
            self._reader = connect(self._target)
        return self._reader


class OpenRun:
    """A run that this process may append to, until another one opens it.

    Args:
        events: The events that it had when it was opened, in order.
    """

    def __init__(
        self, journal: Journal, owner: Owner, events: list[Event], packer: Packer, beside: Beside | None = None
    ) -> None:
        self.run_id = owner.run_id
        self.epoch = owner.ownership.epoch
        self.events = events
        self.journal = journal
        self._writer = journal.writer
        self._owner = owner
        self._packer = packer
        self._beside = beside
        self._last = (events[-1].seq or 0) if events else 0

    async def append(self, event: Event) -> None:
        """Appends an event; returns when it is committed.

        Args:
            event: The next one: its ``seq`` is one more than the last one's. It must not be changed afterwards.

        Raises:
            FencedError: The run was opened again elsewhere, or deleted.
            JournalError: The event cannot be written, or the database failed; the run can then append no more.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._submit(event, future)
        await future

    def append_soon(self, event: Event) -> None:
        """Appends an event with the next commit; nobody waits. The next ``append`` raises its failure.

        Raises:
            FencedError, JournalError: As ``append`` does, where it is known at once.
        """
        self._submit(event, None)

    def _submit(self, event: Event, future: asyncio.Future[None] | None) -> None:
        failure = self._owner.failure
        if failure is not None:
            raise type(failure)(*failure.args)
        if event.seq != self._last + 1:
            raise JournalError(f"run {self.run_id!r}: event {event.seq} cannot follow event {self._last}")
        packed = self._packer.pack(event)
        beside = functools.partial(self._beside, event) if self._beside else None
        self._writer.submit(Append(self._owner, packed, status_after(event), future, beside))
        self._last += 1


def _check_run_id(run_id: str) -> None:
    if not 0 < len(run_id) <= _LONGEST_RUN_ID or not run_id.isprintable():
        raise ConfigError(
            f"run_id: expected 1 to {_LONGEST_RUN_ID} printable characters, got {run_id[:60]!r} "
            f"({len(run_id)} characters)"
        )


@atexit.register
def _close_all() -> None:
    for journal in list(_journals.values()):
        journal.close()


_parents: list[Journal] = []


def _leave_to_parent() -> None:
    """After a fork: the child opens its own. What it has inherited stays referred to, so that nothing closes it."""
    global _lock
    _lock = threading.Lock()
    for journal in _journals.values():
        journal.abandon()
        _parents.append(journal)
    _journals.clear()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_leave_to_parent)
