"""Every statement on the webhooks' tables, the same for SQLite and PostgreSQL.

``qd_webhooks`` has the messages. ``qd_webhook_queues`` has a row for each run and URL with messages that are still to
be sent: it says when the next one is due. Whoever adds a message, claims or settles one changes that row, and so waits
for the others that do: a message cannot be added unseen while the queue is found empty and removed.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

from quarterdeck.events import MethodFinished, TaskFinished
from quarterdeck.runtime.journal import tables
from quarterdeck.runtime.journal.database import Database, Row
from quarterdeck.runtime.journal.payloads import unpack
from quarterdeck.server.store.sql import text
from quarterdeck.server.webhooks.guard import origin

GATHERED = "events"
"""Type of the messages that are sent several in one request."""

_MOST_EVENTS = 100
_MOST_CHARS = 1_000_000
_PENDING = "state = 'pending'"  # as in the index


class Kept(NamedTuple):
    """A message as it is kept.

    Args:
        id: Its id; of the first in a request, also the request's.
        run_id: The run.
        tenant: The run's tenant.
        url: Where it goes.
        seq: The event's.
        part: Which of the messages that the event has caused.
        type: ``task``, ``step``, ``crew``, ``human_input``, ``event``, or ``events``: those are gathered.
        body: JSON.
        access: JSON: authentication and secret.
    """

    id: str
    run_id: str
    tenant: str
    url: str
    seq: int
    part: int
    type: str
    body: str
    access: str


class Job(NamedTuple):
    """A claimed request.

    Args:
        id: The request's, the same at each try.
        queue: The queue that it is the first of.
        url: Where it goes.
        body: What is sent.
        access: Authentication and secret.
        ids: The messages in it.
        tries: How often it was tried before.
    """

    id: str
    queue: str
    url: str
    body: str
    access: dict[str, str]
    ids: list[str]
    tries: int


class Limits(NamedTuple):
    """How many requests a process has under way: in all, to one origin (scheme, host, port), and to one URL."""

    total: int = 256
    origin: int = 64
    url: int = 8


class Busy:
    """The requests under way, and whom no more may go to."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._urls: Counter[str] = Counter()
        self._origins: Counter[str] = Counter()

    @property
    def free(self) -> int:
        """How many more there may be."""
        return self._limits.total - self._urls.total()

    def add(self, url: str) -> bool:
        """Counts one more; False where there may be no more to this URL or origin."""
        if self._urls[url] >= self._limits.url or self._origins[origin(url)] >= self._limits.origin:
            return False
        self._urls[url] += 1
        self._origins[origin(url)] += 1
        return True

    def remove(self, url: str) -> None:
        """One has ended."""
        self._urls -= Counter([url])
        self._origins -= Counter([origin(url)])

    def copy(self) -> Busy:
        """The same, to be changed apart."""
        other = Busy(self._limits)
        other._urls, other._origins = self._urls.copy(), self._origins.copy()
        return other

    def full(self) -> tuple[list[str], list[str]]:
        """URLs and origins that no more may go to."""
        urls = [url for url, count in self._urls.items() if count >= self._limits.url]
        return urls, [name for name, count in self._origins.items() if count >= self._limits.origin]


# -- adding -------------------------------------------------------------------------------------------------


def keep(database: Database, message: Kept, wait: float) -> None:
    """Adds a message, to be sent after so many seconds at the latest."""
    queue = blake2b(f"{message.run_id}\n{message.url}".encode(), digest_size=16).hexdigest()
    _open(database, queue, message.url, wait)
    database.execute(
        f"INSERT INTO qd_webhooks (queue, {', '.join(Kept._fields)}, created, since) "
        f"VALUES (?, {'?, ' * len(message)}{database.now}, {database.now}) ON CONFLICT (id) DO NOTHING",
        (queue, *message),
    )


def _open(database: Database, queue: str, url: str, wait: float) -> None:
    """Makes a queue, or has it looked at sooner; one that waits after a failure goes on waiting."""
    sooner = "q.worker IS NULL AND q.failures = 0 AND q.due > excluded.due"
    database.execute(
        f"INSERT INTO qd_webhook_queues AS q (id, url, origin, due) VALUES (?, ?, ?, {database.now} + ?) "
        f"ON CONFLICT (id) DO UPDATE SET due = CASE WHEN {sooner} THEN excluded.due ELSE q.due END",
        (queue, url, origin(url), wait),
    )


