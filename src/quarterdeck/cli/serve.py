"""``quarterdeck serve`` and ``quarterdeck worker``."""

from __future__ import annotations

import asyncio
import logging
import math
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from quarterdeck.cli.credentials import token_hash, webhook_secret
from quarterdeck.errors import ConfigError

if TYPE_CHECKING:
    from quarterdeck.project import Registry
    from quarterdeck.server.settings import Settings

DEFAULT_DATABASE = ".quarterdeck/quarterdeck.db"

Targets = Annotated[
    list[str],
    typer.Argument(help="module:attr, file.py:attr, a quarterdeck.toml or a folder with one; NAME@VERSION=… names it."),
]
Database = Annotated[str, typer.Option(envvar="QUARTERDECK_DATABASE", help="A SQLite file, or a postgresql:// URL.")]
Concurrency = Annotated[int, typer.Option(min=1, help="Runs at once in this process.")]
Dev = Annotated[bool, typer.Option("--dev", help="Allow webhooks to this machine, and to private addresses.")]


def serve(
    targets: Targets,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, envvar="QUARTERDECK_PORT", help="The port; 0 takes a free one.")
    ] = 8000,
    database: Database = DEFAULT_DATABASE,
    worker: Annotated[bool, typer.Option("--worker/--no-worker", help="Whether this process runs crews too.")] = True,
    concurrency: Concurrency = 100,
    dialect: Annotated[str, typer.Option(help="The status answer's form: documented or runtime.")] = "documented",
    retention_days: Annotated[float | None, typer.Option(min=0, help="Erase ended runs after so many days.")] = None,
    run_seconds: Annotated[float | None, typer.Option(help="End a run after so many seconds of work.")] = None,
    question_seconds: Annotated[float | None, typer.Option(help="Seconds that a person has for an answer.")] = None,
    question_default: Annotated[
        Literal["approve", "error", "cancel"], typer.Option(help="What becomes of a run without an answer in time.")
    ] = "error",
    dev: Dev = False,
) -> None:
    """Serves crews over HTTP: durable, with a worker in the process."""
    needs_server()
    from quarterdeck.project import Registry
    from quarterdeck.project.folder import load_env_of
    from quarterdeck.server.serve import bound, run_server
    from quarterdeck.server.settings import Settings

    load_env_of(targets)
    registry = Registry.load(targets)
    settings = Settings(
        database=database,
        token_hash=token_hash(database),
        dialect=_dialect(dialect),
        worker=worker,
        concurrency=concurrency,
        retention_days=retention_days,
        run_seconds=_seconds("--run-seconds", run_seconds),
        question_seconds=_seconds("--question-seconds", question_seconds),
        question_default=question_default,
        dev=dev,
        webhook_secret=webhook_secret(database),
    )
    listener = bound(host, port)
    _show(registry, settings, host, listener.getsockname()[1])
    asyncio.run(run_server(registry, settings, listener))


def worker(
    targets: Targets, database: Database = DEFAULT_DATABASE, concurrency: Concurrency = 100, dev: Dev = False
) -> None:
    """Runs crews for servers that use the same database, and sends their webhooks."""
    needs_server()
    from quarterdeck.project import Registry
    from quarterdeck.project.folder import load_env_of
    from quarterdeck.server.serve import run_workers
    from quarterdeck.server.settings import Settings

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    load_env_of(targets)
    registry = Registry.load(targets)
    print(f"worker for {', '.join(f'{name}@{version}' for name, version in registry.versions())}", flush=True)
    settings = Settings(database=database, concurrency=concurrency, dev=dev, webhook_secret=webhook_secret(database))
    asyncio.run(run_workers(registry, settings))


def needs_server() -> None:
    """Fails clearly where the extra `server` is not installed."""
    try:
        import alembic
        import fastapi
        import standardwebhooks
        import uvicorn
    except ImportError as error:
        raise ConfigError(f"the server needs {error.name}: pip install 'quarterdeck[server]'") from None
    del alembic, fastapi, standardwebhooks, uvicorn


def _dialect(name: str) -> Literal["documented", "runtime"]:
    if name not in ("documented", "runtime"):
        raise ConfigError(f"--dialect must be documented or runtime, got {name!r}")
    return name


def _seconds(option: str, value: float | None) -> float | None:
    if value is not None and not (value > 0 and math.isfinite(value)):
        raise ConfigError(f"{option} must be a number of seconds above 0, got {value:g}")
    return value


def _show(registry: Registry, settings: Settings, host: str, port: int) -> None:
    from quarterdeck.runtime.journal.database import Target

    base = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    for name, version in registry.versions():
        current = registry.get(name)
        pinned = "" if current and current.version == version else f"@{version}"
        print(f"Crew {name}@{version}: {base}/crews/{name}{pinned}")
    print(f"API: {base}/docs   Database: {Target(settings.database).shown}", flush=True)
