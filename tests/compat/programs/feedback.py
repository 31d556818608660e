from crewai.flow import Flow, listen, start
from crewai.flow.human_feedback import HumanFeedbackResult, human_feedback
from crewai.flow.persistence import persist


class Person:
    def request_feedback(self, context, flow):
        return "approved"


@persist()
class Article(Flow):
    @start()
    @human_feedback(message="Is it good?", emit=["approved", "rejected"], default_outcome="rejected", provider=Person())
    def write(self):
        self.state["text"] = "an article"
        return "an article"

    @listen("approved")
    def publish(self, result: HumanFeedbackResult):
        return f"published: {result.output} ({result.outcome})"

    @listen("rejected")
    def bin(self):
        return "binned"


flow = Article()
print(flow.kickoff())
