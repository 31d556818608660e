"""The server's tables, in steps: Alembic migrations, run at start under a lock.

``HEAD`` is the newest step. The tables of runs and events are the journal's own: ``runtime/journal/tables.py``.
"""

HEAD = "0001"
VERSION_TABLE = "qd_server_schema"
