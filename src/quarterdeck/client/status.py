"""A run's status, the same from every server: AMP's documented form, that of its service, and ours.

Sources: AMP's OpenAPI document (``status``, ``result`` an object), and what its service answers (``state`` in the
words of Celery, ``result`` a text). ``docs/http-api.md`` has both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast, get_args

State = Literal[
    "queued",
    "running",
    "pending_human_input",
    "in_doubt",
    "stranded",
    "completed",
    "error",
    "cancelled",
    "timeout",
    "unknown",
]
"""Where a run is. ``unknown``: the server used a word that this client does not know."""

_ENDED: tuple[State, ...] = ("completed", "error", "cancelled", "timeout")
_WORDS: dict[str, State] = {
    **{word: word for word in get_args(State)},
    "pending": "queued",
    "received": "queued",
    "started": "running",
    "retry": "running",
    "success": "completed",
    "failed": "error",
    "failure": "error",
    "revoked": "cancelled",
}


@dataclass(frozen=True, slots=True)
class TaskResult:
    """What a finished task gave.

    Args:
        task_id: The task's name.
        output: Its output's text.
        agent: The role of the agent that did it.
        execution_time: Seconds that it took; None where the server does not say.
    """

    task_id: str
    output: str
    agent: str = ""
    execution_time: float | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """What a run waits for a person to say.

    Args:
        task_id: The task, for ``resume``.
        output: What the person is to judge.
        question: What is asked.
        agent: The role of the agent that asks.
    """

    task_id: str
    output: str = ""
    question: str = ""
    agent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """A run's status.

    Args:
        kickoff_id: The run.
        state: Where it is.
        output: The text of its result, whole or partial; "" while there is none.
        error: Why it failed, or was ended.
        tasks: Its finished tasks, where the server tells of them.
        pending: What a person is asked; None where nobody is, or the server does not say.
        current_task: The task that is being done, where the server says.
        completed_tasks: How many tasks are done; None where the server does not say.
        total_tasks: How many there are; None likewise.
        execution_time: Seconds that the run took; None until it has ended.
        retry_after: Seconds after which the server advises to ask again.
        body: The whole answer.
    """

    kickoff_id: str
    state: State
    output: str = ""
    error: str = ""
    tasks: tuple[TaskResult, ...] = ()
    pending: Question | None = None
    current_task: str | None = None
    completed_tasks: int | None = None
    total_tasks: int | None = None
    execution_time: float | None = None
    retry_after: float | None = None
    body: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in _ENDED

    @property
    def waits_for_person(self) -> bool:
        """Whether it goes on only after an answer (``resume``)."""
        return self.state in ("pending_human_input", "in_doubt")


def read_status(kickoff_id: str, body: Mapping[str, Any], retry_after: float | None = None) -> Status:
    """The status that an answer tells of, in whichever form.

    Args:
        kickoff_id: The run.
        body: The answer.
        retry_after: What its header of this name says.
    """
    state = _state(body)
    progress, result = _mapping(body.get("progress")), body.get("result")
    tasks = _mapping(result).get("tasks") or body.get("tasks_output")
    reason = body.get("error") or (body.get("reason") if state != "completed" else None)
    return Status(
        kickoff_id=kickoff_id,
        state=state,
        output=_text(_mapping(result).get("output") if "output" in _mapping(result) else result),
        error=_text(reason),
        tasks=tuple(_task(item) for item in _list(tasks)),
        pending=_question(body.get("pending")),
        current_task=_text(body.get("current_task")) or None,
        completed_tasks=_count(progress.get("completed_tasks")),
        total_tasks=_count(progress.get("total_tasks")),
        execution_time=_number(body.get("execution_time")),
        retry_after=retry_after,
        body=body,
    )


def _state(body: Mapping[str, Any]) -> State:
    """From ``status`` and ``state``: what says that the run has ended comes first, then ``status``."""
    words = [str(body.get(name, "")).strip().lower().replace(" ", "_") for name in ("status", "state")]
    known: list[State] = [_WORDS[word] for word in words if word in _WORDS]
    known.sort(key=lambda state: state not in _ENDED)  # stable
    return known[0] if known else "unknown"


def _task(item: Any) -> TaskResult:
    task = _mapping(item)
    return TaskResult(
        task_id=_text(task.get("task_id") or task.get("name")),
        output=_text(task.get("output") if "output" in task else task.get("raw")),
        agent=_text(task.get("agent")),
        execution_time=_number(task.get("execution_time")),
    )


def _question(value: Any) -> Question | None:
    asked = _mapping(value)
    if not asked:
        return None
    return Question(
        task_id=_text(asked.get("task_id")),
        output=_text(asked.get("output")),
        question=_text(asked.get("question")),
        agent=_text(asked.get("agent")),
    )


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _count(value: Any) -> int | None:
    number = _number(value)
    return None if number is None else int(number)


def _mapping(value: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []
