"""The command ``quarterdeck`` (``qd``).

Its exit codes: 0 done; 1 a run failed; 2 the command is wrong, or a server has refused it; 3 a server gave no answer,
or failed; 4 ``--wait`` waits no longer, and the run has not ended.
"""

from __future__ import annotations

import sys

import typer

from quarterdeck.cli.db import db
from quarterdeck.cli.demo import demo
from quarterdeck.cli.evaluate import chat, score, train
from quarterdeck.cli.events import events
from quarterdeck.cli.migrate import migrate
from quarterdeck.cli.new import new
from quarterdeck.cli.plot import plot
from quarterdeck.cli.remote import cancel, kickoff, resume, status
from quarterdeck.cli.replay import replay
from quarterdeck.cli.run import run
from quarterdeck.cli.serve import serve, worker
from quarterdeck.cli.version import version
from quarterdeck.errors import APIError, QuarterdeckError, UsageError

app = typer.Typer(
    name="quarterdeck",
    help="Teams of LLM agents that lose no finished step.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
LOCAL = (demo, new, run, train, chat, replay, plot, migrate, version)
SERVER = (serve, worker, kickoff, status, resume, cancel, events)
for command in (*LOCAL, *SERVER):
    app.command()(command)
app.command("test")(score)
app.add_typer(db)


def main() -> None:
    """The entry point: an error of ours is one clear line."""
    try:
        app()
    except QuarterdeckError as error:
        print(f"quarterdeck: {error}", file=sys.stderr)
        raise SystemExit(_exit_code(error)) from None


def _exit_code(error: QuarterdeckError) -> int:
    if isinstance(error, APIError):
        return 3 if error.retryable else 2
    return 2 if isinstance(error, UsageError) else 1
