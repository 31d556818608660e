import asyncio

from crewai import Agent, BaseLLM, Crew, Task
from crewai.types.streaming import CrewStreamingOutput, StreamChunkType


class Model(BaseLLM):
    def call(self, messages, tools=None, callbacks=None, available_functions=None, **kwargs):
        return "about " + messages[-1]["content"].split()[1]


agent = Agent(role="r", goal="g", backstory="b", llm=Model(model="mine"))
task = Task(description="On {topic} now", expected_output="x", agent=agent)
print([output.raw for output in Crew(agents=[agent], tasks=[task]).kickoff_for_each([{"topic": "a"}, {"topic": "b"}])])
print((asyncio.run(Crew(agents=[agent], tasks=[task]).kickoff_async(inputs={"topic": "c"}))).raw)

streaming = Crew(agents=[agent], tasks=[task], stream=True).kickoff(inputs={"topic": "d"})
assert isinstance(streaming, CrewStreamingOutput)
text = "".join(chunk.content for chunk in streaming if chunk.chunk_type == StreamChunkType.TEXT)
print(text, "|", streaming.result.raw)
