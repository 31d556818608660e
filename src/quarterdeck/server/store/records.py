"""What the store keeps: kickoffs, the questions of their runs, and where their webhooks go."""

from __future__ import annotations

import os
import time
import uuid
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from pydantic import TypeAdapter

from quarterdeck.events import HumanRequested
from quarterdeck.runtime.human import HumanAnswer
from quarterdeck.runtime.journal.tables import Ownership

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
]
"""Where a run is. ``stranded``: no live worker has its version; a worker that has it takes the run up.
``in_doubt``: a tool that must not be repeated was under way when its worker died; a person answers."""

WAITING = frozenset({"pending_human_input", "in_doubt"})
ENDED = frozenset({"completed", "error", "cancelled", "timeout"})

DefaultAction = Literal["approve", "error", "cancel"]
"""What becomes of a run whose question nobody has answered in time: it goes on as if approved, ends with state
``error``, or with state ``cancelled``."""


@dataclass(frozen=True, slots=True)
class Authentication:
    """How a receiver of webhooks is called (AMP: ``authentication``)."""

    strategy: Literal["bearer", "basic"] = "bearer"
    token: str = field(default="", repr=False)
    username: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class HumanInputHook:
    """Where a question to a person is announced (AMP: ``humanInputWebhook``)."""

    url: str
    authentication: Authentication | None = None


@dataclass(frozen=True, slots=True)
class StreamHook:
    """Where events go (AMP: ``webhooks``).

    Args:
        url: The receiver.
        events: Names of the events; none means all.
        realtime: One event a request; else they come in batches.
        authentication: How the receiver is called.
        secret: Signs the requests; "": the tenant's.
    """

    url: str
    events: tuple[str, ...] = ()
    realtime: bool = False
    authentication: Authentication | None = None
    secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """Where the webhooks of a run go; None: they are not wanted."""

    task_url: str | None = None
    step_url: str | None = None
    crew_url: str | None = None
    human_input: HumanInputHook | None = None
    streams: tuple[StreamHook, ...] = ()

    def to_json(self) -> str:
        return _HOOKS.dump_json(self, ensure_ascii=True).decode()

    @staticmethod
    def from_json(text: str) -> Hooks:
        return _HOOKS.validate_json(text)

    def replaced_by(self, other: Hooks) -> Hooks:
        """These, but for what the other ones give."""
        return Hooks(
            task_url=other.task_url or self.task_url,
            step_url=other.step_url or self.step_url,
            crew_url=other.crew_url or self.crew_url,
            human_input=other.human_input or self.human_input,
            streams=other.streams or self.streams,
        )


_HOOKS = TypeAdapter(Hooks)


