from crewai import Agent, BaseLLM, Crew, Process, Task


class Manager(BaseLLM):
    def call(self, messages, tools=None, callbacks=None, available_functions=None, **kwargs):
        return "Thought: done\nFinal Answer: managed"


class Worker(BaseLLM):
    def call(self, messages, tools=None, callbacks=None, available_functions=None, **kwargs):
        return "worked"


researcher = Agent(role="Researcher", goal="g", backstory="b", llm=Worker(model="w"))
writer = Agent(role="Writer", goal="g", backstory="b", llm=Worker(model="w"), allow_delegation=False)
crew = Crew(
    agents=[researcher, writer],
    tasks=[Task(description="Write about {topic}", expected_output="a text")],
    process=Process.hierarchical,
    manager_llm=Manager(model="m"),
)
result = crew.kickoff(inputs={"topic": "ai"})
print(result.raw)
