"""Two server processes on one PostgreSQL database: a key starts one run, whichever server is asked, and when."""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

TOKEN = "two-servers"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
CREW = """
from quarterdeck import Agent, Crew, Task
from quarterdeck.testing import ScriptedLLM

agent = Agent(role="Writer", goal="Write", llm=ScriptedLLM(by=lambda request: "fine"))
crew = Crew(tasks=[Task(name="text", description="Write about {topic}", expected_output="e", agent=agent)])
"""


@pytest.fixture
async def servers(postgres_url: str, tmp_path: Path) -> AsyncIterator[list[str]]:
    """The base URLs of two servers that were started at the same moment, on an empty database."""
    (tmp_path / "crew.py").write_text(CREW)
    command = [sys.executable, "-m", "quarterdeck", "serve", "report@1=crew.py:crew"]
    command += ["--no-worker", "--port", "0", "--database", postgres_url]
    environment = {**os.environ, "QUARTERDECK_TOKEN": TOKEN}
    processes: list[asyncio.subprocess.Process] = []
    try:
        for _ in range(2):
            processes.append(
                await asyncio.create_subprocess_exec(
                    *command, cwd=tmp_path, env=environment, stdout=asyncio.subprocess.PIPE
                )
            )
        yield [await _url_of(process) for process in processes]
    finally:
        for process in processes:
            process.terminate()
            await process.communicate()


async def _url_of(process: asyncio.subprocess.Process) -> str:
    assert process.stdout
    while line := (await process.stdout.readline()).decode():
        if line.startswith("Crew report@1: "):
            return line.split()[-1]
    raise AssertionError("the server has ended")


async def kickoff(http: aiohttp.ClientSession, url: str, topic: str, key: str, by_header: bool) -> tuple[int, Any]:
    body: dict[str, Any] = {"inputs": {"topic": topic}}
    headers = dict(HEADERS)
    if by_header:
        headers["Idempotency-Key"] = key
    else:
        body["meta"] = {"requestId": key}
    async with http.post(f"{url}/kickoff", json=body, headers=headers) as response:
        return response.status, await response.json()


async def runs(http: aiohttp.ClientSession, url: str, key: str) -> list[str]:
    async with http.get(f"{url}/kickoffs", params={"requestId": key}, headers=HEADERS) as response:
        return [run["kickoff_id"] for run in (await response.json())["kickoffs"]]


async def test_a_key_is_one_run(servers: list[str]) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        await _two_hundred_with_one_payload(http, servers)
        await _of_two_payloads_one_wins(http, servers)


async def _two_hundred_with_one_payload(http: aiohttp.ClientSession, servers: list[str]) -> None:
    asked = [kickoff(http, servers[n % 2], "tides", "order-7", n % 4 < 2) for n in range(200)]
    answers = await asyncio.gather(*asked)
    assert {status for status, _ in answers} == {200}
    (kickoff_id,) = {body["kickoff_id"] for _, body in answers}
    for url in servers:
        assert await runs(http, url, "order-7") == [kickoff_id]
        status, body = await kickoff(http, url, "other", "order-7", True)
        assert (status, body["error"]) == (409, "Conflict")
        assert kickoff_id in body["message"]
        assert (await kickoff(http, url, "tides", "order-7", False))[1] == {"kickoff_id": kickoff_id}
    async with http.get(f"{servers[0]}/kickoffs", headers=HEADERS) as response:
        assert len((await response.json())["kickoffs"]) == 1


async def _of_two_payloads_one_wins(http: aiohttp.ClientSession, servers: list[str]) -> None:
    topics = [("tides", "moon")[n // 2 % 2] for n in range(100)]  # both at both servers
    asked = [kickoff(http, servers[n % 2], topic, "order-8", True) for n, topic in enumerate(topics)]
    answers = await asyncio.gather(*asked)
    winners = {topic for topic, (status, _) in zip(topics, answers, strict=True) if status == 200}
    assert len(winners) == 1
    assert Counter(status for status, _ in answers) == {200: 50, 409: 50}
    assert len({body["kickoff_id"] for status, body in answers if status == 200}) == 1
    assert len(await runs(http, servers[1], "order-8")) == 1