def new_run_id() -> str:
    """A UUID for a run, of version 7 (RFC 9562): it begins with the time. What is written at the same time then lies
    together in the databases' indexes, however many runs are stored."""
    value = (time.time_ns() // 1_000_000 << 80) | int.from_bytes(os.urandom(10))
    value = value & ~(0xF << 76) | 0x7 << 76  # version
    value = value & ~(0x3 << 62) | 0x2 << 62  # variant
    return str(uuid.UUID(int=value))


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRun:
    """A kickoff.

    Args:
        id: The run's id, also in the journal: ``new_run_id()``.
        tenant: Whose it is.
        crew: The crew's name.
        version: The crew's version; the run stays on it.
        request_id: The caller's idempotency key; unique for a tenant and a crew.
        request_hash: Digest of what was asked; the same key with another one is a conflict.
        inputs: The crew's inputs.
        meta: The caller's own data; ``userId`` is what ``list_runs(user_id=)`` finds.
        hooks: Where its webhooks go.
        budget: Arguments of ``Budget``.
        priority: Among the tenant's own runs; greater is sooner.
        max_seconds: Time that it may be under way, over all its segments.
        answer_seconds: Time that a person has for an answer; None: any.
        default_action: What happens when that time is over.
        user_id: The user that it belongs to; None: ``meta["userId"]``.
    """

    id: str
    tenant: str
    crew: str
    version: str
    request_id: str | None = None
    request_hash: str = ""
    inputs: dict[str, Any] = field(default_factory=dict[str, Any])
    meta: dict[str, Any] = field(default_factory=dict[str, Any])
    hooks: Hooks = field(default_factory=Hooks)
    budget: dict[str, Any] = field(default_factory=dict[str, Any])
    priority: int = 0
    max_seconds: float | None = None
    answer_seconds: float | None = None
    default_action: DefaultAction = "cancel"
    user_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """A kickoff and where it is. Times are seconds since 1970; what it has in common with ``NewRun`` is told there.

    Args:
        state: Where it is.
        detail: Why it is there: an error, what to do; or "".
        ended_by: The limit that ended it, or the path of the question that it waits for.
        attempt: How often it was claimed by a worker.
        deaths: How many workers have died with it.
        worker: Who has it, while it is running.
        heartbeat_age: Seconds since that worker last said that it lives, by the database's clock.
        created: When it was asked for.
        started: When it was first claimed.
        ended_at: When it ended.
        cancel_requested: Whether somebody has asked for its end.
    """

    id: str
    tenant: str
    crew: str
    version: str
    request_id: str | None
    request_hash: str
    inputs: dict[str, Any]
    meta: dict[str, Any]
    hooks: Hooks
    budget: dict[str, Any]
    priority: int
    max_seconds: float | None
    answer_seconds: float | None
    default_action: DefaultAction
    user_id: str | None
    state: State
    detail: str
    ended_by: str
    attempt: int
    deaths: int
    worker: str | None
    heartbeat_age: float | None
    created: float
    started: float | None
    ended_at: float | None
    cancel_requested: bool

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in ENDED


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question to a person.

    Args:
        run_id: The run.
        path: The question's path in the run, such as ``research/1/human/1``; of a tool in doubt, the tool call's.
        task: The task's name.
        agent: The agent's role.
        output: What the person is to judge.
        question: What the person is asked.
        kind: ``human``: about a task's output. ``in_doubt``: whether a tool call happened: approved with its result as
            the feedback, or not approved, and then it is made again.
        asked: When.
        expires: Until when it can be answered; None: any time.
        default_action: What happens then.
        answer: The answer, once it is there.
        answered: When it came.
    """

    run_id: str
    path: str
    task: str
    agent: str = ""
    output: str = ""
    question: str = ""
    kind: Literal["human", "in_doubt"] = "human"
    asked: float = 0.0
    expires: float | None = None
    default_action: DefaultAction = "cancel"
    answer: HumanAnswer | None = None
    answered: float | None = None

    @classmethod
    def of(cls, run: RunRecord, event: HumanRequested) -> Question:
        """What an event of a run asks."""
        return cls(
            run_id=run.id,
            path=event.path,
            task=event.task,
            agent=event.agent,
            output=event.output,
            question=event.question,
            default_action=run.default_action,
        )


class AnswerOutcome(StrEnum):
    """What became of an answer.

    ``accepted``: the run goes on. ``repeated``: the same answer was there. ``conflict``: another one was.
    ``not_waiting``: the run waits for no person. ``unknown``: there is no such run, or no such question of it.
    """

    accepted = "accepted"
    repeated = "repeated"
    conflict = "conflict"
    not_waiting = "not_waiting"
    unknown = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A run that a worker has got.

    Args:
        run: The run.
        ownership: Its place in the journal, taken over in the same transaction.
        questions: Those that are answered.
    """

    run: RunRecord
    ownership: Ownership
    questions: tuple[Question, ...] = ()

    @property
    def answers(self) -> dict[str, HumanAnswer]:
        """The answers that persons have given, by the question's path."""
        return {item.path: item.answer for item in self.questions if item.kind == "human" and item.answer}


@dataclass(frozen=True, slots=True)
class Beat:
    """What a worker is told at its heartbeat.

    Args:
        cancel: Runs that it is to cancel.
        lost: Runs that are no longer its own: it stops them and says nothing.
    """

    cancel: frozenset[str]
    lost: frozenset[str]
