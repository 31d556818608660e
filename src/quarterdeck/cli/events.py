"""``quarterdeck events``: what a journal has of a run."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from quarterdeck.concurrency import run_sync
from quarterdeck.errors import ConfigError
from quarterdeck.events import Event


def events(
    run_id: Annotated[str, typer.Argument(help="The run's id.")],
    journal: Annotated[str, typer.Option(help="A SQLite file, or a postgresql:// URL.")],
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line, whole.")] = False,
) -> None:
    """Prints the events of a journaled run."""
    from quarterdeck.runtime.journal import open_journal

    if "://" not in journal and not Path(journal).is_file():
        raise ConfigError(f"there is no journal {journal!r}")
    found = run_sync(open_journal(journal).events(run_id))
    if not found:
        raise ConfigError(f"the journal {journal!r} has no run {run_id!r}")
    for event in found:
        print(event.to_json() if json else _line(event))


def _line(event: Event) -> str:
    from quarterdeck.runtime.verbose import line

    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.time))
    return f"{event.seq:>4}  {at}  {event.type:<18} {line(event) or event.path}"
