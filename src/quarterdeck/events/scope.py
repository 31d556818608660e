"""What is under way where an event happens: the crew, the task and the agent, as objects."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Scope:
    """The definitions that are being worked with.

    Args:
        crew: The Crew, or None outside of one.
        flow: The Flow, or None outside of one.
        task: The Task, or None outside of one.
        task_name: The task's name in this run.
        task_index: The task's place in the crew, from 0.
        agent: The Agent, or None outside of one's work.
        role: The agent's role in this run, with the inputs put in.
        llm: The model that is called, or None outside of a call.
        request: What it is sent.
    """

    crew: Any = None
    flow: Any = None
    task: Any = None
    task_name: str = ""
    task_index: int | None = None
    agent: Any = None
    role: str = ""
    llm: Any = None
    request: Any = None


_scope: ContextVar[Scope] = ContextVar("quarterdeck_scope", default=Scope())  # noqa: B039 - it is frozen


def current_scope() -> Scope:
    """What is under way here."""
    return _scope.get()


@contextmanager
def scope(**parts: Any) -> Generator[None]:
    """Sets parts of the scope for what is called inside."""
    token = _scope.set(replace(_scope.get(), **parts))
    try:
        yield
    finally:
        _scope.reset(token)
