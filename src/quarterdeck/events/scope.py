"""What is under way where an event happens: the crew, the task and the agent, as objects."""

from __future__ import annotations

from contextvars import ContextVar, Token
from typing import Any, NamedTuple


class Scope(NamedTuple):
    """The definitions that are being worked with.

    Args:
        crew: The Crew, or None outside of one.
        flow: The Flow, or None outside of one.
        task: The Task, or None outside of one.
        task_name: The task's name in this run.
        task_index: The task's place in the crew, from 0.
        agent: The Agent, or None outside of one's work.
        role: The agent's role in this run, with the inputs put in.
        hooks: The hooks of the crew's runs alone.
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
    hooks: tuple[Any, ...] = ()
    llm: Any = None
    request: Any = None


_scope: ContextVar[Scope] = ContextVar("quarterdeck_scope", default=Scope())  # noqa: B039 - it cannot be changed
current_scope = _scope.get
"""What is under way here."""


class scope:
    """Sets parts of the scope for what is called inside of a ``with``."""

    __slots__ = ("_parts", "_token")

    def __init__(self, **parts: Any) -> None:
        self._parts = parts
        self._token: Token[Scope] | None = None

    def __enter__(self) -> None:
        self._token = _scope.set(_scope.get()._replace(**self._parts))

    def __exit__(self, *error: object) -> None:
        if self._token:
            _scope.reset(self._token)
