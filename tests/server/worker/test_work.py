"""The background work of a server, when it fails."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from quarterdeck.project import Registry
from quarterdeck.server.settings import Settings
from quarterdeck.server.store import Store
from quarterdeck.server.work import Work


class Broken(Registry):
    """Crews that cannot be told, for a defect."""

    def versions(self) -> list[tuple[str, str]]:
        raise RuntimeError("a defect")


async def test_a_worker_that_fails_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """In the log, at once; and the server is neither ready nor live any more."""
    store = await Store.open(f"{tmp_path}/runs.db")
    work = Work(store, Broken([]), Settings())
    with caplog.at_level(logging.ERROR, "quarterdeck.server"):
        await work.__aenter__()
        async with asyncio.timeout(10):
            while not work.has_failed:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert await work.not_ready() == "the worker has failed"
        assert any(record.exc_info for record in caplog.records)
    with pytest.raises(RuntimeError, match="a defect"):
        await work.__aexit__(None, None, None)
    await asyncio.to_thread(store.close)


async def test_one_that_drains_has_not_failed(tmp_path: Path) -> None:
    store = await Store.open(f"{tmp_path}/runs.db")
    async with Work(store, Registry([]), Settings()) as work:
        assert (await work.not_ready(), work.has_failed) == (None, False)
    assert (await work.not_ready(), work.has_failed) == ("draining", False)
    await asyncio.to_thread(store.close)
