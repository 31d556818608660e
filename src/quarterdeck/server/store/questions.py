"""Questions to persons: kept, answered once, and what becomes of those that nobody answers in time. All but the reading
is done in the journal's writer, within its transaction."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import cast

from quarterdeck.runtime.human import HumanAnswer
from quarterdeck.runtime.journal.database import Database, Row
from quarterdeck.server.store import sql
from quarterdeck.server.store.endings import Outbox, end_without_worker
from quarterdeck.server.store.records import WAITING, AnswerOutcome, Hooks, Question


def ask(database: Database, question: Question, seconds: float | None) -> bool:
    """Keeps a question; of one that is there, only the time that was not set yet. True where it has an answer."""
    body = sql.compact([question.task, question.agent, question.output, question.question])
    expires = f"{database.now} + ?" if seconds is not None else "NULL"
    database.execute(
        f"INSERT INTO qd_questions (run_id, path, kind, body, asked, expires, default_action) "
        f"VALUES (?, ?, ?, ?, {database.now}, {expires}, ?) ON CONFLICT (run_id, path) DO UPDATE "
        "SET expires = COALESCE(qd_questions.expires, excluded.expires) WHERE qd_questions.answer IS NULL",
        [
            *(question.run_id, sql.text(question.path), question.kind, body),
            *([] if seconds is None else [seconds]),
            question.default_action,
        ],
    )
    rows = database.execute(
        "SELECT 1 FROM qd_questions WHERE run_id = ? AND path = ? AND answer IS NOT NULL",
        (question.run_id, sql.text(question.path)),
    )
    return bool(rows)


def asked(database: Database, run_ids: Sequence[str]) -> list[Question]:
    """The questions of runs, the oldest first."""
    among, parameters = database.is_one_of(run_ids)
    rows = database.execute(
        "SELECT run_id, path, kind, body, asked, expires, default_action, answer, answered FROM qd_questions "
        f"WHERE run_id {among} ORDER BY asked, path",
        parameters,
    )
    return [_question(row) for row in rows]


def answered(database: Database, run_ids: Sequence[str]) -> dict[str, tuple[Question, ...]]:
    """The answered questions of each run."""
    found: dict[str, tuple[Question, ...]] = {}
    for question in asked(database, run_ids) if run_ids else ():
        if question.answer is not None:
            found[question.run_id] = (*found.get(question.run_id, ()), question)
    return found


def _question(row: Row) -> Question:
    run_id, path, kind, body, asked, expires, default_action, answer, answered = row
    task, agent, output, question = cast("list[str]", json.loads(body))
    return Question(
        run_id=run_id,
        path=path,
        kind=kind,
        task=task,
        agent=agent,
        output=output,
        question=question,
        asked=asked,
        expires=expires,
        default_action=default_action,
        answer=HumanAnswer(*json.loads(answer)) if answer is not None else None,
        answered=answered,
    )


def _keep(database: Database, run_id: str, path: str, given: HumanAnswer) -> None:
    database.execute(
        f"UPDATE qd_questions SET answer = ?, answered = {database.now} "
        "WHERE run_id = ? AND path = ? AND answer IS NULL",
        (sql.compact([given.approved, given.feedback]), run_id, sql.text(path)),
    )


def answer(
    database: Database, run_id: str, question: str, given: HumanAnswer, hooks: Hooks | None = None
) -> AnswerOutcome:
    """A person answers: see ``Store.answer``."""
    run = sql.hold(database, run_id)
    of_task = [item for item in asked(database, [run_id]) if question in (item.path, item.task)]
    if run is None or not of_task:
        return AnswerOutcome.unknown if run is None or run.state in WAITING else AnswerOutcome.not_waiting
    chosen = next((item for item in of_task if item.answer is None), of_task[-1])
    if chosen.answer is not None:
        return AnswerOutcome.repeated if chosen.answer == given else AnswerOutcome.conflict
    if run.ended:
        return AnswerOutcome.not_waiting
    _keep(database, run_id, chosen.path, given)
    sql.queue_again(database, run_id)
    if hooks is not None and hooks != Hooks():
        sql.set_hooks(database, run_id, run.hooks.replaced_by(hooks))
    return AnswerOutcome.accepted


def due(database: Database, limit: int) -> list[tuple[str, str]]:
    """Questions whose time is over, of runs that wait: run and path."""
    rows = database.execute(
        "SELECT q.run_id, q.path FROM qd_questions q JOIN qd_kickoffs k ON k.id = q.run_id "
        f"WHERE q.answer IS NULL AND q.expires IS NOT NULL AND q.expires <= {database.now} "
        "AND k.state IN ('pending_human_input', 'in_doubt') ORDER BY q.expires LIMIT ?",
        (limit,),
    )
    return [(row[0], row[1]) for row in rows]


def expire(database: Database, run_id: str, path: str, outbox: Outbox | None) -> None:
    """Does what was to be done with a question that nobody has answered in time."""
    run = sql.hold(database, run_id)
    question = next((item for item in asked(database, [run_id]) if item.path == path), None)
    if run is None or run.state not in WAITING or question is None or question.answer is not None:
        return
    if question.default_action == "approve":
        _keep(database, run_id, path, HumanAnswer(True, ""))
        sql.queue_again(database, run_id)
        return
    status = "cancelled" if question.default_action == "cancel" else "failed"
    reason = f"nobody has answered the question of task {question.task!r} in time"
    end_without_worker(database, run, status, reason, path, outbox)
