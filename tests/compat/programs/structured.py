from typing import Any, ClassVar

from crewai import Agent, BaseLLM, Crew, Task, TaskOutput
from crewai.tasks.conditional_task import ConditionalTask
from crewai.tools import BaseTool
from pydantic import BaseModel, Field


class City(BaseModel):
    name: str
    people: int


class Model(BaseLLM):
    answers: ClassVar = ['{"name": "Oslo", "people": "many"}', '{"name": "Oslo", "people": 709000}', "extra", "final"]

    def call(self, messages, tools=None, callbacks=None, available_functions=None, **kwargs):
        return Model.answers.pop(0)


class CountInput(BaseModel):
    city: str = Field(..., description="The city")


class Count(BaseTool):
    name: str = "Count people"
    description: str = "Counts people"
    args_schema: type[BaseModel] = CountInput

    def _run(self, city: str) -> str:
        return "709000"


def positive(output: TaskOutput) -> tuple[bool, Any]:
    return (output.pydantic.people > 0, output)


def is_large(output: TaskOutput) -> bool:
    return output.pydantic.people > 1_000_000


agent = Agent(role="r", goal="g", backstory="b", llm=Model(model="mine"))
tasks = [
    Task(description="Find", expected_output="city", agent=agent, output_pydantic=City, guardrail=positive),
    ConditionalTask(description="More", expected_output="x", agent=agent, condition=is_large),
    Task(description="Write", expected_output="x", agent=agent, callback=lambda output: print("done:", output.raw)),
]
result = Crew(agents=[agent], tasks=tasks).kickoff()
print(result.tasks_output[0].pydantic, repr(result.tasks_output[1].raw), result.raw)
print(result.token_usage.successful_requests, Count().run(city="Oslo"))
