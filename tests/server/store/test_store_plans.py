"""With many runs stored, what is asked often is found by an index: the database's own plans say so."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from quarterdeck.runtime.human import HumanAnswer
from quarterdeck.runtime.journal import tables
from quarterdeck.runtime.journal.database import Database, Row
from quarterdeck.server.store import NewRun, Question, Store, questions, sql
from quarterdeck.server.webhooks import sql as webhooks

RUNS = 10_000
SCAN = re.compile(r"SCAN (k|qd_\w+)\b|Seq Scan on (qd_\w+)")
SMALL = {"qd_workers"}  # a row for each process


class Recorder:
    """A connection that notes what it is asked."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.asked: list[tuple[str, Sequence[Any]]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        self.asked.append((sql, parameters))
        return self._database.execute(sql, parameters)

    def plans(self) -> list[str]:
        explain = "EXPLAIN " if self._database.notify else "EXPLAIN QUERY PLAN "
        found: list[str] = []
        for statement, parameters in self.asked:
            if statement.startswith(("SELECT", "WITH", "UPDATE", "DELETE")):
                rows = self._database.execute(explain + statement, parameters)
                found.append(statement + "\n" + "\n".join(str(row[-1]) for row in rows))
        return found


def fill(database: Database) -> None:
    """Runs of three tenants: most of them ended, a few in every other state; events and payloads of each."""
    numbers = (
        f"SELECT n FROM generate_series(1, {RUNS}) AS n"
        if database.notify
        else f"SELECT n FROM (WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {RUNS}) "
        "SELECT n FROM s)"
    )
    state = "CASE WHEN n % 500 = 0 THEN 'queued' WHEN n % 499 = 0 THEN 'running' ELSE 'completed' END"
    database.execute(
        "INSERT INTO qd_kickoffs (id, tenant, crew, version, request_id, user_id, state, worker, ended_at, created, "
        "queued, request_hash, inputs, meta, hooks, budget, priority, default_action) SELECT 'run' || n, "
        f"'tenant' || (n % 3), 'crew' || (n % 2), '1', 'key' || n, 'user' || (n % 50), {state}, "
        f"CASE WHEN {state} = 'running' THEN 'w1' END, CASE WHEN {state} = 'completed' THEN n END, n, n, "
        f"'', '{{}}', '{{}}', '{{}}', '{{}}', 0, 'cancel' FROM ({numbers}) AS t"
    )
    database.execute(
        "INSERT INTO qd_runs (run_id, epoch, status, created) "
        f"SELECT 'run' || n, 1, 'completed', n FROM ({numbers}) AS t"
    )
    body = "'x'::bytea" if database.notify else "'x'"
    for table, columns, values in (
        ("qd_events", "seq, epoch, type, path, time, body", "m, 1, 'llm.started', '', 0.0, '{}'"),
        ("qd_payloads", "hash, body", f"'h' || m, {body}"),
        ("qd_questions", "path, kind, body, asked, default_action", "'p' || m, 'human', '[1, 2, 3, 4]', 0.0, 'cancel'"),
        (
            "qd_webhooks",
            "id, tenant, url, seq, type, body, state, created",
            "n || '/' || m, '', '', m, '', '', 'delivered', 0",
        ),
    ):
        database.execute(
            f"INSERT INTO {table} (run_id, {columns}) SELECT 'run' || n, {values} "
            f"FROM ({numbers}) AS t, (SELECT 1 AS m UNION ALL SELECT 2) AS two"
        )
    database.execute("INSERT INTO qd_workers (id, started, heartbeat, crews) VALUES ('w1', 0, 0, '[]')")
    database.execute("ANALYZE")


@pytest.fixture
async def recorder(store: Store) -> AsyncIterator[Recorder]:
    await store.write(fill)
    database = store.journal.connect()
    yield Recorder(database)
    await asyncio.to_thread(database.close)


def status_of_one_run(database: Database) -> None:
    assert sql.get(database, "run77", "tenant2")
    tables.read(database, "run77", 0)
    tables.read(database, "run77", 1)
    assert questions.asked(database, ["run77"])


def lists(database: Database) -> None:
    one = {"tenant": "tenant1"}
    for filters in (
        one,
        one | {"crew": "crew1"},
        one | {"state": "running"},
        one | {"crew": "crew1", "state": "completed"},
        one | {"user_id": "user7"},
        one | {"crew": "crew1", "request_id": "key7003"},
    ):
        assert sql.list_runs(database, filters, None, 20)
        sql.list_runs(database, filters, (1000.0, "run1000"), 20)
        sql.list_runs(database, filters, None, 20, since=2000.0, until=3000.0)


def deliveries(database: Database) -> None:
    assert webhooks.rows(database, {"tenant": ""}, ["pending", "delivered", "dead"], None, 20)
    webhooks.rows(database, {"tenant": ""}, ["delivered"], (1.0, "77/1"), 20)


def the_queue(database: Database) -> None:
    claimed = sql.claim(database, "w2", [("crew0", "1"), ("crew1", "1")], 5)
    assert len(claimed) == 5
    sql.records(database, claimed)
    questions.asked(database, claimed)
    assert sql.running_of(database, "w2")
    assert sql.queued_versions(database)
    sql.live_versions(database, 1.0)
    database.execute("UPDATE qd_workers SET crews = '[]', heartbeat = 0 WHERE id = 'w1'")
    assert sql.strand(database, 1.0)
    assert sql.take_from_dead(database, 1.0)
    sql.release(database, claimed[0], "w2", 1, "completed")


def persons_and_age(database: Database) -> None:
    database.execute("UPDATE qd_kickoffs SET state = 'pending_human_input' WHERE id = 'run1'")
    sql.hold(database, "run1")
    questions.ask(database, Question(run_id="run1", path="new", task="t"), 0.0)
    assert questions.due(database, 100) == [("run1", "new")]
    questions.answer(database, "run1", "p1", HumanAnswer(True))
    sql.end(database, "run3", "cancelled", "", "")
    old = sql.old_runs(database, 1.0, 10)
    assert len(old) == 10
    sql.erase(database, old)


def a_kickoff(database: Database) -> None:
    new = NewRun(id="new", tenant="tenant1", crew="crew1", version="1", request_id="key7003")
    assert not sql.insert(database, new, 0.0)
    assert sql.by_request(database, "tenant1", "crew1", "key7003")


def test_no_table_of_runs_is_read_from_end_to_end(recorder: Recorder) -> None:
    for work in (status_of_one_run, lists, deliveries, the_queue, persons_and_age, a_kickoff):
        work(recorder)  # pyright: ignore[reportArgumentType]
    bad: list[str] = []
    for plan in recorder.plans():
        scanned = {a or b for a, b in SCAN.findall(plan)} - SMALL
        sorted_by_hand = "USE TEMP B-TREE FOR ORDER BY" in plan and "LIMIT" in plan.split("\n")[0]
        if scanned or sorted_by_hand:
            bad.append(plan)
    assert not bad, "\n\n".join(bad)
