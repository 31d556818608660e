"""The condition of a task: asked once in a run."""

from __future__ import annotations

from typing import Any

from quarterdeck.concurrency import call
from quarterdeck.errors import TaskError
from quarterdeck.events import ConditionDecided
from quarterdeck.runtime.run import Run
from quarterdeck.task.output import TaskOutput
from quarterdeck.task.planned import PlannedTask


async def wanted(run: Run, planned: PlannedTask, before: TaskOutput | None) -> bool:
    """Whether a task is to be done; one without a condition always is.

    Args:
        run: The run.
        planned: The task.
        before: The output of the task before it in the crew.

    Raises:
        TaskError: The condition returned no bool.
    """
    condition = getattr(planned.task, "condition", None)  # a ConditionalTask has one
    if condition is None or before is None:
        return True
    path = f"{planned.name}/condition"
    done = run.finished.get(path)
    if isinstance(done, ConditionDecided):
        return done.met
    met: Any = await call(condition, before)
    if not isinstance(met, bool):
        raise TaskError(f"task {planned.name!r}: its condition must return True or False, it returned {met!r}")
    await run.record(ConditionDecided(path=path, task=planned.name, met=met))
    return met
