from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from quarterdeck.runtime.journal import Journal, open_journal


@pytest.fixture
def journal(journal_url: str) -> Iterator[Journal]:
    journal = open_journal(journal_url)
    yield journal
    journal.close()


@pytest.fixture
def query(journal_url: str) -> Callable[[str], list[tuple[Any, ...]]]:
    """Asks or changes the database behind the journal's back."""

    def on_sqlite(sql: str) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(journal_url, isolation_level=None, timeout=10)
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()

    def on_postgresql(sql: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(journal_url, autocommit=True) as connection:
            cursor = connection.execute(sql.encode())
            return cursor.fetchall() if cursor.description else []

    return on_postgresql if "://" in journal_url else on_sqlite
