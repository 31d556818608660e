"""The server's store: runs, the queue, questions, wake-ups; one schema for SQLite and PostgreSQL."""

from __future__ import annotations

from quarterdeck.errors import IdempotencyConflictError
from quarterdeck.server.store.endings import Outbox, state_of
from quarterdeck.server.store.migrate import Schema, check, upgrade
from quarterdeck.server.store.records import (
    ENDED,
    WAITING,
    AnswerOutcome,
    Authentication,
    Beat,
    Claim,
    DefaultAction,
    Hooks,
    HumanInputHook,
    NewRun,
    Question,
    RunRecord,
    State,
    StreamHook,
    new_run_id,
)
from quarterdeck.server.store.store import MAX_DEATHS, Store
from quarterdeck.server.store.wake import Waiter, WakeUps

__all__ = [
    "ENDED",
    "MAX_DEATHS",
    "WAITING",
    "AnswerOutcome",
    "Authentication",
    "Beat",
    "Claim",
    "DefaultAction",
    "Hooks",
    "HumanInputHook",
    "IdempotencyConflictError",
    "NewRun",
    "Outbox",
    "Question",
    "RunRecord",
    "Schema",
    "State",
    "Store",
    "StreamHook",
    "Waiter",
    "WakeUps",
    "check",
    "new_run_id",
    "state_of",
    "upgrade",
]
