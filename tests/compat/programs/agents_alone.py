import asyncio

from crewai import Agent, BaseLLM, Crew, Task
from crewai.flow.flow import Flow, listen, start
from crewai.lite_agent import LiteAgentOutput
from pydantic import BaseModel


class Dog(BaseModel):
    name: str
    age: int


class CustomLLM(BaseLLM):
    def __init__(self, model: str, endpoint: str, temperature: float | None = None):
        super().__init__(model=model, temperature=temperature)
        self.endpoint = endpoint

    def call(self, messages, tools=None, callbacks=None, available_functions=None, from_task=None, from_agent=None):
        if isinstance(messages, str):
            messages = [{"role": "user", "content": messages}]
        text = messages[-1]["content"]
        return '{"name": "Rex", "age": 3}' if "dog" in text else f"{self.endpoint}: {text.splitlines()[0]}"

    def supports_stop_words(self) -> bool:
        return True

    def get_context_window_size(self) -> int:
        return 9000


agent = Agent(role="r", goal="g", backstory="b", llm=CustomLLM("mine", "here", 0.7))
result = agent.kickoff("Tell of a dog", response_format=Dog)
print(
    isinstance(result, LiteAgentOutput), result.pydantic, result.agent_role, result.usage_metrics["successful_requests"]
)


class Market(Flow):
    @start()
    async def analyse(self):
        return (await agent.kickoff_async("analyse")).raw

    @listen(analyse)
    def report(self, text):
        return f"{text}, {agent.kickoff('report').raw}, {agent.llm.call('plain')}"


async def main():
    print(await Market().kickoff_async())
    print((await agent.kickoff("inside a loop")).raw)
    crew = Crew(agents=[agent], tasks=[Task(description="about {x}", expected_output="e", agent=agent)])
    both = await asyncio.gather(crew.kickoff_async(inputs={"x": 1}), crew.akickoff(inputs={"x": 2}))
    print([output.raw for output in both], crew.kickoff(inputs={"x": 3}).raw)


asyncio.run(main())
