"""Every statement on kickoffs and workers, the same for SQLite and PostgreSQL. All but the reading ones are called in
the journal's writer, within its transaction."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from quarterdeck.runtime.journal.database import Database, Row
from quarterdeck.server.store.records import ENDED, Hooks, NewRun, RunRecord

_GIVEN = (
    *("id", "tenant", "crew", "version", "request_id", "request_hash", "inputs", "meta", "hooks", "budget"),
    *("priority", "max_seconds", "answer_seconds", "default_action", "user_id", "state", "created"),
)
_COLUMNS = (
    *_GIVEN,
    *("detail", "ended_by", "attempt", "deaths", "worker", "started", "ended_at", "cancel_requested"),
)
_RUNS = (
    f"SELECT {', '.join(f'k.{name}' for name in _COLUMNS)}, {{now}} - w.heartbeat FROM qd_kickoffs k "
    "LEFT JOIN qd_workers w ON w.id = k.worker AND k.state = 'running'"
)
_INSERT = (
    f"INSERT INTO qd_kickoffs ({', '.join(_GIVEN)}, queued) VALUES ({'?, ' * len(_GIVEN)}?) "
    "ON CONFLICT DO NOTHING RETURNING id"
)
_QUEUED = "state IN ('queued', 'stranded')"  # as in the index: SQLite takes it only for the same words
# The second condition is true of all of them. SQLite then searches in the index of these few; where the order of the
# result is asked of it too, it rather reads all runs in that order.
_RUNNING = "state = 'running' AND worker >= ''"
_FORGOTTEN = 3600.0
"""A worker that was not heard of for so many seconds is no longer listed."""


def compact(value: Any) -> str:
    """JSON without spaces."""
    return json.dumps(value, separators=(",", ":"))  # ASCII: also what UTF-8 and PostgreSQL's texts cannot hold


def text(value: str) -> str:
    """A text that both databases can hold: PostgreSQL's texts have no NUL, UTF-8 no unpaired surrogates."""
    return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _runs(database: Database) -> str:
    """Runs, to be followed by a condition."""
    return _RUNS.format(now=database.now)


def _record(row: Row) -> RunRecord:
    fields: dict[str, Any] = dict(zip((*_COLUMNS, "heartbeat_age"), row, strict=True))
    for name in ("inputs", "meta", "budget"):
        fields[name] = json.loads(fields[name])
    fields["hooks"] = Hooks.from_json(fields["hooks"])
    fields["cancel_requested"] = bool(fields["cancel_requested"])
    return RunRecord(**fields)


# -- kickoffs -----------------------------------------------------------------------------------------------


def insert(database: Database, new: NewRun, created: float) -> bool:
    """Puts a kickoff into the queue; False where its id or its idempotency key is there already."""
    user = new.user_id if new.user_id is not None else new.meta.get("userId")
    values: list[Any] = [
        *(new.id, new.tenant, new.crew, new.version, new.request_id, new.request_hash),
        *(compact(new.inputs), compact(new.meta), new.hooks.to_json(), compact(new.budget), new.priority),
        *(new.max_seconds, new.answer_seconds, new.default_action, text(str(user)) if user is not None else None),
        *("queued", created, created),
    ]
    return bool(database.execute(_INSERT, values))


def get(database: Database, run_id: str, tenant: str | None = None) -> RunRecord | None:
    """A run, of any tenant or of this one."""
    condition, parameters = ("", [run_id]) if tenant is None else (" AND k.tenant = ?", [run_id, tenant])
    rows = database.execute(f"{_runs(database)} WHERE k.id = ?{condition}", parameters)
    return _record(rows[0]) if rows else None


def hold(database: Database, run_id: str) -> RunRecord | None:
    """A run that nobody else may change before the transaction ends."""
    database.execute(f"SELECT id FROM qd_kickoffs WHERE id = ?{database.hold_rows}", (run_id,))
    return get(database, run_id)


def by_request(database: Database, tenant: str, crew: str, request_id: str | None) -> RunRecord | None:
    """The run of an idempotency key."""
    rows = database.execute(
        f"{_runs(database)} WHERE k.tenant = ? AND k.crew = ? AND k.request_id = ?", (tenant, crew, request_id)
    )
    return _record(rows[0]) if rows else None


