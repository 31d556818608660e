from crewai import Agent, Crew, Process, Task
from crewai.tasks.conditional_task import ConditionalTask

from quarterdeck.testing import ScriptedLLM

researcher = Agent(role="Researcher", goal="g", backstory="b", llm=ScriptedLLM(["facts"]))
writer = Agent(role="Writer", goal="g", backstory="b", llm=ScriptedLLM(["a text", "two cats"]))
manager = Agent(
    role="Project Manager",
    goal="Manage",
    backstory="b",
    allow_delegation=True,
    llm=ScriptedLLM(
        [
            'Action: Delegate work to coworker\nAction Input: {"task": "find", "coworker": "Researcher"}',
            'Action: Delegate work to coworker\nAction Input: {"task": "write", "context": "c", "coworker": "Writer"}',
            'Action: Ask question to coworker\nAction Input: {"question": "how many?", "coworker": "Writer"}',
            "Final Answer: a text about two cats",
            "Final Answer: printed",
        ],
        tools=False,
    ),
)
steps = []
crew = Crew(
    agents=[researcher, writer],
    tasks=[
        Task(description="Write about {topic}", expected_output="a text"),
        ConditionalTask(description="Mend it", expected_output="x", condition=lambda output: "bad" in output.raw),
        Task(description="Print it", expected_output="x"),
    ],
    manager_agent=manager,
    process=Process.hierarchical,
    step_callback=lambda step: steps.append(type(step).__name__),
)
result = crew.kickoff(inputs={"topic": "cats"})
print([output.raw for output in result.tasks_output], result.tasks_output[0].agent)
print(steps.count("AgentAction"), result.token_usage.successful_requests, crew.usage_metrics.successful_requests)
