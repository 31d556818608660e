"""A run whose tools failed: completed for AMP's clients, with ``issues`` for those who look."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
from tests.server.api.conftest import TOKEN, serving

from quarterdeck import Agent, Crew, Task
from quarterdeck.project import Entry
from quarterdeck.testing import ScriptedLLM, call
from quarterdeck.tools import ToolFailure, tool


@tool
def gauge(harbour: str) -> ToolFailure:
    """The depth of a harbour."""
    return ToolFailure("the gauge is down")


async def test_failed_tools_are_issues_of_a_completed_run(tmp_path: Path) -> None:
    agent = Agent(role="R", goal="g", llm=ScriptedLLM([call("gauge", harbour="Oslo"), "x"]), tools=[gauge])
    crew = Crew(name="sounding", tasks=[Task(name="survey", description="d", expected_output="e", agent=agent)])
    with serving(str(tmp_path / "runs.db"), [Entry("sounding", "1", crew)]) as server:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with aiohttp.ClientSession(f"{server.url}/crews/sounding/", headers=headers) as session:
            async with session.post("kickoff", json={"inputs": {}}) as response:
                run_id = (await response.json())["kickoff_id"]
            async with asyncio.timeout(30):
                while True:
                    async with session.get(f"status/{run_id}") as response:
                        body = await response.json()
                    if body["status"] not in ("queued", "running"):
                        break
                    await asyncio.sleep(0.02)
    assert (body["status"], body["state"]) == ("completed", "SUCCESS")
    assert body["issues"] == ["survey: gauge failed (tool_reported): the gauge is down [survey/1/tool/1]"]
    assert "partial" not in body
