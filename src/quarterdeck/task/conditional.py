"""ConditionalTask: a task that is done only where the output before it calls for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import model_validator

from quarterdeck.task.task import Task


class ConditionalTask(Task):
    """A task that may be skipped (CrewAI: ``crewai.tasks.conditional_task.ConditionalTask``).

    Its output is then empty (``raw == ""``), it has no callbacks and no file, and later tasks are told nothing of it.

    Args:
        condition: A function, sync or async, that is given the ``TaskOutput`` of the task before it in the crew, and
            returns whether this one is to be done. Asked once in a run: what it said is kept in the journal.

    Raises:
        ConfigError: ``async_execution`` is set.
    """

    condition: Callable[..., Any]

    @model_validator(mode="after")
    def _check_conditional(self) -> ConditionalTask:
        if self.async_execution:
            raise ValueError("async_execution: a conditional task has to see the output before it; leave it out")
        return self