def list_runs(
    database: Database,
    filters: Mapping[str, str],
    before: tuple[float, str] | None,
    limit: int,
    since: float | None = None,
    until: float | None = None,
) -> list[RunRecord]:
    """Runs whose columns have these values, the newest first, from after ``before`` (created, id) on."""
    sql, parameters = list_statement(_runs(database), filters, before, limit, since, until)
    return [_record(row) for row in database.execute(sql, parameters)]


def list_statement(
    runs: str,
    filters: Mapping[str, str],
    before: tuple[float, str] | None,
    limit: int,
    since: float | None,
    until: float | None,
) -> tuple[str, list[Any]]:
    """The statement of ``list_runs``, for the test of its query plan."""
    conditions = [f"k.{name} = ?" for name in filters]
    parameters: list[Any] = list(filters.values())
    if before:
        conditions.append("(k.created, k.id) < (?, ?)")
        parameters += before
    for time, condition in ((since, "k.created >= ?"), (until, "k.created < ?")):
        if time is not None:
            conditions.append(condition)
            parameters.append(time)
    where = " AND ".join(conditions)
    return f"{runs} WHERE {where} ORDER BY k.created DESC, k.id DESC LIMIT ?", [*parameters, limit]


# -- claims -------------------------------------------------------------------------------------------------


def claim(database: Database, worker: str, versions: Sequence[tuple[str, str]], limit: int) -> list[str]:
    """Gives a worker up to ``limit`` runs that it can do.

    Whose turn it is: the tenant that has the fewest under way; among its runs, the highest priority, then the oldest.
    """
    groups = [(*version, tenant) for version in versions for tenant in _tenants(database, version)]
    if not groups:
        return []
    running = Counter(row[0] for row in database.execute(f"SELECT tenant, worker FROM qd_kickoffs WHERE {_RUNNING}"))
    # The first ``limit`` runs cannot belong to more tenants than that.
    tenants = sorted({tenant for *_, tenant in groups}, key=lambda tenant: (running.get(tenant, 0), random.random()))
    chosen = set(tenants[:limit])
    candidates = _candidates(database, [group for group in groups if group[2] in chosen], limit)
    ids = _fairly(candidates, running)[:limit]
    if not ids:
        return []
    among, parameters = database.is_one_of(ids)
    rows = database.execute(
        f"UPDATE qd_kickoffs SET state = 'running', worker = ?, attempt = attempt + 1, detail = '', ended_by = '', "
        f"started = COALESCE(started, {database.now}) WHERE id {among} AND {_QUEUED} RETURNING id",
        [worker, *parameters],
    )
    claimed = {row[0] for row in rows}
    return [run_id for run_id in ids if run_id in claimed]


def _tenants(database: Database, version: tuple[str, str]) -> list[str]:
    """Tenants that have queued runs of a version, found by skipping through the index from one to the next."""
    this = f"{_QUEUED} AND crew = ? AND version = ?"
    rows = database.execute(
        f"WITH RECURSIVE t(tenant) AS (SELECT min(tenant) FROM qd_kickoffs WHERE {this} UNION ALL "
        f"SELECT (SELECT min(tenant) FROM qd_kickoffs WHERE {this} AND tenant > t.tenant) FROM t "
        "WHERE t.tenant IS NOT NULL) SELECT tenant FROM t WHERE tenant IS NOT NULL",
        (*version, *version),
    )
    return [row[0] for row in rows]


def _candidates(database: Database, groups: Sequence[tuple[str, str, str]], limit: int) -> list[Row]:
    """The first runs of each group of crew, version and tenant: id, tenant, priority, created."""
    found: list[Row] = []
    for start in range(0, len(groups), 100):  # SQLite: at most 500 SELECTs in one
        part = groups[start : start + 100]
        first = (
            f"SELECT * FROM (SELECT id, tenant, priority, created FROM qd_kickoffs WHERE {_QUEUED} AND crew = ? "
            f"AND version = ? AND tenant = ? ORDER BY priority DESC, created, id LIMIT ?{database.claim_rows}) AS q"
        )
        parameters = [value for group in part for value in (*group, limit)]
        found += database.execute(" UNION ALL ".join([first] * len(part)), parameters)
    return found


