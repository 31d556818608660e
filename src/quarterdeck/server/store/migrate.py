"""Brings the server's tables up to date, under a lock: several processes may start at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from quarterdeck.errors import ConfigError
from quarterdeck.runtime.journal.database import BUSY_SECONDS, Database, Target
from quarterdeck.server import migrations
from quarterdeck.server.migrations import HEAD, VERSION_TABLE

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine


@dataclass(frozen=True, slots=True)
class Schema:
    """Which version of the tables a database has.

    Args:
        current: Its version; None where there are no tables.
        head: The version that this program needs.
    """

    current: str | None
    head: str = HEAD

    @property
    def is_current(self) -> bool:
        """Whether nothing is to be done."""
        return self.current == self.head


def check(database: str) -> Schema:
    """Which version of the server's tables a database has.

    Args:
        database: A path, ``sqlite:///path`` or ``postgresql://user@host/database``.

    Raises:
        ConfigError: It is none of these, or cannot be opened.
    """
    target = Target(database)
    if "://" not in target.key and not Path(target.key).exists():
        return Schema(None)  # looking must not make the file
    connection = _connect(target)
    try:
        return Schema(version_of(connection))
    finally:
        connection.close()


def upgrade(database: str) -> Schema:
    """Makes the server's tables, or brings them up to date; returns the version that they had before.

    Args:
        database: A path, ``sqlite:///path`` or ``postgresql://user@host/database``.

    Raises:
        ConfigError: It is none of these, cannot be opened, or was made by a newer version.
    """
    target = Target(database)
    if "://" not in target.key:
        Path(target.key).parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # inputs and outputs are nobody else's
    connection = _connect(target)
    try:
        found = version_of(connection)
    finally:
        connection.close()
    if found is not None and found > HEAD:
        raise ConfigError(
            f"database {target.shown}: its tables have version {found}, this program knows {HEAD}: upgrade quarterdeck"
        )
    if found != HEAD:  # else Alembic need not be loaded
        _migrate(target)
    return Schema(found)


def version_of(connection: Database) -> str | None:
    """The version that the tables have; None where there are none."""
    if not connection.execute(connection.find_table, (VERSION_TABLE,)):
        return None
    rows = connection.execute(f"SELECT version_num FROM {VERSION_TABLE}")
    return str(rows[0][0]) if rows else None


def _connect(target: Target) -> Database:
    try:
        return target.connect()
    except ConfigError:
        raise
    except Exception as error:  # of either driver
        raise ConfigError(f"database {target.shown} cannot be opened: {type(error).__name__}: {error}") from None


def _migrate(target: Target) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent).replace("%", "%%"))
    engine = _engine(target)
    try:
        with engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(3907172904106)")
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    finally:
        engine.dispose()


def _engine(target: Target) -> Engine:
    from sqlalchemy import create_engine, event
    from sqlalchemy.pool import NullPool

    if "://" in target.key:
        import psycopg

        return create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(target.key), poolclass=NullPool)
    import sqlite3

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(target.key, timeout=BUSY_SECONDS, isolation_level=None)

    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool)

    def begin(connection: Connection) -> None:  # the lock: whoever comes second finds everything done
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    event.listen(engine, "begin", begin)
    return engine
