"""The one writer of a journal in this process: it writes all that has come in meanwhile in one transaction.

Group commit: while one transaction is on its way to the disk the next requests gather in the queue; they become the
next transaction, and each of them is answered when it is committed.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from quarterdeck.errors import FencedError, JournalError, QuarterdeckError
from quarterdeck.events import RunFinished, RunStarted
from quarterdeck.runtime.journal import tables
from quarterdeck.runtime.journal.database import Database, Target, transaction
from quarterdeck.runtime.journal.payloads import Packed
from quarterdeck.runtime.journal.tables import Ownership

logger = logging.getLogger(__name__)

_MOST = 1000
"""Requests in one transaction at most."""

Topics = Iterable[str] | Callable[[Any], Iterable[str]]
"""What is to be announced; or a function of the result that says it."""

_works = itertools.count()


class Announcer(Protocol):
    """Tells those who wait that something was written. A topic is a name, such as ``run:r1``."""

    def announce(self, database: Database, topics: set[str]) -> None:
        """Called within the transaction."""
        ...

    def committed(self, topics: set[str]) -> None:
        """Called after the transaction is committed, in the writer's thread."""
        ...


class Owner:
    """What the writer knows of an open run. After a failed append no other is written: no gap can arise."""

    def __init__(self, run_id: str, ownership: Ownership) -> None:
        self.run_id = run_id
        self.ownership = ownership
        self.failure: QuarterdeckError | None = None


class Request:
    """Something to write. Its future is answered on the future's own loop; without one nobody waits."""

    __slots__ = ("future", "run_id")

    def __init__(self, run_id: str, future: asyncio.Future[Any] | None) -> None:
        self.run_id = run_id
        self.future = future


class TakeOver(Request):
    """Answered with the run's new Ownership."""

    __slots__ = ()


class Delete(Request):
    """Answered with None."""

    __slots__ = ()


class Work(Request):
    """Something else that is written in the same transaction; answered with what its function returns.

    The function must do no harm when it is called again: where the transaction fails it is rolled back and done again.
    """

    __slots__ = ("function", "topics")

    def __init__(self, function: Callable[[Database], Any], topics: Topics, future: asyncio.Future[Any] | None) -> None:
        super().__init__(f"\n{next(_works)}", future)  # no run's id: those are printable
        self.function = function
        self.topics = topics

    def do(self, database: Database, topics: set[str]) -> Any:
        """Does it, and adds what is to be announced."""
        result = self.function(database)
        topics.update(self.topics(result) if callable(self.topics) else self.topics)
        return result


class Append(Request):
    """Answered with None. ``beside`` is called in the transaction that writes the event, if it is written."""

    __slots__ = ("beside", "owner", "packed", "status")

    def __init__(
        self,
        owner: Owner,
        packed: Packed,
        status: tuple[str, float | None] | None,
        future: asyncio.Future[Any] | None,
        beside: Callable[[Database], None] | None = None,
    ) -> None:
        super().__init__(owner.run_id, future)
        self.owner = owner
        self.packed = packed
        self.status = status
        self.beside = beside


Answer = tuple[Request, Any, QuarterdeckError | None]


