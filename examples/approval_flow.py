"""A flow with a crew in a loop and a person who decides. Needs OPENAI_API_KEY.

It asks on the terminal, or takes the answers from its arguments. Kill it and start it again: it goes on where it was.
"""

import sys

from pydantic import BaseModel

from quarterdeck import Agent, Crew, Task
from quarterdeck.flow import Flow, HumanFeedbackResult, human_feedback, listen, or_, start
from quarterdeck.runtime.human import HumanAnswer


class Article(BaseModel):
    topic: str = "harbours"
    wishes: list[str] = []


writer = Agent(role="Writer", goal="Write short texts", backstory="Plain words.")
crew = Crew(
    name="writers",
    tasks=[
        Task(name="text", description="Write about {topic}. Mind: {wishes}", expected_output="A text", agent=writer)
    ],
)


class ArticleFlow(Flow[Article]):
    @start()
    def begin(self):
        return self.state.topic

    @listen(or_(begin, "note"))
    @human_feedback("Publish this text, or what is to change?", emit=["publish", "change"])
    def write(self):
        wishes = "; ".join(self.state.wishes) or "nothing"
        return crew.kickoff({"topic": self.state.topic, "wishes": wishes}).raw

    @listen("change")
    def note(self, result: HumanFeedbackResult):
        self.state.wishes.append(result.feedback)

    @listen("publish")
    def release(self, result: HumanFeedbackResult):
        return result.output


class Arguments:
    """Answers with the program's arguments, one after another."""

    async def ask(self, request):
        return HumanAnswer(True, sys.argv.pop(1))


if __name__ == "__main__":
    human = Arguments() if len(sys.argv) > 1 else None
    print(ArticleFlow().kickoff(journal="runs.db", run_id="article-1", human=human))
