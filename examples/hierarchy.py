"""A manager that hands a task to two agents, and what each of them did. Needs OPENAI_API_KEY."""

from quarterdeck import Agent, Crew, Process, Task
from quarterdeck.events import LLMFinished
from quarterdeck.tools import tool

TABLE = {"Bergen": "14.5 m", "Oslo": "11 m"}


@tool
def depth(harbour: str) -> str:
    """The depth of a harbour.

    Args:
        harbour: The harbour's name.
    """
    return TABLE.get(harbour, f"unknown; there is {', '.join(TABLE)}")


surveyor = Agent(role="Surveyor", goal="Know the depth of every harbour", tools=[depth])
pilot = Agent(role="Pilot", goal="Say whether a ship can call at a harbour of a given depth")
task = Task(
    name="call",
    description="Can a ship with a draught of {draught} m call at {harbour}?",
    expected_output="Yes or no, and why",
)
crew = Crew(
    agents=[surveyor, pilot],
    tasks=[task],
    process=Process.hierarchical,
    manager_llm="gpt-4o-mini",
    max_delegations=6,
)


def show(event):
    if isinstance(event, LLMFinished):
        print(f"{event.path}: {event.agent}: {event.text or 'calls a tool'}")


if __name__ == "__main__":
    print(crew.kickoff({"harbour": "Bergen", "draught": 12}, on_event=show))
