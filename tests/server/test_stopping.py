"""What clients see of a server that is stopped."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import aiohttp

HEADERS = {"Authorization": "Bearer stopping"}
CREW = """
from quarterdeck import Agent, Crew, Task
from quarterdeck.testing import ScriptedLLM

agent = Agent(role="Writer", goal="Write", llm=ScriptedLLM(by=lambda request: "fine"))
crew = Crew(
    tasks=[Task(name="text", description="Write", expected_output="e", agent=agent, human_input=True)]
)
"""


async def test_streams_end_in_order(tmp_path: Path) -> None:
    """A reader of a run that goes on is told what was there, and that the answer has ended; the log has no error."""
    (tmp_path / "crew.py").write_text(CREW)
    command = [sys.executable, "-m", "quarterdeck", "serve", "report@1=crew.py:crew", "--port", "0"]
    environment = {**os.environ, "QUARTERDECK_TOKEN": "stopping"}
    pipe = asyncio.subprocess.PIPE
    server = await asyncio.create_subprocess_exec(*command, cwd=tmp_path, env=environment, stdout=pipe, stderr=pipe)
    try:
        assert server.stdout
        said = ""
        while not said.startswith("Crew "):
            said = (await asyncio.wait_for(server.stdout.readline(), 30)).decode()
            assert said
        url = said.split()[-1]
        async with aiohttp.ClientSession(headers=HEADERS) as http:
            async with http.post(f"{url}/kickoff", json={"inputs": {}}) as response:
                run_id = (await response.json())["kickoff_id"]
            async with asyncio.timeout(30), http.get(f"{url}/{run_id}/events") as stream:
                types = [json.loads(line[6:])["type"] async for line in _until_waiting(stream)]
                server.terminate()
                rest = await stream.content.read()  # to the end of the answer: it is not broken off
        assert types[-1] == "run.finished"
        assert b"event: end" not in rest
        _, errors = await asyncio.wait_for(server.communicate(), 30)
        assert errors == b""
    finally:
        if server.returncode is None:
            server.kill()
            await server.communicate()


async def _until_waiting(stream: aiohttp.ClientResponse) -> AsyncGenerator[bytes]:
    async for line in stream.content:
        if line.startswith(b"data: "):
            yield line
            if b'"pending_human_input"' in line:
                return