def _fairly(candidates: Iterable[Row], running: Mapping[str, int]) -> list[str]:
    """Ids in the order in which they are to be started."""
    turns: list[tuple[int, int, float, str]] = []
    count = dict(running)
    for run_id, tenant, priority, created in sorted(candidates, key=lambda row: (-row[2], row[3], row[0])):
        count[tenant] = count.get(tenant, 0) + 1
        turns.append((count[tenant], -priority, created, run_id))
    return [turn[3] for turn in sorted(turns)]


def records(database: Database, run_ids: Sequence[str]) -> list[RunRecord]:
    """These runs, in this order."""
    among, parameters = database.is_one_of(run_ids)
    found = {row[0]: _record(row) for row in database.execute(f"{_runs(database)} WHERE k.id {among}", parameters)}
    return [found[run_id] for run_id in run_ids]


def release(
    database: Database,
    run_id: str,
    worker: str,
    attempt: int,
    state: str,
    detail: str = "",
    ended_by: str = "",
    *,
    died: bool = False,
) -> bool:
    """A worker gives a run back, in this state; False where it was no longer its own."""
    ended = database.now if state in ENDED else "NULL"
    rows = database.execute(
        f"UPDATE qd_kickoffs SET state = ?, detail = ?, ended_by = ?, worker = NULL, ended_at = {ended}, "
        f"deaths = deaths + ?, queued = {database.now} "
        "WHERE id = ? AND worker = ? AND attempt = ? AND state = 'running' RETURNING id",
        (state, text(detail), text(ended_by), int(died), run_id, worker, attempt),
    )
    if rows and state in ENDED:
        _ask_no_more(database, run_id)
    return bool(rows)


def queue_again(database: Database, run_id: str) -> None:
    """A run that waited for a person goes on."""
    database.execute(
        f"UPDATE qd_kickoffs SET state = 'queued', detail = '', ended_by = '', queued = {database.now} "
        "WHERE id = ? AND state IN ('pending_human_input', 'in_doubt')",
        (run_id,),
    )


def end(database: Database, run_id: str, state: str, detail: str, ended_by: str) -> None:
    """A run ends that no worker has; its questions are asked no more."""
    database.execute(
        f"UPDATE qd_kickoffs SET state = ?, detail = ?, ended_by = ?, worker = NULL, ended_at = {database.now} "
        "WHERE id = ?",
        (state, text(detail), text(ended_by), run_id),
    )
    _ask_no_more(database, run_id)


def _ask_no_more(database: Database, run_id: str) -> None:
    database.execute("UPDATE qd_questions SET expires = NULL WHERE run_id = ? AND answer IS NULL", (run_id,))


def request_cancel(database: Database, run_id: str) -> None:
    """A run that a worker has is to be cancelled by it."""
    database.execute("UPDATE qd_kickoffs SET cancel_requested = 1 WHERE id = ?", (run_id,))


def set_hooks(database: Database, run_id: str, hooks: Hooks) -> None:
    """Other webhooks from now on."""
    database.execute("UPDATE qd_kickoffs SET hooks = ? WHERE id = ?", (hooks.to_json(), run_id))


# -- workers ------------------------------------------------------------------------------------------------


def beat(database: Database, worker: str, versions: Sequence[tuple[str, str]], draining: bool) -> None:
    """A worker lives."""
    database.execute(
        f"INSERT INTO qd_workers (id, started, heartbeat, draining, crews) "
        f"VALUES (?, {database.now}, {database.now}, ?, ?) ON CONFLICT (id) DO UPDATE SET "
        "heartbeat = excluded.heartbeat, draining = excluded.draining, crews = excluded.crews",
        (worker, int(draining), compact([] if draining else list(versions))),
    )


def leave(database: Database, worker: str) -> None:
    """A worker has ended."""
    database.execute("DELETE FROM qd_workers WHERE id = ?", (worker,))


def running_of(database: Database, worker: str) -> dict[str, tuple[int, bool]]:
    """The runs that a worker has: the attempt, and whether it is to be cancelled."""
    rows = database.execute(
        "SELECT id, attempt, cancel_requested FROM qd_kickoffs WHERE state = 'running' AND worker = ?", (worker,)
    )
    return {run_id: (attempt, bool(cancel)) for run_id, attempt, cancel in rows}


