"""Pydantic AI: three Agents called in order by plain code."""

from __future__ import annotations

from typing import Any

from . import BACKSTORY, KEY, MODEL, TASKS, lookup_text

IMPORTS = (
    "from pydantic_ai import Agent\nfrom pydantic_ai.models.openai import OpenAIChatModel\n"
    "from pydantic_ai.providers.openai import OpenAIProvider"
)
DISTRIBUTIONS = ["pydantic-ai-slim[openai]"]


def lookup(query: str) -> str:
    """Look up a record."""
    return lookup_text(query)


def setup(url: str) -> None:
    global Agent, model, agents
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    model = OpenAIChatModel(MODEL, provider=OpenAIProvider(base_url=url, api_key=KEY))
    agents = [agent(role, goal) for role, goal, _, _ in TASKS]


def agent(role: str, goal: str) -> Any:
    return Agent(model, instructions=f"You are {role}. Your goal: {goal}. {BACKSTORY}", tools=[lookup], name=role)


def build_one() -> Any:
    return agent(*TASKS[0][:2])


async def run_async(topic: str) -> str:
    context = ""
    for (_, _, description, expected), worker in zip(TASKS, agents, strict=True):
        text = f"{description.format(topic=topic)}\nExpected output: {expected}"
        context = (await worker.run(f"{text}\nContext:\n{context}" if context else text)).output
    return context
