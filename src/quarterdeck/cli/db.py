"""``quarterdeck db``: the tables of a server's database."""

from __future__ import annotations

import typer

from quarterdeck.cli.serve import DEFAULT_DATABASE, Database, needs_server

db = typer.Typer(name="db", help="The tables of a server's database.", no_args_is_help=True)


@db.command()
def upgrade(database: Database = DEFAULT_DATABASE) -> None:
    """Makes the tables, or brings them up to date. A server does that too when it starts."""
    needs_server()
    from quarterdeck.server.store import upgrade

    before = upgrade(database)
    was = "made" if before.current is None else f"brought from version {before.current}"
    print(f"up to date at version {before.head}" if before.is_current else f"{was} to version {before.head}")


@db.command()
def check(database: Database = DEFAULT_DATABASE) -> None:
    """Says whether the tables are up to date, and changes nothing; 1 means that they are not."""
    needs_server()
    from quarterdeck.server.store import check

    found = check(database)
    if found.is_current:
        print(f"up to date at version {found.head}")
        return
    has = "has no tables" if found.current is None else f"has tables of version {found.current}"
    newer = found.current is not None and found.current > found.head
    do = "upgrade quarterdeck" if newer else "run quarterdeck db upgrade, or start a server"
    print(f"the database {has}, this program needs version {found.head}: {do}")
    raise typer.Exit(1)
