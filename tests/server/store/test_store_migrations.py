"""The server's tables are made and brought up to date by whoever comes first."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from quarterdeck.errors import ConfigError
from quarterdeck.runtime.journal.database import Target
from quarterdeck.server import migrations
from quarterdeck.server.migrations import HEAD
from quarterdeck.server.store import Schema, Store, check, upgrade

OPEN = """
import asyncio, sys
from quarterdeck.server.store import NewRun, Store
async def main():
    store = await Store.open(sys.argv[1])
    await store.kickoff(NewRun(id=sys.argv[2], tenant="t", crew="c", version="1"))
    store.close()
asyncio.run(main())
"""


def test_upgrade_and_check(journal_url: str) -> None:
    assert check(journal_url) == Schema(None, HEAD)
    assert not check(journal_url).is_current
    assert upgrade(journal_url) == Schema(None, HEAD)
    assert check(journal_url) == Schema(HEAD, HEAD)
    assert check(journal_url).is_current
    assert upgrade(journal_url) == Schema(HEAD, HEAD)


def test_looking_makes_no_file(tmp_path: Path) -> None:
    assert check(str(tmp_path / "sub" / "q.db")) == Schema(None)
    assert list(tmp_path.iterdir()) == []


async def test_opening_makes_the_folder(tmp_path: Path) -> None:
    store = await Store.open(str(tmp_path / "a" / "b" / "q.db"))
    store.close()
    assert (tmp_path / "a" / "b" / "q.db").is_file()


def test_the_newest_step_is_the_head() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    script = ScriptDirectory.from_config(config)
    assert script.get_heads() == [HEAD]
    assert (script.get_base(), [step.revision for step in script.walk_revisions()][-1]) == ("0001", "0001")


def test_processes_start_at_once(journal_url: str) -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", OPEN, journal_url, f"run-{n}"], stderr=subprocess.PIPE)
        for n in range(4)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors.decode()) == (0, "")

    async def count() -> int:
        store = await Store.open(journal_url)
        runs = await store.list_runs("t")
        store.close()
        return len(runs)

    assert asyncio.run(count()) == 4


def test_a_newer_database_is_refused(journal_url: str) -> None:
    upgrade(journal_url)
    database = Target(journal_url).connect()
    database.execute("UPDATE qd_server_schema SET version_num = '9999'")
    database.close()
    with pytest.raises(ConfigError, match="have version 9999, this program knows 0001: upgrade quarterdeck"):
        upgrade(journal_url)
    assert not check(journal_url).is_current


async def test_a_database_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "q.db").mkdir()
    with pytest.raises(ConfigError, match=r"q\.db cannot be opened"):
        await Store.open(str(tmp_path / "q.db"))
    with pytest.raises(ConfigError, match="cannot be opened") as caught:
        await Store.open("postgresql://user:hunter2@127.0.0.1:1/db")
    assert "hunter2" not in str(caught.value)
    with pytest.raises(ConfigError, match="mysql:// is not known"):
        await Store.open("mysql://x/y")
