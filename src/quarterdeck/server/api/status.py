"""The status of a run, as a client polls it: the queue's row and the journal's events, put together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from quarterdeck.events import Event, LLMFinished, RunFinished, ToolFinished
from quarterdeck.server import amp
from quarterdeck.server.settings import Dialect
from quarterdeck.server.store import Question, RunRecord

STATES = {
    "queued": "PENDING",
    "running": "RUNNING",
    "pending_human_input": "RUNNING",
    "in_doubt": "RUNNING",
    "stranded": "PENDING",
    "completed": "SUCCESS",
    "error": "FAILED",
    "cancelled": "FAILED",
    "timeout": "FAILED",
}
"""Our states in the words of AMP's service."""


def status_body(
    record: RunRecord,
    events: Sequence[Event],
    questions: Sequence[Question],
    tasks: Sequence[str],
    current: Sequence[str] | None,
    dialect: Dialect,
) -> dict[str, Any]:
    """The answer to ``GET /{kickoff_id}/status``.

    Args:
        record: The run's row.
        events: Its events so far.
        questions: What a person is asked and has not answered.
        tasks: Names of the crew's tasks, or the flow's methods, in order.
        current: Of a flow: the methods under way; None: it is a crew.
        dialect: ``documented``: ``result`` is an object; ``runtime``: it is the answer's text.
    """
    finished = amp.done(events, current is not None)
    names = {amp.name_of(event) for event in finished}
    body: dict[str, Any] = {
        "kickoff_id": record.id,
        "status": record.state,
        "state": "STARTED" if record.state == "running" and not events else STATES[record.state],
        "crew": record.crew,
        "version": record.version,
        "inputs": record.inputs,
        "usage": amp.usage(events),
        "progress": {"completed_tasks": len(names), "total_tasks": max(len(tasks), len(names))},
        **_last(events, finished),
    }
    if not record.ended:
        due = [name for name in tasks if name not in names] if current is None else current
        body["current_task"] = due[0] if due else None
        body["lease"] = _lease(record, events)
    if record.detail and record.state != "pending_human_input":  # that is told by ``pending``
        body["reason"] = record.detail
    if questions and not record.ended:
        body["pending"] = _pending(questions[0])
    if record.ended:
        body |= _end(record, events, finished, dialect)
    return body


def _last(events: Sequence[Event], finished: Sequence[amp.Done]) -> dict[str, Any]:
    """The last step and the last task, in AMP's forms."""
    step = next((e for e in reversed(events) if isinstance(e, LLMFinished | ToolFinished) and amp.is_step(e)), None)
    return {
        "last_step": amp.step(step) if step else None,
        "last_executed_task": amp.task(finished[-1]) if finished else None,
    }


def _lease(record: RunRecord, events: Sequence[Event]) -> dict[str, Any]:
    """Who works on the run, and when it was last heard of: ``running`` can be checked."""
    return {
        "attempt": record.attempt,
        "worker": record.worker,
        "heartbeat_age": None if record.heartbeat_age is None else round(record.heartbeat_age, 3),
        "last_event": events[-1].time if events else None,
    }


def _pending(question: Question) -> dict[str, Any]:
    return {
        "task_id": question.task,
        "agent": question.agent,
        "output": question.output,
        "question": question.question,
        "asked": question.asked,
        "expires": question.expires,
    }


def _end(record: RunRecord, events: Sequence[Event], finished: Sequence[amp.Done], dialect: Dialect) -> dict[str, Any]:
    end = next((event for event in reversed(events) if isinstance(event, RunFinished)), None)
    output = end.output if end else (amp.text_of(finished[-1]) if finished else "")
    began, ended = record.started or record.created, record.ended_at or record.created
    body: dict[str, Any] = {"execution_time": round(max(0.0, ended - began), 3)}
    if record.state == "error":
        body["error"] = record.detail or (end.error if end else "")
    if record.ended_by:
        body["ended_by"] = record.ended_by
    if record.state != "completed" or (end is not None and end.status == "limited"):
        body["partial"] = True
    if end is not None and end.issues:
        body["issues"] = end.issues
    body["result_json"] = amp.structured(finished[-1]) if finished else None
    if dialect == "runtime":
        body["result"] = output
    elif record.state != "error" or finished:
        body["result"] = {"output": output, "tasks": [amp.task_result(event) for event in finished]}
    return body