def take_from_dead(database: Database, older_than: float) -> list[str]:
    """Queues the running runs of workers that were not heard of for so many seconds; gives their ids."""
    dead = f"NOT EXISTS (SELECT 1 FROM qd_workers w WHERE w.id = k.worker AND w.heartbeat >= {database.now} - ?)"
    rows = database.execute(
        f"SELECT k.id, k.worker, k.attempt FROM qd_kickoffs k WHERE {_RUNNING} AND {dead}",
        (older_than,),
    )
    taken = [
        run_id
        for run_id, worker, attempt in sorted(rows)
        if release(database, run_id, worker, attempt, "queued", died=True)
    ]
    database.execute(f"DELETE FROM qd_workers WHERE heartbeat < {database.now} - ?", (_FORGOTTEN,))
    return taken


def live_versions(database: Database, within: float) -> set[tuple[str, str]]:
    """The versions that a worker had within so many seconds."""
    rows = database.execute(f"SELECT crews FROM qd_workers WHERE heartbeat >= {database.now} - ?", (within,))
    return {(crew, version) for row in rows for crew, version in json.loads(row[0])}


def queued_versions(database: Database) -> list[tuple[str, str]]:
    """The versions that queued runs are of."""
    found: list[tuple[str, str]] = []
    last = ("", "")
    while True:
        rows = database.execute(
            f"SELECT crew, version FROM qd_kickoffs WHERE {_QUEUED} AND (crew, version) > (?, ?) "
            "ORDER BY crew, version LIMIT 1",
            last,
        )
        if not rows:
            return found
        last = (rows[0][0], rows[0][1])
        found.append(last)


def strand(database: Database, after: float) -> list[str]:
    """Marks what has been queued for so long, in a version that no worker has had for so long; gives the runs."""
    queued = queued_versions(database)
    live = live_versions(database, after) if queued else set[tuple[str, str]]()
    found: list[str] = []
    for crew, version in queued:
        if (crew, version) not in live:
            detail = (
                f"no worker has had version {version!r} of crew {crew!r} for {after:g} s: start one that has it "
                f"(quarterdeck worker {crew}@{version}=TARGET), and the run goes on; or cancel it"
            )
            rows = database.execute(
                f"UPDATE qd_kickoffs SET state = 'stranded', detail = ? WHERE {_QUEUED} AND state = 'queued' "
                f"AND crew = ? AND version = ? AND queued < {database.now} - ? RETURNING id",
                (text(detail), crew, version, after),
            )
            found += [row[0] for row in rows]
    return found


# -- retention ----------------------------------------------------------------------------------------------


def old_runs(database: Database, older_than: float, limit: int) -> list[str]:
    """Runs that ended more than so many seconds ago, and whose webhooks are all settled."""
    rows = database.execute(
        f"SELECT id FROM qd_kickoffs AS k WHERE ended_at IS NOT NULL AND ended_at < {database.now} - ? "
        "AND NOT EXISTS (SELECT 1 FROM qd_webhooks AS w WHERE w.run_id = k.id AND w.state = 'pending') "
        "ORDER BY ended_at LIMIT ?",
        (older_than, limit),
    )
    return [row[0] for row in rows]


def erase(database: Database, run_ids: Sequence[str]) -> None:
    """Deletes all that is kept of runs, the journal's tables included."""
    among, parameters = database.is_one_of(run_ids)
    for table in ("qd_runs", "qd_events", "qd_payloads", "qd_questions", "qd_webhooks"):
        database.execute(f"DELETE FROM {table} WHERE run_id {among}", parameters)
    database.execute(f"DELETE FROM qd_kickoffs WHERE id {among}", parameters)


def empty(database: Database, run_id: str) -> None:
    """Erases what a run was given and what it made; its row stays, with times and state."""
    for table in ("qd_events", "qd_payloads", "qd_questions", "qd_webhooks"):
        database.execute(f"DELETE FROM {table} WHERE run_id = ?", (run_id,))
    database.execute(
        "UPDATE qd_kickoffs SET inputs = '{}', meta = '{}', hooks = '{}', detail = '' WHERE id = ?", (run_id,)
    )
