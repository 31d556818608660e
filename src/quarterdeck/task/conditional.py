"""ConditionalTask: a task that is done only where the output before it calls for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import model_validator

from quarterdeck.concurrency import call
from quarterdeck.errors import TaskError
from quarterdeck.events import ConditionDecided
from quarterdeck.runtime.run import Run
from quarterdeck.task.output import TaskOutput
from quarterdeck.task.planned import PlannedTask
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


async def wanted(run: Run, planned: PlannedTask, before: TaskOutput | None) -> bool:
    """Whether a task is to be done; one without a condition always is.

    Args:
        run: The run.
        planned: The task.
        before: The output of the task before it in the crew.

    Raises:
        TaskError: The condition returned no bool.
    """
    task = planned.task
    if not isinstance(task, ConditionalTask) or before is None:
        return True
    path = f"{planned.name}/condition"
    done = run.finished.get(path)
    if isinstance(done, ConditionDecided):
        return done.met
    met: Any = await call(task.condition, before)
    if not isinstance(met, bool):
        raise TaskError(f"task {planned.name!r}: its condition must return True or False, it returned {met!r}")
    await run.record(ConditionDecided(path=path, task=planned.name, met=met))
    return met
