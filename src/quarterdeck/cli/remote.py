"""``quarterdeck kickoff``, ``status``, ``resume``, ``cancel``: a crew behind the HTTP API, here or at CrewAI AMP."""

from __future__ import annotations

import json as json_module
import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from quarterdeck.cli.run import InputPairs, InputsFile, read_inputs
from quarterdeck.errors import ConfigError, RunError

if TYPE_CHECKING:
    from quarterdeck.client import Client, Status

DEFAULT_URL = "http://127.0.0.1:8000"
WAITS = 4
"""The exit code of ``--wait`` when the run has not ended: a person must answer, or ``--timeout`` is over."""

Url = Annotated[
    str | None,
    typer.Option(help=f"The crew's base URL; by default that of QUARTERDECK_URL, else {DEFAULT_URL}."),
]
Token = Annotated[
    str, typer.Option(envvar="QUARTERDECK_TOKEN", help="The bearer token; better given by the environment.")
]
RunId = Annotated[str, typer.Argument(help="The run's id, as kickoff gave it.")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait until the run has ended or a person must answer.")]
Timeout = Annotated[float | None, typer.Option(min=0, help="Seconds that --wait waits at most.")]
Json = Annotated[bool, typer.Option("--json", help="The status as one JSON object.")]


def kickoff(
    url: Url = None,
    token: Token = "",
    pairs: InputPairs = None,
    inputs: InputsFile = None,
    key: Annotated[
        str | None, typer.Option(help="The idempotency key: the same key starts no second run, and tries are repeated.")
    ] = None,
    wait: Wait = False,
    timeout: Timeout = None,
    json: Json = False,
) -> None:
    """Starts a run and prints its id; with --wait, its output."""
    client = client_of(url, token)
    kickoff_id = client.kickoff(read_inputs(pairs or [], inputs), key=key)
    if not wait:
        print(json_module.dumps({"kickoff_id": kickoff_id}) if json else kickoff_id)
        return
    print(f"run {kickoff_id}", file=sys.stderr)
    _wait(client, kickoff_id, timeout, json)


def status(
    run_id: RunId, url: Url = None, token: Token = "", wait: Wait = False, timeout: Timeout = None, json: Json = False
) -> None:
    """Prints a run's status; with --wait, its output once it has ended."""
    client = client_of(url, token)
    if wait:
        _wait(client, run_id, timeout, json)
        return
    found = client.status(run_id)
    if json:
        print(json_module.dumps(found.body, ensure_ascii=False))
    else:
        print(_line(found))
        if found.pending:
            print(f"\n{found.pending.output}\n\n{found.pending.question}")
        elif found.output:
            print(f"\n{found.output}")
    _raise_for(found)


def resume(
    run_id: RunId,
    task: Annotated[str, typer.Argument(help="The task that asks: its status names it.")],
    approve: Annotated[
        bool | None, typer.Option("--approve/--reject", help="Accept its output, or let the task be done again.")
    ] = None,
    feedback: Annotated[str, typer.Option(help="What to do better: alone, it lets the task be done again.")] = "",
    url: Url = None,
    token: Token = "",
) -> None:
    """Answers a question of a run."""
    if approve is None and not feedback.strip():
        raise ConfigError('give --approve, --feedback "what to do better", or --reject')
    print(client_of(url, token).resume(run_id, task, approve=bool(approve), feedback=feedback))


def cancel(run_id: RunId, url: Url = None, token: Token = "", json: Json = False) -> None:
    """Ends a run; what is finished is kept."""
    found = client_of(url, token).cancel(run_id)
    print(json_module.dumps(found.body, ensure_ascii=False) if json else _line(found))


def client_of(url: str | None, token: str) -> Client:
    """The client of a server that options or the environment name."""
    from quarterdeck.client import Client

    return Client(url or os.environ.get("QUARTERDECK_URL") or DEFAULT_URL, token)


def _wait(client: Client, run_id: str, timeout: float | None, json: bool) -> None:
    """Shows the progress on stderr, and the end on stdout."""
    shown = ""

    def show(found: Status) -> None:
        nonlocal shown
        if (line := _line(found)) != shown and not found.ended:
            print(line, file=sys.stderr, flush=True)
            shown = line

    found = client.wait(run_id, timeout=timeout, on_status=show)
    if json:
        print(json_module.dumps(found.body, ensure_ascii=False))
    elif found.output and found.ended:
        print(found.output)
    _raise_for(found)
    if found.ended:
        return
    if found.waits_for_person:
        _show_question(found)
    else:
        print(f"it has not ended within {timeout:g} s: quarterdeck status --wait {run_id}", file=sys.stderr)
    raise typer.Exit(WAITS)


def _show_question(found: Status) -> None:
    task = "TASK"
    if found.pending:
        task = found.pending.task_id
        print(f"\n{found.pending.output}\n\n{found.pending.question}", file=sys.stderr)
    print(f"answer it: quarterdeck resume {found.kickoff_id} {task} --approve, or --feedback TEXT", file=sys.stderr)


def _line(found: Status) -> str:
    """A status in one line."""
    parts = [found.state if found.state != "unknown" else f"unknown: {found.body.get('state')}"]
    if found.total_tasks is not None and not found.ended:
        parts.append(f"{found.completed_tasks or 0} of {found.total_tasks} tasks done")
    if found.current_task and not found.ended:
        parts.append(f"now {found.current_task}")
    if found.pending:
        parts.append(f"task {found.pending.task_id} asks")
    if found.execution_time is not None and found.ended:
        parts.append(f"after {found.execution_time:.1f} s")
    if found.body.get("ended_by"):
        parts.append(f"ended by {found.body['ended_by']}")
    return ", ".join(parts)


def _raise_for(found: Status) -> None:
    """A run that failed fails the command."""
    if found.ended and found.state != "completed":
        raise RunError(f"run {found.kickoff_id} ended as {found.state}{f': {found.error}' if found.error else ''}")
