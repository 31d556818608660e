"""The journal: an append-only table of a run's events, in SQLite or PostgreSQL, with one writer per process.

    journal = open_journal("runs.db")
    run = await journal.open_run("r1")     # creates the run, or takes it over with the events that it has
    await run.append(event)                # returns when the event is committed

``docs/durability.md`` tells what is stored and what is promised.
"""

from __future__ import annotations

from quarterdeck.runtime.journal.journal import Journal, OpenRun, open_journal
from quarterdeck.runtime.journal.tables import RunRow

__all__ = ["Journal", "OpenRun", "RunRow", "open_journal"]
