"""The crew: who does what. The texts are in ``config/``."""

from __future__ import annotations

import os

from pydantic import BaseModel, Field

from quarterdeck import LLM, Agent, BaseLLM, Crew, Process, Task
from quarterdeck.project import CrewBase, agent, crew, llm, task


class Inputs(BaseModel):
    """What a run is given."""

    topic: str = Field("the tides", description="What the report is about.")


def default_model() -> str:
    """QUARTERDECK_MODEL, else OpenAI's where there is a key, else a small model in this process."""
    keyed = "openai/gpt-4o-mini" if os.environ.get("OPENAI_API_KEY") else "local/smollm2"
    return os.environ.get("QUARTERDECK_MODEL") or keyed


@CrewBase
class CrewName:
    """A researcher notes facts about a topic; a writer makes a short report of them."""

    agents: list[Agent]
    tasks: list[Task]

    def __init__(self, model: str | BaseLLM | None = None) -> None:
        self._model = model or default_model()

    @llm
    def model(self) -> BaseLLM:
        return self._model if isinstance(self._model, BaseLLM) else LLM(self._model)

    @agent
    def researcher(self) -> Agent:
        return Agent(config=self.agents_config["researcher"])

    @agent
    def writer(self) -> Agent:
        return Agent(config=self.agents_config["writer"])

    @task
    def research(self) -> Task:
        return Task(config=self.tasks_config["research"])

    @task
    def report(self) -> Task:
        return Task(config=self.tasks_config["report"])

    @crew
    def crew(self) -> Crew:
        return Crew(agents=self.agents, tasks=self.tasks, process=Process.sequential, inputs_model=Inputs)
