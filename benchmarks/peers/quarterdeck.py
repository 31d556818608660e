"""Quarterdeck in memory: one Crew object for all runs, ``kickoff`` and ``akickoff``."""

from __future__ import annotations

import itertools
from typing import Any

from . import BACKSTORY, KEY, MODEL, TASKS, lookup_text

IMPORTS = "from quarterdeck import Agent, Crew, LLM, Process, Task\nfrom quarterdeck.tools import tool"
DISTRIBUTIONS = ["quarterdeck"]

options: dict[str, Any] = {}
"""Of kickoff; other peers use this module with a journal."""


def setup(url: str) -> None:
    global Agent, Task, lookup, llm, crew
    from quarterdeck import LLM, Agent, Crew, Process, Task
    from quarterdeck.tools import tool

    llm = LLM(f"openai/{MODEL}", base_url=url, api_key=KEY)

    @tool("lookup")
    def lookup(query: str) -> str:
        """Look up a record."""
        return lookup_text(query)

    pairs = [agent_and_task(*texts) for texts in TASKS]
    for (_, before), (_, task) in itertools.pairwise(pairs):
        task.context = [before]
    crew = Crew(agents=[a for a, _ in pairs], tasks=[t for _, t in pairs], process=Process.sequential)


def agent_and_task(role: str, goal: str, description: str, expected: str) -> tuple[Any, Any]:
    agent = Agent(role=role, goal=goal, backstory=BACKSTORY, llm=llm, tools=[lookup])
    return agent, Task(description=description, expected_output=expected, agent=agent)


def build_one() -> Any:
    return agent_and_task(*TASKS[0])


def run_sync(topic: str) -> str:
    return crew.kickoff(inputs={"topic": topic}, **options).raw


async def run_async(topic: str) -> str:
    return (await crew.akickoff(inputs={"topic": topic}, **options)).raw
