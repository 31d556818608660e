"""Replay: a new run that takes the outputs of an earlier run's tasks, up to one, and does the rest again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quarterdeck.crew.plan import task_names
from quarterdeck.errors import ConfigError
from quarterdeck.events import Event, RunStarted, TaskFinished
from quarterdeck.runtime.journal import Journal, OpenRun, open_journal
from quarterdeck.runtime.options import RunOptions
from quarterdeck.task.task import Task

_NEWEST = 50
"""So many runs are looked through for the crew's newest."""


@dataclass(frozen=True, slots=True)
class Source:
    """What a replay takes from an earlier run.

    Args:
        run_id: The earlier run.
        given: The inputs that it was given, with the new ones over them.
        inputs: The inputs that it worked with, with the new ones over them.
        outputs: The outputs of the tasks before the one that is done again, by name.
    """

    run_id: str
    given: dict[str, Any]
    inputs: dict[str, Any]
    outputs: dict[str, dict[str, Any]]


async def find_source(
    crew: str, tasks: Sequence[Task], task_id: str, inputs: Mapping[str, Any], options: RunOptions, into: str | None
) -> Source:
    """Finds what a replay starts from. Nothing is written.

    Args:
        crew: The crew's name.
        tasks: Its tasks.
        task_id: The name or the id of the first task that is done again.
        inputs: New inputs.
        options: Those of the replay: ``journal``, and ``run_id`` of the earlier run.
        into: The new run's id.

    Raises:
        ConfigError: There is no such task, journal or run; a task before has no output there; the new run is there.
    """
    index = _index(tasks, task_id)
    journal = _journal(options)
    if into and await journal.events(into):
        raise ConfigError(f"the new run {into!r} is in the journal already; give another id, or none")
    run_id = options.get("run_id") or await _newest(journal, crew)
    first, outputs = _read(run_id, await journal.events(run_id))
    before = task_names(tasks)[:index]
    if missing := [name for name in before if name not in outputs]:
        raise ConfigError(
            f"run {run_id!r} has no output of {', '.join(missing)}, before {task_names(tasks)[index]!r}: replay from "
            "there, or go on with the run itself by kickoff(run_id=...)"
        )
    return Source(
        run_id, {**first.given, **inputs}, {**first.inputs, **inputs}, {name: outputs[name] for name in before}
    )


def _index(tasks: Sequence[Task], task_id: str) -> int:
    names = task_names(tasks)
    for n, task in enumerate(tasks):
        if task_id in (names[n], task.id, task.name):
            return n
    raise ConfigError(f"the crew has no task {task_id!r}; its tasks are {', '.join(names)}")


def _journal(options: RunOptions) -> Journal:
    journal = options.get("journal")
    if journal is None or isinstance(journal, OpenRun):
        raise ConfigError("a replay needs journal=, with the run that it starts from")
    return open_journal(journal)


async def _newest(journal: Journal, crew: str) -> str:
    for row in await journal.runs(_NEWEST):
        events = await journal.events(row.run_id)
        if events and isinstance(events[0], RunStarted) and events[0].crew == crew:
            return row.run_id
    raise ConfigError(f"the newest {_NEWEST} runs of the journal have none of crew {crew!r}; give its run_id")


def _read(run_id: str, events: Sequence[Event]) -> tuple[RunStarted, dict[str, dict[str, Any]]]:
    """How a run began, and the outputs of its finished tasks."""
    if not events or not isinstance(events[0], RunStarted):
        raise ConfigError(f"the journal has no run {run_id!r}")
    first = events[0]
    outputs = dict(first.reused)
    outputs.update({event.path: event.output for event in events if isinstance(event, TaskFinished)})
    return first, outputs