def last_task(database: Database, run_id: str) -> TaskFinished | MethodFinished | None:
    """The run's last finished task; of a flow, its last finished method."""
    kinds = (TaskFinished.type, MethodFinished.type)
    found = database.execute("SELECT max(seq) FROM qd_events WHERE run_id = ? AND type IN (?, ?)", (run_id, *kinds))
    seq = found[0][0]
    if seq is None:
        return None
    rows, payloads = tables.read_within(database, run_id, seq - 1)
    events = unpack(run_id, rows, payloads)
    return next(
        (event for event in events if event.seq == seq and isinstance(event, TaskFinished | MethodFinished)), None
    )


# -- claiming -----------------------------------------------------------------------------------------------


def claim(database: Database, worker: str, lease: float, busy: Busy) -> tuple[list[Job], float]:
    """Takes the first request of queues that are due, for this worker alone.

    Args:
        database: The connection.
        worker: The worker, anew for each process.
        lease: Seconds after which another one may take it.
        busy: What is under way.

    Returns:
        The requests; and the seconds until one more is due.
    """
    counted = busy.copy()
    where, parameters = _claimable(database, busy)
    rows = database.execute(
        f"SELECT id, url, due - {database.now} FROM qd_webhook_queues WHERE {where} ORDER BY due LIMIT ?",
        [*parameters, 4 * busy.free],
    )
    jobs: list[Job] = []
    for queue, url, wait in rows:
        if wait > 0:
            return jobs, wait
        if counted.free and counted.add(url):
            job = _take(database, queue, url, worker, lease)
            if job:
                jobs.append(job)
            else:
                counted.remove(url)
    return jobs, 0.0 if rows else math.inf


def _take(database: Database, queue: str, url: str, worker: str, lease: float) -> Job | None:
    taken = database.execute(
        f"UPDATE qd_webhook_queues SET worker = ?, due = {database.now} + ? WHERE id = ? AND due <= {database.now} "
        "RETURNING id",
        (worker, lease, queue),
    )
    return _first(database, queue, url) if taken else None


def _claimable(database: Database, busy: Busy) -> tuple[str, list[Any]]:
    urls, origins = busy.full()
    among_urls, url_parameters = database.is_one_of(urls or [""])
    among_origins, origin_parameters = database.is_one_of(origins or [""])
    return f"NOT (url {among_urls}) AND NOT (origin {among_origins})", [*url_parameters, *origin_parameters]


def _first(database: Database, queue: str, url: str) -> Job | None:
    """The queue's first request: a message, or those that are gathered in one; an empty queue is removed."""
    rows = database.execute(
        f"SELECT id, type, body, access, batch, tries FROM qd_webhooks WHERE queue = ? AND {_PENDING} "
        "ORDER BY seq, part LIMIT ?",
        (queue, _MOST_EVENTS),
    )
    if not rows:
        database.execute("DELETE FROM qd_webhook_queues WHERE id = ?", (queue,))
        return None
    first, kind, body, access, _, tries = rows[0]
    batch = _together(rows) if kind == GATHERED else rows[:1]
    ids = [row[0] for row in batch]
    if kind == GATHERED and rows[0][4] is None:
        among, parameters = database.is_one_of(ids)
        database.execute(f"UPDATE qd_webhooks SET batch = ? WHERE id {among}", [first, *parameters])
    if kind in ("event", GATHERED):
        body = f'{{"events":[{",".join(row[2] for row in batch)}]}}'
    return Job(first, queue, url, body, json.loads(access), ids, tries)


def _together(rows: Sequence[Row]) -> list[Row]:
    """The first messages that are sent in one request. What was sent once stays together: its id tells a receiver
    that it has had it."""
    _, kind, _, access, batch, _ = rows[0]
    taken: list[Row] = []
    size = 0
    for row in rows:
        size += len(row[2])
        if (row[1], row[3], row[4]) != (kind, access, batch) or (taken and size > _MOST_CHARS):
            break
        taken.append(row)
    return taken


# -- settling -----------------------------------------------------------------------------------------------


def delivered(database: Database, job: Job, worker: str) -> None:
    """A request has arrived."""
    _settle(database, job, worker, f"state = 'delivered', delivered = {database.now}, last_error = ''", [])


