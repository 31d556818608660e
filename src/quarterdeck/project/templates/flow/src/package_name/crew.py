"""The crew that the flow asks for a report. The texts are in ``config/``."""

from __future__ import annotations

import os

from quarterdeck import LLM, Agent, BaseLLM, Crew, Task
from quarterdeck.project import CrewBase, agent, crew, llm, task


def default_model() -> BaseLLM:
    """QUARTERDECK_MODEL, else OpenAI's where there is a key, else a small model in this process."""
    keyed = "openai/gpt-4o-mini" if os.environ.get("OPENAI_API_KEY") else "local/smollm2"
    return LLM(os.environ.get("QUARTERDECK_MODEL") or keyed)


@CrewBase
class ReportCrew:
    """A researcher notes facts about a topic; a writer makes a short report of them."""

    agents: list[Agent]
    tasks: list[Task]

    def __init__(self, model: BaseLLM) -> None:
        self._model = model

    @llm
    def model(self) -> BaseLLM:
        return self._model

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
        return Crew(agents=self.agents, tasks=self.tasks)
