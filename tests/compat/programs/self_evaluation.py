from crewai import Agent, Crew, Task
from crewai.flow.flow import Flow, listen, router, start
from pydantic import BaseModel

from quarterdeck.testing import ScriptedLLM


class Verification(BaseModel):
    valid: bool
    feedback: str | None


class PostState(BaseModel):
    x_post: str = ""
    feedback: str | None = None
    valid: bool = False
    retry_count: int = 0


def crew(text, answers, model=None):
    agent = Agent(role="Bard", goal="g", backstory="b", llm=answers)
    return Crew(agents=[agent], tasks=[Task(description=text, expected_output="x", agent=agent, output_pydantic=model)])


posts = ScriptedLLM(["a long post", "a post with emojis", "a fine post"])
verdicts = ScriptedLLM(
    [
        '{"valid": false, "feedback": "too long"}',
        '{"valid": false, "feedback": "emojis"}',
        '{"valid": true, "feedback": null}',
    ]
)


class PostFlow(Flow[PostState]):
    @start("retry")
    def generate(self):
        result = crew("Write on {topic}. Feedback: {feedback}", posts).kickoff(
            inputs={"topic": "Flying cars", "feedback": self.state.feedback}
        )
        self.state.x_post = result.raw

    @router(generate)
    def evaluate(self):
        if self.state.retry_count > 3:
            return "max_retry_exceeded"
        result = crew("Judge {x_post}", verdicts, Verification).kickoff(inputs={"x_post": self.state.x_post})
        self.state.valid = result["valid"]
        self.state.feedback = result["feedback"]
        self.state.retry_count += 1
        return "complete" if self.state.valid else "retry"

    @listen("complete")
    def save(self):
        return f"{self.state.x_post} after {self.state.retry_count}"

    @listen("max_retry_exceeded")
    def give_up(self):
        return "none"


flow = PostFlow()
print(flow.kickoff())
print(flow.usage_metrics.successful_requests, [str(r.messages[-1]["content"]).split("\n")[0] for r in posts.requests])
