"""``quarterdeck replay``: a run of a journal, done again from a task on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from quarterdeck.cli.run import CrewName, InputPairs, Model, Target, load, read_inputs
from quarterdeck.errors import ConfigError


def replay(
    run_id: Annotated[str, typer.Argument(help="The run that is done again.")],
    journal: Annotated[str, typer.Option(help="A SQLite file, or a postgresql:// URL.")],
    from_task: Annotated[str, typer.Option(help="The first task that is done again.")],
    target: Target = ".",
    crew: CrewName = None,
    model: Model = None,
    changed: InputPairs = None,
    into: Annotated[str | None, typer.Option(help="The new run's id; by default one is made.")] = None,
) -> None:
    """Does a run again from a task on, as a new run: the tasks before it are taken from the journal."""
    from quarterdeck.crew import Crew
    from quarterdeck.runtime.verbose import shown

    if "://" not in journal and not Path(journal).is_file():
        raise ConfigError(f"there is no journal {journal!r}")
    inputs = read_inputs(changed or [], None)
    found = load(target, crew, model)
    if not isinstance(found, Crew):
        raise ConfigError(f"target {target!r} is a {type(found).__name__}; a crew can be replayed")
    with shown() as on_event:
        output = found.replay(from_task, inputs, run_id=run_id, into=into, journal=journal, on_event=on_event)
    print(f"run {output.run_id}: {output.status}{f' ({output.reason})' if output.reason else ''}", file=sys.stderr)
    print(output)
