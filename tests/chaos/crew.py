"""The crew of the chaos test: three agents, six calls to the model at ``CHAOS_MODEL``, three tools."""

from __future__ import annotations

import itertools
import os

from quarterdeck import LLM, Agent, Crew, Task
from quarterdeck.tools import tool


@tool
async def lookup(topic: str) -> str:
    """Looks a topic up.

    Args:
        topic: What is looked for.
    """
    return f"fact about {topic}"


llm = LLM("openai/gpt-4o-mini", base_url=os.environ["CHAOS_MODEL"], api_key="none")
tasks = [
    Task(
        name=name,
        description=f"As step {name}: use the tool once for [{{topic}}].",
        expected_output="one line",
        agent=Agent(role=name, goal="be exact", backstory="An experienced specialist.", llm=llm, tools=[lookup]),
    )
    for name in ("first", "second", "third")
]
for before, task in itertools.pairwise(tasks):
    task.context = [before]
crew = Crew(name="report", tasks=tasks)
