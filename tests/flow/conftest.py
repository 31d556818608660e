from __future__ import annotations

from collections.abc import Iterator

import pytest

from quarterdeck.runtime.journal import Journal, open_journal


@pytest.fixture
def journal(journal_url: str) -> Iterator[Journal]:
    """An empty journal, on SQLite and then on PostgreSQL."""
    journal = open_journal(journal_url)
    yield journal
    journal.close()