def failed(database: Database, job: Job, worker: str, error: str, wait: float, total: float) -> bool:
    """A request has failed.

    Args:
        database: The connection.
        job: The request.
        worker: Who has claimed it.
        error: Why.
        wait: Seconds until the next try.
        total: Seconds from its making after which there is none.

    Returns:
        False where it is given up.
    """
    among, parameters = database.is_one_of(job.ids[:1])
    rows = database.execute(
        f"SELECT since + ? < {database.now} + ? FROM qd_webhooks WHERE id {among}", [total, wait, *parameters]
    )
    if not rows or rows[0][0]:
        _settle(database, job, worker, "state = 'dead', last_error = ?", [text(error)])
        return False
    again = (
        f"UPDATE qd_webhook_queues SET worker = NULL, failures = failures + 1, due = {database.now} + ? "
        "WHERE id = ? AND worker = ? RETURNING id"
    )
    if database.execute(again, (wait, job.queue, worker)):
        _change(database, job, "last_error = ?", [text(error)])
    return True


def release(database: Database, queues: Sequence[str], worker: str) -> None:
    """Gives back what was claimed and not tried to the end."""
    for queue in queues:
        database.execute(
            f"UPDATE qd_webhook_queues SET worker = NULL, due = {database.now} WHERE id = ? AND worker = ?",
            (queue, worker),
        )


def _settle(database: Database, job: Job, worker: str, change: str, parameters: list[Any]) -> None:
    """Ends a request, and has the queue go on; nothing where another worker has it meanwhile: it will end it."""
    held = database.execute(
        f"SELECT 1 FROM qd_webhook_queues WHERE id = ? AND worker = ?{database.hold_rows}", (job.queue, worker)
    )
    if not held:
        return
    _change(database, job, change, parameters)
    if database.execute(f"SELECT 1 FROM qd_webhooks WHERE queue = ? AND {_PENDING} LIMIT 1", (job.queue,)):
        database.execute(
            f"UPDATE qd_webhook_queues SET worker = NULL, failures = 0, due = {database.now} WHERE id = ?",
            (job.queue,),
        )
    else:
        database.execute("DELETE FROM qd_webhook_queues WHERE id = ?", (job.queue,))


def _change(database: Database, job: Job, change: str, parameters: list[Any]) -> None:
    among, ids = database.is_one_of(job.ids)
    database.execute(f"UPDATE qd_webhooks SET tries = tries + 1, {change} WHERE id {among}", [*parameters, *ids])


# -- looking and sending again ------------------------------------------------------------------------------

COLUMNS = ("id", "run_id", "tenant", "url", "type", "seq", "state", "tries", "last_error", "created", "delivered")


def rows(
    database: Database, among: Mapping[str, str], states: Sequence[str], before: tuple[float, str] | None, limit: int
) -> list[Row]:
    """Requests, the newest first; of gathered messages the first.

    Args:
        database: The connection.
        among: Columns and their values.
        states: Those in these states. Each is asked for by itself, as the index has them.
        before: ``created`` and ``id``: only what comes after them.
        limit: How many at most.
    """
    where = " AND ".join(["state = ?", "(batch IS NULL OR batch = id)", *(f"{name} = ?" for name in among)])
    parameters: list[Any] = [text(value) for value in among.values()]
    if before:
        where += " AND (created, id) < (?, ?)"
        parameters += [before[0], text(before[1])]
    found: list[Row] = []
    for state in states:
        found += database.execute(
            f"SELECT {', '.join(COLUMNS)} FROM qd_webhooks WHERE {where} ORDER BY created DESC, id DESC LIMIT ?",
            [state, *parameters, limit],
        )
    created, ident = COLUMNS.index("created"), COLUMNS.index("id")
    return sorted(found, key=lambda row: (row[created], row[ident]), reverse=True)[:limit]


def send_again(database: Database, delivery_id: str, tenant: str | None) -> bool:
    """Has a request sent again, at once, with its id; False where it is not there, or not this tenant's."""
    found = database.execute(
        "SELECT queue, url FROM qd_webhooks WHERE id = ? AND (batch IS NULL OR batch = id) "
        "AND (CAST(? AS TEXT) IS NULL OR tenant = ?)",
        (text(delivery_id), tenant, tenant),
    )
    if not found:
        return False
    queue, url = found[0]
    _open(database, queue, url, 0.0)
    database.execute(
        f"UPDATE qd_webhook_queues SET due = {database.now}, failures = 0 WHERE id = ? AND worker IS NULL", (queue,)
    )
    database.execute(
        f"UPDATE qd_webhooks SET state = 'pending', since = {database.now}, "
        "tries = 0, last_error = '', delivered = NULL WHERE id = ? OR batch = ?",
        (delivery_id, delivery_id),
    )
    return True
