import json
from typing import Any

from crewai import Agent, Crew, LLMGuardrail, Task, TaskOutput
from pydantic import BaseModel

from quarterdeck.testing import ScriptedLLM


class Row(BaseModel):
    x: int


def at_most_two_words(result: TaskOutput) -> tuple[bool, Any]:
    if len(result.raw.split()) > 2:
        return (False, "Blog content exceeds 2 words")
    return (True, result.raw.strip())


def upper(result: TaskOutput) -> tuple[bool, Any]:
    return True, result.raw.upper()


def valid_json(result):
    try:
        json.loads(result.raw)
    except json.JSONDecodeError:
        return (False, "Please provide valid JSON")
    return (True, result)


def large(result: TaskOutput):
    return (result.pydantic.x > 1, result if result.pydantic.x > 1 else "too small")


llm = ScriptedLLM(
    [
        *("one two three", "one two"),
        *("no json", '{"a": 1}'),
        *("rude", '{"valid": false, "feedback": "be kind"}', "kind", '{"valid": true, "feedback": null}'),
        *("final", '{"x": 1}', '{"x": 2}'),
    ]
)
agent = Agent(role="Blog Agent", goal="g", backstory="b", llm=llm)
polite = LLMGuardrail(description="Is polite", llm=ScriptedLLM(['{"valid": true}']))
tasks = [
    Task(description="Write", expected_output="x", agent=agent, guardrails=[at_most_two_words, upper]),
    Task(description="JSON", expected_output="x", agent=agent, guardrail=valid_json, guardrail_max_retries=2),
    Task(description="Write", expected_output="x", agent=agent, guardrail="Must be kind"),
    Task(description="Write", expected_output="x", agent=agent, guardrail=polite),
    Task(description="Row", expected_output="x", agent=agent, guardrail=large, output_pydantic=Row),
]
result = Crew(agents=[agent], tasks=tasks).kickoff()
print([output.raw for output in result.tasks_output[:4]], result.pydantic)
agent = Agent(role="r", goal="g", backstory="b", llm=ScriptedLLM(["bad"] * 3))
never = Task(description="d", expected_output="e", agent=agent, guardrail=lambda output: (False, "never"))
never.guardrail_max_retries = 2
try:
    Crew(agents=[agent], tasks=[never]).kickoff()
except Exception as error:
    print("never" in str(error), len(agent.llm.requests))
