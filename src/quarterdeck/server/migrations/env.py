"""Alembic's entry: runs the steps on the connection that ``store/migrate.py`` has opened and locked."""

from __future__ import annotations

from alembic import context

from quarterdeck.server.migrations import VERSION_TABLE

context.configure(connection=context.config.attributes["connection"], version_table=VERSION_TABLE)
context.run_migrations()
