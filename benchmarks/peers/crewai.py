"""CrewAI, quiet and without its tool cache. A crew holds the state of its run: a new one for each concurrent run."""

from __future__ import annotations

from typing import Any

from . import BACKSTORY, KEY, MODEL, TASKS, lookup_text

IMPORTS = "from crewai import Agent, Task, Crew, Process, LLM\nfrom crewai.tools import tool"
DISTRIBUTIONS = ["crewai"]


def setup(url: str) -> None:
    global Agent, Crew, Process, Task, llm, lookup, crew
    from crewai import LLM, Agent, Crew, Process, Task
    from crewai.tools import tool

    llm = LLM(model=f"openai/{MODEL}", base_url=url, api_key=KEY)

    @tool("lookup")
    def lookup(query: str) -> str:
        """Look up a record."""
        return lookup_text(query)

    crew = build_crew()


def agent_and_task(role: str, goal: str, description: str, expected: str, context: Any = None) -> tuple[Any, Any]:
    agent = Agent(
        role=role, goal=goal, backstory=BACKSTORY, llm=llm, tools=[lookup], verbose=False, allow_delegation=False
    )
    return agent, Task(description=description, expected_output=expected, agent=agent, context=context)


def build_one() -> Any:
    return agent_and_task(*TASKS[0])


def build_crew() -> Any:
    agents: list[Any] = []
    tasks: list[Any] = []
    for texts in TASKS:
        agent, task = agent_and_task(*texts, context=tasks[-1:] or None)
        agents.append(agent)
        tasks.append(task)
    return Crew(agents=agents, tasks=tasks, process=Process.sequential, verbose=False, cache=False)


def run_sync(topic: str) -> str:
    return crew.kickoff(inputs={"topic": topic}).raw


async def run_async(topic: str) -> str:
    return (await build_crew().akickoff(inputs={"topic": topic})).raw
