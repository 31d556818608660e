"""A model of your own: subclass BaseLLM and implement call. Here, one that counts words."""

from quarterdeck import Agent, BaseLLM, Crew, Task


class WordCounter(BaseLLM):
    def call(self, messages, tools=None, **kwargs):
        task = messages[-1]["content"].split("\n")[0]
        return f"{len(task.split())} words"


if __name__ == "__main__":
    agent = Agent(role="Counter", goal="Count", backstory="", llm=WordCounter("word-counter"))
    print(Crew(tasks=[Task(description="How many are these?", expected_output="A number", agent=agent)]).kickoff())
