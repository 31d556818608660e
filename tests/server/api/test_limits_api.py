"""The server's limits reach the runs: their time, the time for an answer, and what happens after it."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from tests.server.api.conftest import TOKEN, Server


async def ended(server: Server, crew: str) -> dict[str, Any]:
    """Kicks off a run; gives its status at the end."""
    base = f"{server.url}/crews/{crew}"
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as session:
        async with session.post(f"{base}/kickoff", json={"inputs": {"topic": "tides"}}) as response:
            run_id = (await response.json())["kickoff_id"]
        async with asyncio.timeout(20):
            while True:
                async with session.get(f"{base}/{run_id}/status") as response:
                    body = await response.json()
                if body["status"] not in ("queued", "running", "pending_human_input"):
                    return body
                await asyncio.sleep(0.05)


@pytest.mark.parametrize("settings", [{"run_seconds": 1e-6}])
async def test_a_run_has_so_much_time(server: Server) -> None:
    body = await ended(server, "writers")
    assert (body["status"], body["ended_by"], body["partial"]) == ("timeout", "max_seconds", True)


@pytest.mark.parametrize("journal_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("settings", "state"),
    [
        ({"question_seconds": 0.05, "question_default": "approve"}, "completed"),
        ({"question_seconds": 0.05, "question_default": "cancel"}, "cancelled"),
        ({"question_seconds": 0.05}, "error"),
    ],
)
async def test_a_question_has_so_much_time(server: Server, state: str) -> None:
    body = await ended(server, "asking")
    assert body["status"] == state
    if state == "completed":
        assert body["result"]["output"] == "about tides"
    else:
        assert "nobody has answered the question of task 'plan' in time" in body["reason"]
