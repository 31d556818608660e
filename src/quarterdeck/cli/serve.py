"""``quarterdeck serve`` and ``quarterdeck worker``."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

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


def serve(
    targets: Targets,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")] = 8000,
    database: Database = DEFAULT_DATABASE,
    worker: Annotated[bool, typer.Option("--worker/--no-worker", help="Whether this process runs crews too.")] = True,
    concurrency: Concurrency = 100,
    dialect: Annotated[str, typer.Option(help="The status answer's form: documented or runtime.")] = "documented",
    retention_days: Annotated[float | None, typer.Option(min=0, help="Erase ended runs after so many days.")] = None,
    dev: Annotated[bool, typer.Option("--dev", help="Allow webhooks to this machine.")] = False,
) -> None:
    """Serves crews over HTTP: durable, with a worker in the process."""
    _needs_extra()
    from quarterdeck.project import Registry
    from quarterdeck.server.serve import run_server
    from quarterdeck.server.settings import Settings

    settings = Settings(
        database=database,
        token_hash=_token_hash(database),
        dialect=_dialect(dialect),
        worker=worker,
        concurrency=concurrency,
        retention_days=retention_days,
        dev=dev,
    )
    registry = Registry.load(targets)
    _show(registry, settings, host, port)
    asyncio.run(run_server(registry, settings, host, port))


def worker(targets: Targets, database: Database = DEFAULT_DATABASE, concurrency: Concurrency = 100) -> None:
    """Runs crews for servers that use the same database."""
    _needs_extra()
    from quarterdeck.project import Registry
    from quarterdeck.server.serve import run_workers

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    registry = Registry.load(targets)
    print(f"worker for {', '.join(f'{name}@{version}' for name, version in registry.versions())}", flush=True)
    asyncio.run(run_workers(registry, database, concurrency))


def _needs_extra() -> None:
    try:
        import alembic
        import fastapi
        import uvicorn
    except ImportError as error:
        raise ConfigError(f"the server needs {error.name}: pip install 'quarterdeck[server]'") from None
    del alembic, fastapi, uvicorn


def _dialect(name: str) -> Literal["documented", "runtime"]:
    if name not in ("documented", "runtime"):
        raise ConfigError(f"--dialect must be documented or runtime, got {name!r}")
    return name


def _token_hash(database: str) -> str:
    """The token's hash: of ``QUARTERDECK_TOKEN``; else of one that is made at the first start and shown once."""
    from quarterdeck.server.auth import hash_of, new_token

    given = os.environ.get("QUARTERDECK_TOKEN")
    if given:
        return hash_of(given)
    if "://" in database and not database.startswith("sqlite"):
        raise ConfigError("set QUARTERDECK_TOKEN: servers that share a database must know the same token")
    kept = Path(database.removeprefix("sqlite:///")).parent / "token.sha256"
    if kept.is_file():
        print(f"Token: as it was shown at the first start (delete {kept} for a new one, or set QUARTERDECK_TOKEN)")
        return kept.read_text(encoding="ascii").strip()
    token = new_token()
    hashed = hash_of(token)
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(hashed, encoding="ascii")
    print(f"Token: {token}   (shown this once)")
    return hashed


def _show(registry: Registry, settings: Settings, host: str, port: int) -> None:
    base = f"http://{host}:{port}"
    for name, version in registry.versions():
        print(f"Crew {name}@{version}: {base}/crews/{name}")
    print(f"API: {base}/docs   Database: {settings.database.rpartition('@')[2]}", flush=True)