class Writer:
    """A thread with a connection of its own.

    Args:
        target: The database.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._queue: SimpleQueue[Request | None] = SimpleQueue()
        self._database: Database | None = None
        self._lock = threading.Lock()
        self._closed = ""  # why, once it is
        self._thread: threading.Thread | None = None
        self.commits = 0
        self.announcer: Announcer | None = None

    def submit(self, request: Request) -> None:
        """Hands over a request.

        Raises:
            JournalError: The writer is closed.
        """
        with self._lock:
            self.check()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="quarterdeck-journal", daemon=True)
                self._thread.start()
            self._queue.put(request)

    def check(self) -> None:
        """Raises JournalError if the writer is closed."""
        if self._closed:
            raise JournalError(f"journal {self._target.shown} {self._closed}")

    def abandon(self) -> None:
        """Called in a forked process: the thread is the parent's, and so is the connection."""
        self._closed = "was opened before this process was forked from another: open it again here"

    def close(self) -> None:
        """Writes what has been handed over, then ends the thread and the connection."""
        with self._lock:
            self._closed = self._closed or "is closed"
            self._queue.put(None)
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        closing = False
        while not closing:
            batch, closing = self._next_batch()
            if batch:
                self._answer(self._write(batch))
        if self._database is not None:
            self._database.close()

    def _next_batch(self) -> tuple[list[Request], bool]:
        batch: list[Request] = []
        request = self._queue.get()
        with contextlib.suppress(Empty):
            while request is not None:
                batch.append(request)
                if len(batch) == _MOST:
                    return batch, False
                request = self._queue.get_nowait()
            return batch, True
        return batch, False

    def _write(self, batch: Sequence[Request], again: bool = False) -> list[Answer]:
        """Writes a batch in one transaction; where that fails because of one run, each run in its own."""
        try:
            return self._transact(batch, again)
        except Exception as error:
            failure = error
        if self._database is not None and self._database.is_lost():
            self._database, again = None, True
            try:
                return self._transact(batch, again)
            except Exception as error:
                failure = error
        runs: dict[str, list[Request]] = {}
        for request in batch:
            runs.setdefault(request.run_id, []).append(request)
        if self._database is None or self._database.concerns_all(failure) or len(runs) == 1:
            return self._refuse(batch, failure)
        return [answer for requests in runs.values() for answer in self._write(requests, again)]

    def _refuse(self, batch: Sequence[Request], failure: Exception) -> list[Answer]:
        for request in batch:
            if isinstance(request, Append):
                request.owner.failure = request.owner.failure or journal_error(self._target, failure)
        return [(request, None, journal_error(self._target, failure)) for request in batch]

    def _transact(self, batch: Sequence[Request], again: bool) -> list[Answer]:
        """One transaction; ``again``: it may have been committed before the connection was lost."""
        if self._database is None:
            self._database = connect(self._target)
        database = self._database
        answers: list[Answer] = []
        topics: set[str] = set()
        with transaction(database, database.begin_write):
            for request in batch:
                if isinstance(request, Work):
                    answers.append((request, request.do(database, topics), None))
            for request in sorted(batch, key=lambda request: request.run_id):
                if isinstance(request, TakeOver):
                    answers.append((request, tables.take_over(database, request.run_id), None))
                elif isinstance(request, Delete):
                    answers.append((request, tables.delete(database, request.run_id), None))
            appends = [request for request in batch if isinstance(request, Append)]
            if appends:
                answers += self._append(database, appends, again)
                topics.update(f"run:{request.run_id}" for request in appends)
            if self.announcer and topics:
                self.announcer.announce(database, topics)
        self.commits += 1
        if self.announcer and topics:
            self._tell(self.announcer, topics)
        return answers

    def _tell(self, announcer: Announcer, topics: set[str]) -> None:
        try:
            announcer.committed(topics)
        except Exception:  # what is committed must not be taken for failed
            logger.exception("journal %s: announcing what was written failed", self._target.shown)

    def _append(self, database: Database, appends: Sequence[Append], again: bool) -> list[Answer]:
        owners = tables.lock_owners(database, {request.run_id for request in appends})
        refused: list[Answer] = []
        accepted: list[Append] = []
        for request in appends:
            owner = request.owner
            if owner.failure is None and owners.get(owner.run_id) != owner.ownership:
                owner.failure = fenced(owner, owners.get(owner.run_id))
            if owner.failure is not None:
                refused.append((request, None, owner.failure))
            else:
                accepted.append(request)
        missing = _without_written(database, accepted) if again else accepted
        _insert(database, missing)
        return refused + [(request, None, None) for request in accepted]

    def _answer(self, answers: Iterable[Answer]) -> None:
        """Wakes the waiting: one call per event loop."""
        loops: dict[asyncio.AbstractEventLoop, list[Answer]] = {}
        for answer in answers:
            future = answer[0].future
            if future is not None:
                loops.setdefault(future.get_loop(), []).append(answer)
        for loop, its_answers in loops.items():
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(_settle, its_answers)


def _settle(answers: Iterable[Answer]) -> None:
    for request, result, error in answers:
        future = request.future
        if future is None or future.done():  # the caller has given up waiting
            continue
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(type(error)(*error.args))  # its own: a traceback belongs to one waiter


def _without_written(database: Database, appends: Sequence[Append]) -> list[Append]:
    """Appends whose events are not there yet. Nobody but their owner can have written them."""
    last = tables.last_seqs(database, {request.run_id for request in appends})
    return [request for request in appends if request.packed.row.seq > last.get(request.run_id, 0)]


def _insert(database: Database, appends: Sequence[Append]) -> None:
    events = [(request.run_id, request.owner.ownership.epoch, request.packed.row) for request in appends]
    payloads = [
        (request.run_id, name, content) for request in appends for name, content in request.packed.payloads.items()
    ]
    changes = [(*request.status, request.run_id) for request in appends if request.status]
    tables.insert(database, events, payloads)
    tables.set_status(database, changes)
    for request in appends:
        if request.beside:
            request.beside(database)


def status_after(event: Any) -> tuple[str, float | None] | None:
    """What an event makes of its run's status, and the time of its end; None where it changes nothing."""
    if isinstance(event, RunStarted):
        return "running", None
    if isinstance(event, RunFinished):
        return event.status, event.time
    return None


def connect(target: Target) -> Database:
    """A connection to a database that has the tables."""
    database = target.connect()
    try:
        tables.prepare(database)
    except BaseException:
        database.close()
        raise
    return database


def journal_error(target: Target, failure: Exception) -> QuarterdeckError:
    """A database's error as one of ours. PostgreSQL's details are left out: they hold what was to be written."""
    if isinstance(failure, QuarterdeckError):
        return type(failure)(f"journal {target.shown}: {failure}")
    diagnosis = getattr(failure, "diag", None)
    reason = getattr(diagnosis, "message_primary", None) or str(failure) or type(failure).__name__
    return JournalError(f"journal {target.shown}: {reason}")


def fenced(owner: Owner, now: Ownership | None) -> FencedError:
    """The error of a run that is no longer ours."""
    if now is None or now.created != owner.ownership.created:
        return FencedError(f"run {owner.run_id!r} was deleted from the journal while it was under way")
    return FencedError(
        f"run {owner.run_id!r} was taken over: its epoch is {now.epoch}, and this process has {owner.ownership.epoch}; "
        "nothing more of it is written here"
    )
