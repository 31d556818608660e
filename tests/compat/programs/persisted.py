from crewai import Agent, Crew, Task
from crewai.flow.flow import Flow, listen, start
from crewai.flow.human_feedback import HumanFeedbackResult, human_feedback
from crewai.flow.persistence import SQLiteFlowPersistence, persist
from pydantic import BaseModel

from quarterdeck.testing import ScriptedLLM


class Counter(BaseModel):
    count: int = 0


@persist(SQLiteFlowPersistence("states.db"))
class Counting(Flow[Counter]):
    @start()
    def one(self):
        self.state.count += 1

    @listen(one)
    def ten(self):
        self.state.count += 10
        return self.state.count


first = Counting()
print(first.kickoff())
same, fork = Counting(), Counting()
print(same.kickoff(inputs={"id": first.state.id}), same.state.id == first.state.id)
print(fork.kickoff(restore_from_state_id=first.state.id), fork.state.id == first.state.id)


class Person:
    def request_feedback(self, context, flow):
        return "needs work" if context.method_output == "Draft 1" else "ok great"


meaning = ScriptedLLM(['{"outcome": "needs_revision"}', "approved"])


class Review(Flow):
    @start("needs_revision")
    @human_feedback(
        message="Do you approve this?",
        emit=["approved", "rejected", "needs_revision"],
        llm=meaning,
        default_outcome="needs_revision",
        provider=Person(),
    )
    def generate(self):
        self.state["n"] = self.state.get("n", 0) + 1
        agent = Agent(role="r", goal="g", backstory="b", llm=ScriptedLLM([f"Draft {self.state['n']}"]))
        return Crew(agents=[agent], tasks=[Task(description="d", expected_output="e", agent=agent)]).kickoff().raw

    @listen("approved")
    def publish(self, result: HumanFeedbackResult):
        return f"{result.output}: {result.feedback}"


review = Review()
print(review.kickoff(), [item.outcome for item in review.human_feedback_history])
