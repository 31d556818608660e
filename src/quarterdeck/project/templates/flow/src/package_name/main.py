"""The flow: a crew writes a report, an agent shortens it where it is too long, and it is written to a file."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, Field

from package_name.crew import ReportCrew, default_model
from quarterdeck import Agent, BaseLLM
from quarterdeck.flow import Flow, listen, or_, router, start


class State(BaseModel):
    """What a run is given, and what it knows so far."""

    topic: str = Field("the tides", description="What the report is about.")
    max_words: int = Field(80, description="How long the report may be.")
    report: str = ""
    tries: int = 0


class FlowName(Flow[State]):
    """Each method is a step that is kept when it is done: a run that was killed goes on after the last one."""

    def __init__(self, model: BaseLLM | None = None) -> None:
        super().__init__()
        self.model = model or default_model()

    @start()
    async def write(self) -> None:
        output = await ReportCrew(self.model).crew().akickoff({"topic": self.state.topic})
        self.state.report = output.raw

    @router(or_(write, "shorten"))
    def check(self) -> str:
        long = len(self.state.report.split()) > self.state.max_words
        return "too long" if long and self.state.tries < 2 else "good"

    @listen("too long")
    async def shorten(self) -> None:
        self.state.tries += 1
        editor = Agent(role="Editor", goal="Say the same in fewer words", llm=self.model, max_tokens=400)
        output = await editor.akickoff(f"At most {self.state.max_words} words:\n\n{self.state.report}")
        self.state.report = output.raw

    @listen("good")
    def save(self) -> str:
        Path("report.md").write_text(self.state.report, encoding="utf-8")
        return self.state.report


def kickoff() -> None:
    """Runs the flow once, with the state's defaults: ``python -m package_name.main``, or ``quarterdeck run``."""
    print(FlowName().kickoff())


if __name__ == "__main__":
    kickoff()
