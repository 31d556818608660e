"""A person judges a method's result: outcomes, providers, answers that come later; and lines that a flow asks for."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from quarterdeck.errors import ConfigError
from quarterdeck.events import Event, FeedbackReceived, HumanRequested, LLMFinished, MethodFinished
from quarterdeck.flow import (
    Flow,
    HumanFeedbackPending,
    HumanFeedbackResult,
    PendingFeedbackContext,
    SQLiteFlowPersistence,
    flow_config,
    human_feedback,
    listen,
    or_,
    persist,
    start,
)
from quarterdeck.runtime.human import HumanAnswer, HumanRequest, Later
from quarterdeck.runtime.journal import Journal
from quarterdeck.testing import ScriptedLLM


def of(kind: type[Event], events: list[Event]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


class Says:
    """Answers at once, in order."""

    def __init__(self, *answers: str | HumanAnswer) -> None:
        self.asked: list[HumanRequest] = []
        self._answers = list(answers)

    async def ask(self, request: HumanRequest) -> HumanAnswer | None:
        self.asked.append(request)
        answer = self._answers.pop(0)
        return HumanAnswer(not answer, answer) if isinstance(answer, str) else answer


def review(llm: Any = None, **fields: Any) -> type[Flow]:
    """Drafts until a person approves."""

    class Review(Flow):
        @human_feedback("Good enough?", emit=["approved", "needs revision"], llm=llm, **fields)
        @start("needs revision")
        def draft(self) -> str:
            self.state["drafts"] = self.state.get("drafts", 0) + 1
            return f"draft {self.state['drafts']}"

        @listen("approved")
        def publish(self, result: HumanFeedbackResult) -> HumanFeedbackResult:
            return result

    return Review


def test_an_outcome_is_a_label_and_listeners_get_the_feedback() -> None:
    says = Says("Needs Revision", "it needs revision, please", "")
    flow = review(metadata={"who": "editor"})()
    result = flow.kickoff(human=says)
    assert isinstance(result, HumanFeedbackResult)
    assert (result.output, result.feedback, result.outcome, result.method_name) == ("draft 3", "", "approved", "draft")
    assert result.metadata == {"who": "editor"}
    assert [item.outcome for item in flow.human_feedback_history] == ["needs revision", "needs revision", "approved"]
    assert flow.last_human_feedback == result
    assert [request.output for request in says.asked] == ["draft 1", "draft 2", "draft 3"]
    assert says.asked[0].question == "Good enough?\nOutcomes: approved, needs revision"
    assert flow.method_outputs[:3] == ["draft 1", "draft 2", "draft 3"]


@pytest.mark.parametrize(
    ("said", "outcome"),
    [("great work", "approved"), ("", "needs revision"), (HumanAnswer(False), "approved")],
)
def test_outcomes_without_a_model(said: Any, outcome: str) -> None:
    flow = review(default_outcome="needs revision")()
    flow.kickoff(human=Says(said, "approved"))
    assert flow.human_feedback_history[0].outcome == outcome


def test_a_refusal_without_words_is_said_as_one() -> None:
    class Judged(Flow):
        @start()
        @human_feedback("OK?", emit=["approved", "rejected"], llm=None)
        def begin(self) -> str:
            return "x"

        @listen("rejected")
        def stop(self) -> str:
            return "stopped"

    assert Judged().kickoff(human=Says(HumanAnswer(False))) == "stopped"


def test_a_model_reads_the_outcome() -> None:
    llm = ScriptedLLM(['{"outcome": "needs revision"}', "I think: Needs Revision", "who knows"], schemas=True)
    flow = review(llm)()
    flow.kickoff(human=Says("make it shorter", "and funnier", "hm"))
    assert [item.outcome for item in flow.human_feedback_history] == ["needs revision", "needs revision", "approved"]
    assert llm.requests[0].output_schema
    assert llm.requests[0].output_schema.schema["properties"]["outcome"]["enum"] == ["approved", "needs revision"]
    assert "make it shorter" in llm.requests[0].messages[0]["content"]


def test_without_outcomes_the_feedback_goes_to_the_listeners() -> None:
    class Simple(Flow):
        @start()
        @human_feedback("Thoughts?")
        def begin(self) -> str:
            return "text"

        @listen(begin)
        def end(self, result: HumanFeedbackResult) -> str:
            return f"{result.output}: {result.feedback}"

    assert Simple().kickoff(human=Says("fine")) == "text: fine"


def test_the_result_of_a_flow_that_ends_with_a_person_is_the_methods_own() -> None:
    class Last(Flow):
        @start()
        @human_feedback("OK?", emit=["yes", "no"], llm=None)
        def begin(self) -> str:
            return "own"

    assert Last().kickoff(human=Says("yes")) == "own"


async def test_an_answer_that_comes_later_is_a_step_of_the_run(journal: Journal) -> None:
    llm = ScriptedLLM(['{"outcome": "needs revision"}'])
    called: list[int] = []

    class Review(review(llm)):  # pyright: ignore[reportGeneralTypeIssues, reportUntypedBaseClass]
        def draft(self) -> str:
            called.append(1)
            return super().draft()

    for _ in range(2):
        pending = await Review().akickoff(journal=journal, run_id="r", human=Later())
        assert isinstance(pending, HumanFeedbackPending)
        assert (pending.status, pending.ended_by, pending.raw) == (
            "pending_human_input",
            "draft/1/human/1",
            "draft 1",
        )
        assert pending.context.method_output == "draft 1"
    answers = {"draft/1/human/1": HumanAnswer(False, "shorter")}
    pending = await Review().akickoff(journal=journal, run_id="r", human=Later(), answers=answers)
    assert pending.ended_by == "draft/2/human/1"
    answers = {"draft/2/human/1": HumanAnswer(True)}
    result = await Review().akickoff(journal=journal, run_id="r", human=Later(), answers=answers)
    assert (result.output, result.outcome) == ("draft 2", "approved")
    assert len(called) == 2
    events = await journal.events("r")
    assert [event.path for event in of(MethodFinished, events)] == ["draft/1", "draft/2", "publish/1"]
    assert [event.path for event in of(HumanRequested, events)] == ["draft/1/human/1", "draft/2/human/1"]
    assert [event.path for event in of(LLMFinished, events)] == ["draft/1/outcome/llm/1"]
    assert [event.outcome for event in of(FeedbackReceived, events)] == ["needs revision", "approved"]


# -- providers ----------------------------------------------------------------------------------------------


class Asks:
    """A provider that answers at once."""

    def __init__(self, answer: str) -> None:
        self.contexts: list[PendingFeedbackContext] = []
        self._answer = answer

    def request_feedback(self, context: PendingFeedbackContext, flow: Flow) -> str:
        assert flow.state["drafts"]
        self.contexts.append(context)
        return self._answer


class Mails:
    """A provider whose answer comes later."""

    def request_feedback(self, context: PendingFeedbackContext, flow: Flow) -> str:
        raise HumanFeedbackPending(context, callback_info={"mailed": context.method_name})


def test_a_provider_asks() -> None:
    provider = Asks("approved")
    result = review(provider=provider)().kickoff()
    assert result.outcome == "approved"
    (context,) = provider.contexts
    assert (context.method_name, context.method_output, context.message) == ("draft", "draft 1", "Good enough?")
    assert context.emit == ["approved", "needs revision"]
    flow_config.hitl_provider = Asks("approved")
    try:
        assert review()().kickoff().feedback == "approved"
    finally:
        flow_config.hitl_provider = None


def later(store: SQLiteFlowPersistence) -> type[Flow]:
    @persist(store)
    class Later(Flow):
        @start()
        def begin(self) -> str:
            self.state["called"] = [*self.state.get("called", []), "begin"]
            return "begun"

        @listen(or_(begin, "again"))
        @human_feedback("Go on?", emit=["yes", "again"], llm=None, provider=Mails())
        def work(self) -> str:
            self.state["called"] = [*self.state["called"], "work"]
            return "worked"

        @listen("yes")
        def end(self, result: HumanFeedbackResult) -> str:
            return f"{result.output} {result.feedback} {self.state['called']}"

    return Later


def test_a_pending_feedback_is_kept_and_gone_on_with(tmp_path: Path) -> None:
    flow_class = later(SQLiteFlowPersistence(tmp_path / "states.db"))
    flow = flow_class()
    pending = flow.kickoff()
    assert isinstance(pending, HumanFeedbackPending)
    assert pending.callback_info == {"mailed": "work"}
    other = later(SQLiteFlowPersistence(tmp_path / "states.db")).from_pending(flow.flow_id)
    assert other.state["called"] == ["begin", "work"]
    assert isinstance(other.resume("again"), HumanFeedbackPending)
    third = flow_class.from_pending(flow.flow_id)
    assert third.resume("yes") == "worked yes ['begin', 'work', 'work']"
    assert third.flow_id == flow.flow_id
    with pytest.raises(ConfigError, match="waits for an answer"):
        flow_class.from_pending(flow.flow_id)
    with pytest.raises(ConfigError, match="waits for nobody"):
        flow.resume("yes")


def test_wrong_arguments() -> None:
    with pytest.raises(ConfigError, match="default_outcome must be one of emit"):
        human_feedback("x", emit=["a"], default_outcome="b")
    with pytest.raises(ConfigError, match="emit must be a list"):
        human_feedback("x", emit="yes")
    with pytest.raises(ConfigError, match="request_feedback"):
        human_feedback("x", provider=object())  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match="learn"):
        human_feedback("x", learn=True)
    with pytest.raises(ConfigError, match="message"):
        human_feedback("")


# -- ask ------------------------------------------------------------------------------------------------------


async def test_ask_is_a_step(journal: Journal) -> None:
    class Asking(Flow):
        @start()
        def begin(self) -> str:
            return f"{self.ask('First?')} {self.ask('Second?')}"

        @listen(begin)
        async def more(self, text: str) -> str:
            return f"{text} {await self.aask('Third?')!r}"

    output = await Asking().arun(journal=journal, run_id="r", human=Later())
    assert (output.status, output.ended_by) == ("pending_human_input", "begin/1/ask/1")
    answers = {"begin/1/ask/1": HumanAnswer(True, "one")}
    output = await Asking().arun(journal=journal, run_id="r", human=Later(), answers=answers)
    assert output.ended_by == "begin/1/ask/2"
    says = Says("two", "")
    assert await Asking().akickoff(journal=journal, run_id="r", human=says) == "one two ''"
    assert [request.question for request in says.asked] == ["Second?", "Third?"]


def test_ask_gives_up_after_its_time_and_may_ask_a_provider_of_its_own() -> None:
    class Never:
        async def ask(self, request: HumanRequest) -> HumanAnswer | None:
            await asyncio.sleep(60)

    class Asking(Flow):
        @start()
        def begin(self) -> Any:
            return self.ask("Well?", timeout=self.state.get("seconds"))

    assert Asking().kickoff({"seconds": 0.05}, human=Never()) is None

    class Input:
        def request_input(self, message: str, flow: Flow, metadata: Any = None) -> str:
            return f"{message} yes"

    assert Asking(input_provider=Input()).kickoff() == "Well? yes"
    with pytest.raises(ConfigError, match="outside of the flow's methods"):
        Asking().ask("x")
