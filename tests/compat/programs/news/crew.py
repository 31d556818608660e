from crewai import Agent, BaseLLM, Crew, Process, Task
from crewai.agents.agent_builder.base_agent import BaseAgent
from crewai.project import CrewBase, after_kickoff, agent, before_kickoff, crew, llm, task, tool
from crewai.tools import tool as make_tool


class Model(BaseLLM):
    def call(self, messages, tools=None, callbacks=None, available_functions=None, **kwargs):
        text = messages[-1]["content"]
        return "[the facts]" if "Research" in text else f"a text from {'facts' if '[the facts]' in text else 'nothing'}"


@make_tool("search")
def search(query: str) -> str:
    """Searches."""
    return query


@CrewBase
class News:
    """News crew"""

    agents: list[BaseAgent]
    tasks: list[Task]
    agents_config = "config/agents.yaml"
    tasks_config = "config/tasks.yaml"

    @before_kickoff
    def prepare(self, inputs):
        inputs["topic"] = inputs["topic"].upper()
        return inputs

    @after_kickoff
    def finish(self, output):
        output.raw = output.raw + "!"
        return output

    @llm
    def model(self):
        return Model(model="mine")

    @tool
    def search(self):
        return search

    @agent
    def reporter(self) -> Agent:
        return Agent(config=self.agents_config["reporter"], verbose=False)

    @task
    def research(self) -> Task:
        return Task(config=self.tasks_config["research"])

    @task
    def write(self) -> Task:
        return Task(config=self.tasks_config["write"])

    @crew
    def crew(self) -> Crew:
        return Crew(agents=self.agents, tasks=self.tasks, process=Process.sequential, verbose=False)


if __name__ == "__main__":
    result = News().crew().kickoff(inputs={"topic": "ai"})
    print(result.raw)
    print([output.name for output in result.tasks_output], result.tasks_output[0].agent.strip())
