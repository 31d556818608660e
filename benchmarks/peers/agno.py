"""Agno: a Workflow of three Agent steps."""

from __future__ import annotations

from typing import Any

from . import KEY, MODEL, TASKS, lookup_text

IMPORTS = (
    "from agno.agent import Agent\nfrom agno.models.openai import OpenAIChat\nfrom agno.workflow import Workflow, Step"
)
DISTRIBUTIONS = ["agno", "openai"]


def lookup(query: str) -> str:
    """Look up a record."""
    return lookup_text(query)


def setup(url: str) -> None:
    global Agent, model, flow
    from agno.agent import Agent
    from agno.models.openai import OpenAIChat
    from agno.workflow import Step, Workflow

    model = OpenAIChat(id=MODEL, base_url=url, api_key=KEY)
    flow = Workflow(name="bench", steps=[Step(name=t[0], agent=agent(*t)) for t in TASKS], telemetry=False)


def agent(role: str, goal: str, description: str, expected: str) -> Any:
    instructions = f"You are {role}. Your goal: {goal}. {description.format(topic='the topic')} {expected}."
    return Agent(name=role, model=model, tools=[lookup], telemetry=False, instructions=instructions)


def build_one() -> Any:
    return agent(*TASKS[0])


def run_sync(topic: str) -> str:
    return flow.run(input=f"Topic: {topic}").content


async def run_async(topic: str) -> str:
    return (await flow.arun(input=f"Topic: {topic}")).content
