"""Questions to a person: who is asked, and how the answer comes back."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

from quarterdeck.concurrency import call_in_thread
from quarterdeck.errors import ConfigError


@dataclass(frozen=True, slots=True)
class HumanRequest:
    """A question to a person.

    Args:
        run_id: The run.
        path: The question's path, such as ``research/1/human/1``.
        task: The task's name.
        agent: The agent's role.
        output: What the person is to judge.
        question: What the person is asked.
    """

    run_id: str
    path: str
    task: str
    agent: str
    output: str
    question: str


@dataclass(frozen=True, slots=True)
class HumanAnswer:
    """A person's answer.

    Args:
        approved: True accepts the output; False sends the task back with the feedback.
        feedback: What the person said.
    """

    approved: bool
    feedback: str = ""


class HumanInput(Protocol):
    """Asks a person. ``None`` means that the answer comes later: the run ends as ``pending_human_input``, and
    goes on when it is called again with the answer."""

    async def ask(self, request: HumanRequest) -> HumanAnswer | None: ...


class Console:
    """Asks on the terminal: an empty line accepts, anything else is feedback."""

    async def ask(self, request: HumanRequest) -> HumanAnswer | None:
        """Asks, and waits for a line."""
        if not sys.stdin or not sys.stdin.isatty():
            raise ConfigError(
                f"task {request.task!r} asks a person and there is no terminal to ask on: "
                "kickoff(human=Later(), journal=...) lets the answer come later, or give a HumanInput of your own"
            )
        print(f"\n{request.output}\n\n{request.question}", file=sys.stderr)
        text = await call_in_thread(input, "Feedback (empty to accept): ")
        return HumanAnswer(not text.strip(), text.strip())


class Later:
    """Asks nobody now: the run ends as ``pending_human_input`` until it is called again with the answer."""

    async def ask(self, request: HumanRequest) -> HumanAnswer | None:
        """No answer yet."""
        del request
        return None


_provider: ContextVar[HumanInput | None] = ContextVar("quarterdeck_human_input", default=None)


def set_human_input(provider: HumanInput | None) -> None:
    """Whom runs of this context ask from now on; None: the terminal (CrewAI: ``set_provider``)."""
    _provider.set(provider)


@contextmanager
def human_input(provider: HumanInput) -> Generator[None]:
    """Whom runs ask within a ``with`` block."""
    token = _provider.set(provider)
    try:
        yield
    finally:
        _provider.reset(token)


def current_human_input() -> HumanInput:
    """Whom runs of this context ask."""
    return _provider.get() or Console()
