"""``quarterdeck demo``: three agents read a harbour's log and write a report."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from quarterdeck import Crew, CrewOutput


def demo(
    model: Annotated[
        str | None,
        typer.Option(help="The model; by default gpt-4o-mini if OPENAI_API_KEY is set, else the local one."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Where the report goes.")] = Path("quarterdeck-demo-report.md"),
    plain: Annotated[bool, typer.Option("--plain", help="A line for each event, in place of the live table.")] = False,
) -> None:
    """Three agents read a harbour's log and write a report: with no key and no network, on a model in this process."""
    from quarterdeck.demo import build, write
    from quarterdeck.demo.crew import LOCAL

    model = model or ("openai/gpt-4o-mini" if os.environ.get("OPENAI_API_KEY") else LOCAL)
    crew = build(model)
    print(f"Model: {model}. The texts: {len(crew.tasks) // 3} entries of a harbour's log.\n", flush=True)
    started = time.monotonic()
    output = _watched(crew, plain or not sys.stdout.isatty())
    print(f"\n{write(output, out, model, time.monotonic() - started)}\nThe report is in {out}.")


def _watched(crew: Crew, plain: bool) -> CrewOutput:
    if plain:
        from quarterdeck.runtime.verbose import printer

        return crew.kickoff(on_event=printer(sys.stdout))
    from rich.live import Live

    from quarterdeck.demo.view import LiveView

    view = LiveView(crew.steps)
    with Live(view, refresh_per_second=8):
        return crew.kickoff(on_event=view.on_event, stream=True)
