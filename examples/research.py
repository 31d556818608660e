"""Two agents: one looks things up, one fills in a form that is checked. Needs OPENAI_API_KEY."""

from typing import Literal

from pydantic import BaseModel

from quarterdeck import Agent, Crew, Task
from quarterdeck.tools import tool

ARCHIVE = {"tides": "High water comes twice a day, about 50 minutes later each day."}


@tool
def lookup(topic: str) -> str:
    """What the archive has about a topic.

    Args:
        topic: One word, such as "tides".
    """
    return ARCHIVE.get(topic.lower(), f"nothing about {topic}; there is {', '.join(ARCHIVE)}")


class Summary(BaseModel):
    title: str
    facts: list[str]
    confidence: Literal["low", "medium", "high"]


researcher = Agent(role="Researcher", goal="Find what is known about {topic}", backstory="Careful.", tools=[lookup])
editor = Agent(role="Editor", goal="Sum it up", backstory="Brief.")
research = Task(
    name="research",
    description="Find out about {topic}. Use lookup.",
    expected_output="A list of facts",
    agent=researcher,
)
summary = Task(
    name="summary",
    description="Sum up what was found about {topic}.",
    expected_output="The form",
    agent=editor,
    output_pydantic=Summary,
    output_file="summary.json",
)
crew = Crew(tasks=[research, summary])

if __name__ == "__main__":
    output = crew.kickoff({"topic": "tides"})
    print(output.pydantic)
    print(f"{output.token_usage.total_tokens} tokens, cost {output.cost_usd}")
