from crewai.flow.flow import Flow, and_, listen, or_, router, start
from pydantic import BaseModel


class Review(BaseModel):
    text: str = ""
    tries: int = 0
    log: list[str] = []


class ReviewFlow(Flow[Review]):
    @start()
    def draft(self):
        self.state.text = "draft"
        return "draft"

    @start()
    def gather(self):
        return "facts"

    @router(or_(draft, "again"))
    def judge(self):
        self.state.tries += 1
        return "good" if self.state.tries == 2 else "bad"

    @listen("bad")
    def improve(self):
        self.state.log.append("improved")

    @router(improve)
    def retry(self):
        return "again"

    @listen(and_("good", gather))
    def publish(self):
        self.state.log.append("published")
        return f"{self.state.text} after {self.state.tries}"


flow = ReviewFlow()
print(flow.kickoff())
print(flow.state.log, len(flow.state.id) > 10)
