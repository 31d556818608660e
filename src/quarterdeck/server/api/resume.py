"""``POST /resume``: a person's answer."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from quarterdeck.flow import Flow
from quarterdeck.runtime.human import HumanAnswer
from quarterdeck.server.api.context import EntryOf, ServicesOf, Who, find_run
from quarterdeck.server.api.document import errors
from quarterdeck.server.api.kickoff import checked, urls_of
from quarterdeck.server.api.models import ResumeRequest, ResumeResponse
from quarterdeck.server.api.problems import Problem
from quarterdeck.server.store import AnswerOutcome

router = APIRouter()


@router.post(
    "/resume",
    response_model=ResumeResponse,
    responses=errors(409, 422),
    summary="Answers a question of a run",
)
async def resume(request: ResumeRequest, entry: EntryOf, who: Who, services: ServicesOf) -> dict[str, Any]:
    """Approval lets the run go on; feedback sends the task back with it, as often as needed. A flow goes on with the
    feedback in any case: it may name the outcome.

    One question gets one answer: the same again is the same answer, another one is a conflict.
    """
    record = await find_run(services.store, who.tenant, entry.name, request.execution_id)
    approved = request.is_approve if request.is_approve is not None else not request.human_feedback.strip()
    answer = HumanAnswer(approved, request.human_feedback)
    hooks = await checked(urls_of(request), services.settings.dev)
    outcome = await services.store.answer(record.id, request.task_id, answer, hooks)
    match outcome:
        case AnswerOutcome.accepted | AnswerOutcome.repeated:
            is_method = request.task_id in entry.runnable.steps and isinstance(entry.runnable, Flow)
            if approved or is_method:
                return {"status": "resumed", "message": "The answer is accepted; the run goes on."}
            return {"status": "retrying", "message": "The task is done again with the feedback."}
        case AnswerOutcome.conflict:
            raise Problem(409, f"the question of task {request.task_id!r} has another answer already")
        case AnswerOutcome.unknown:
            raise Problem(404, f"the run has no question of a task {request.task_id!r}")
        case AnswerOutcome.not_waiting:
            raise Problem(400, f"the run is not waiting for a person: it is {record.state}")
