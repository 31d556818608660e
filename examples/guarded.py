"""An output that is checked before it is accepted: its form, its words, and whether its sources bear it out.

python examples/guarded.py
"""

from typing import Any

from pydantic import BaseModel, Field

from quarterdeck import Agent, ConditionalTask, Crew, HallucinationGuardrail, Task, TaskOutput
from quarterdeck.tools import tool


class Depths(BaseModel):
    """What is known of a harbour."""

    harbour: str
    depths_m: list[float] = Field(min_length=1)
    remark: str | None = None


@tool
def depth(harbour: str) -> str:
    """The depth of a harbour."""
    return f"{harbour}: 14.5 m at the north quay, 9 m at the south quay"


def short(output: TaskOutput) -> tuple[bool, Any]:
    """A guardrail that needs no model."""
    return (True, output) if len(output.raw) < 200 else (False, "at most 200 characters")


surveyor = Agent(role="Surveyor", goal="Know every depth", tools=[depth])
survey = Task(
    name="survey",
    description="Find out how deep {harbour} is.",
    expected_output="All depths",
    agent=surveyor,
    output_pydantic=Depths,
    guardrail=HallucinationGuardrail(),
)
warning = ConditionalTask(
    name="warning",
    description="Warn big ships of {harbour}.",
    expected_output="One sentence",
    agent=surveyor,
    tools=[],
    condition=lambda output: min(output.pydantic.depths_m) < 10,
    guardrails=[short, "It names the harbour"],
)

if __name__ == "__main__":
    output = Crew(tasks=[survey, warning]).kickoff({"harbour": "Bergen"})
    print(output.raw)
    for receipt in output.tool_receipts:
        print(receipt)
