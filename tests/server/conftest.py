from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from quarterdeck.runtime.journal import Journal
from quarterdeck.runtime.journal.database import Target
from quarterdeck.server.store import NewRun, Store, WakeUps

VERSION = ("report", "1")


@pytest.fixture
async def store(journal_url: str) -> AsyncIterator[Store]:
    store = await Store.open(journal_url)
    yield store
    await asyncio.to_thread(store.close)


@pytest.fixture
async def other(store: Store, journal_url: str) -> AsyncIterator[Store]:
    """The same database with connections and a writer of its own, as another process has."""
    journal = Journal(Target(journal_url))
    wake = WakeUps(journal)
    journal.announce_to(wake)
    other = Store(journal, wake)
    yield other
    await asyncio.to_thread(other.close)


@pytest.fixture
def new() -> Callable[..., NewRun]:
    """A kickoff; what is given replaces the defaults."""

    def make(**fields: Any) -> NewRun:
        return NewRun(**{"id": str(uuid.uuid4()), "tenant": "acme", "crew": "report", "version": "1"} | fields)

    return make


@pytest.fixture
def settings() -> dict[str, Any]:
    """What an API server is told besides; a test module may have its own."""
    return {}
