"""The command ``quarterdeck`` (``qd``)."""

from __future__ import annotations

import sys

import typer

from quarterdeck.cli.demo import demo
from quarterdeck.cli.events import events
from quarterdeck.cli.serve import serve, worker
from quarterdeck.cli.version import version
from quarterdeck.errors import QuarterdeckError, UsageError

app = typer.Typer(
    name="quarterdeck",
    help="Teams of LLM agents that lose no finished step.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for command in (demo, events, serve, worker, version):
    app.command()(command)


def main() -> None:
    """The entry point: an error of ours is one clear line; 2 means that the command was wrong, 1 that it failed."""
    try:
        app()
    except QuarterdeckError as error:
        print(f"quarterdeck: {error}", file=sys.stderr)
        raise SystemExit(2 if isinstance(error, UsageError) else 1) from None
