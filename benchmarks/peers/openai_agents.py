"""OpenAI Agents SDK: three Agents called in order with Runner.run."""

from __future__ import annotations

from typing import Any

from . import BACKSTORY, KEY, MODEL, TASKS, lookup_text

IMPORTS = "from agents import Agent, Runner, OpenAIChatCompletionsModel, function_tool\nfrom openai import AsyncOpenAI"
DISTRIBUTIONS = ["openai-agents"]


def setup(url: str) -> None:
    global Agent, Runner, model, lookup, agents
    from agents import Agent, OpenAIChatCompletionsModel, Runner, function_tool, set_tracing_disabled
    from openai import AsyncOpenAI

    set_tracing_disabled(True)
    model = OpenAIChatCompletionsModel(MODEL, AsyncOpenAI(base_url=url, api_key=KEY))

    @function_tool
    def lookup(query: str) -> str:
        """Look up a record."""
        return lookup_text(query)

    agents = [agent(role, goal) for role, goal, _, _ in TASKS]


def agent(role: str, goal: str) -> Any:
    instructions = f"You are {role}. Your goal: {goal}. {BACKSTORY}"
    return Agent(name=role, instructions=instructions, model=model, tools=[lookup])


def build_one() -> Any:
    return agent(*TASKS[0][:2])


async def run_async(topic: str) -> str:
    context = ""
    for (_, _, description, expected), worker in zip(TASKS, agents, strict=True):
        text = f"{description.format(topic=topic)}\nExpected output: {expected}"
        question = f"{text}\nContext:\n{context}" if context else text
        context = (await Runner.run(worker, question)).final_output
    return context
