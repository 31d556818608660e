"""A task on its own: a run with no crew."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Unpack

from quarterdeck.agent.agent import Agent
from quarterdeck.agent.fields import as_tools
from quarterdeck.agent.interpolation import interpolate
from quarterdeck.errors import ConfigError, JournalError, RunStopped, TaskError
from quarterdeck.runtime.options import RunOptions
from quarterdeck.runtime.place import kickoff_here
from quarterdeck.runtime.receipts import issues
from quarterdeck.runtime.run import Run
from quarterdeck.task.output import TaskOutput
from quarterdeck.task.planned import PlannedTask, output_path, task_names
from quarterdeck.task.task_run import TaskRun

if TYPE_CHECKING:
    from quarterdeck.task.task import Task


async def execute(
    task: Task, agent: Agent | None, context: str | None, tools: Sequence[Any] | None, **options: Unpack[RunOptions]
) -> TaskOutput:
    """Does a task with no crew: see ``Task.aexecute_sync``."""
    planned = _planned(task, agent, tools)
    return await kickoff_here("task", options, lambda run: _within(run, task, planned, context or ""))


async def _within(run: Run, task: Task, planned: PlannedTask, context: str) -> TaskOutput:
    """Does a task in a run that is opened, and perhaps begun by a flow."""
    await run.begin(planned.name, {}, task.key)
    try:
        output = await TaskRun(run, planned, context).execute()
    except (RunStopped, asyncio.CancelledError) as error:
        stop = run.stop_behind(error)
        await run.end(stop.status, run.last_text, error=stop.reason, ended_by=stop.ended_by)
        raise TaskError(f"task {planned.name!r} has no output, its run was {stop.status}: {stop.reason}") from None
    except JournalError:
        raise
    except Exception as error:
        await run.end("failed", run.last_text, error=f"{type(error).__name__}: {error}")
        raise
    await run.end("completed", output.raw, issues=issues(output.tool_receipts))
    return output


def _planned(task: Task, agent: Agent | None, tools: Sequence[Any] | None) -> PlannedTask:
    worker = agent or task.agent
    if worker is None:
        raise ConfigError("the task has no agent: Task(..., agent=...), or give one here")
    try:
        chosen = as_tools(tools) or task.tools or worker.tools
    except ValueError as error:
        raise ConfigError(f"Task: {error}") from None
    name = task_names([task])[0]
    where = f"task {name!r}"
    return PlannedTask(
        index=0,
        name=name,
        task=task,
        agent=worker,
        persona=worker.persona({}),
        description=interpolate(task.description, {}, f"{where} description"),
        expected_output=interpolate(task.expected_output, {}, f"{where} expected_output"),
        output_file=output_path(task.output_file, {}, f"{where} output_file") if task.output_file else None,
        context=(),
        tools=tuple(chosen),
    )
