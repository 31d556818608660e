"""``quarterdeck events``: what happened in a run, from a server or from a journal."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from quarterdeck.cli.remote import Token, Url, client_of
from quarterdeck.concurrency import run_sync
from quarterdeck.errors import ConfigError
from quarterdeck.events import Event, LLMDelta, RunStarted, event_from_dict


def events(
    run_id: Annotated[str, typer.Argument(help="The run's id.")],
    url: Url = None,
    token: Token = "",
    journal: Annotated[
        str | None, typer.Option(help="In place of a server: a SQLite file, or a postgresql:// URL.")
    ] = None,
    types: Annotated[str, typer.Option(help="Only these, as task.finished,run.finished.")] = "",
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line, whole.")] = False,
) -> None:
    """Prints what happened in a run: of a server's, then as it happens, until it has ended; of a journal's, so far."""
    wanted = tuple(part.strip() for part in types.split(",") if part.strip())
    if journal is None:
        _from_server(run_id, url, token, wanted, json)
    elif url is None:
        _from_journal(run_id, journal, wanted, json)
    else:
        raise ConfigError("give --url or --journal, not both: a run is asked for in one place")


def _from_journal(run_id: str, journal: str, wanted: tuple[str, ...], json: bool) -> None:
    from quarterdeck.runtime.journal import open_journal

    if "://" not in journal and not Path(journal).is_file():
        raise ConfigError(f"there is no journal {journal!r}")
    found = run_sync(open_journal(journal).events(run_id))
    if not found:
        raise ConfigError(f"the journal {journal!r} has no run {run_id!r}")
    for event in found:
        if not wanted or event.type in wanted:
            print(event.to_json() if json else _line(event))


def _from_server(run_id: str, url: str | None, token: str, wanted: tuple[str, ...], json: bool) -> None:
    from quarterdeck.events import json_of

    for event in client_of(url, token).events(run_id, types=wanted):
        if event.type == "end":
            if not json:
                print(f"      the run is {event.data.get('status')}", flush=True)
        elif json:
            print(json_of(event.data), flush=True)
        elif event.type == "llm.delta" and not wanted:
            continue  # a piece of what llm.finished shows
        else:
            print(_shown(event.type, event.data), flush=True)


def _shown(kind: str, data: dict[str, object]) -> str:
    """An event of a server, which may know more kinds than this program."""
    try:
        return _line(event_from_dict(data))
    except ConfigError:
        return f"{'':>4}  {'':19}  {kind:<18} {data.get('path', '')}"


def _line(event: Event) -> str:
    from quarterdeck.runtime.verbose import line

    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.time))
    shown = event.text if isinstance(event, LLMDelta) else line(event) or event.path
    if isinstance(event, RunStarted):
        shown = f"{event.crew}{'' if event.segment == 1 else ', going on'}"
    return f"{event.seq or '':>4}  {at}  {event.type:<18} {shown}"
