"""Guardrails that ask a model: what they are given, and how their verdict is got."""

from __future__ import annotations

import abc
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel

from quarterdeck.agent.question import ask_model
from quarterdeck.concurrency import run_sync
from quarterdeck.errors import ConfigError, GuardrailError, MalformedResponseError, OutputFormatError
from quarterdeck.events import ToolFinished
from quarterdeck.llm import BaseLLM, create_llm
from quarterdeck.runtime.run import Run

V = TypeVar("V", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Hearing:
    """What a guardrail is told besides the output.

    Args:
        run: The run.
        path: The verdict's path; a model's call is ``{path}/llm/1``.
        llm: The agent's model, for guardrails that have none of their own; None outside a run.
        role: The agent's role, for the events.
        sources: Gives what the output may rest on: the task's text, its context, the results of its tools.
        wait: Awaited before a model is called (the agent's rate limit).
    """

    run: Run
    path: str
    llm: BaseLLM | None = None
    role: str = ""
    sources: Callable[[], Sequence[str]] = tuple
    wait: Callable[[], Awaitable[None]] | None = None


def tool_results(run: Run, prefix: str) -> list[str]:
    """What the tools said in the steps below a path: in a task, or in an agent's work on its own."""
    below = f"{prefix}/"
    return [
        event.output
        for path, event in run.finished.items()
        if isinstance(event, ToolFinished) and event.ok and path.startswith(below)
    ]


class ModelGuardrail(abc.ABC):
    """A guardrail that asks a model. In a run each call is a step; called as a function, it is a call of its own.

    Args:
        llm: The model; None takes that of the agent whose output is judged.

    Raises:
        ConfigError: The model is none.
    """

    def __init__(self, llm: Any = None) -> None:
        self.llm: BaseLLM | None = None if llm is None else create_llm(llm)

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """Its name in events and errors."""

    @abc.abstractmethod
    async def verdict(self, output: str, hearing: Hearing) -> tuple[bool, str]:
        """Whether the output passes, and what should be better where it does not.

        Raises:
            GuardrailError: The model gave no verdict that can be read.
        """

    def __call__(self, output: Any) -> tuple[bool, Any]:
        """Judges an output (CrewAI's form), outside a run: it is kept in no journal and counts in no budget.

        Args:
            output: A ``TaskOutput``, a ``LiteAgentOutput`` or a text.

        Returns:
            ``(True, output)`` or ``(False, feedback)``.
        """
        text = output if isinstance(output, str) else output.raw
        ok, feedback = run_sync(self.verdict(text, Hearing(Run(str(uuid.uuid4())), "guardrail/1")))
        return (True, output) if ok else (False, feedback)

    async def ask(self, hearing: Hearing, system: str, text: str, model: type[V]) -> V:
        """One question to the model, answered by an instance of a class.

        Raises:
            GuardrailError: The answer still does not fit after the repairs.
        """
        llm = self.llm or hearing.llm
        if llm is None:
            raise ConfigError(f"guardrail {self.name} needs llm=... where it is used outside a task or an agent")
        try:
            return await ask_model(
                hearing.run, hearing.path, llm, system, text, model, role=hearing.role, wait=hearing.wait
            )
        except (OutputFormatError, MalformedResponseError) as error:
            raise GuardrailError(f"guardrail {self.name} gave no verdict that can be read: {error}") from error
