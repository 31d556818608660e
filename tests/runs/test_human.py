"""A question to a person is a step too: it is asked once, and its answer is kept."""

from __future__ import annotations

import contextvars
from typing import Any

import pytest

from quarterdeck import Agent, Crew, Task
from quarterdeck.errors import ConfigError, ProviderDownError
from quarterdeck.events import Event, HumanAnswered, HumanRequested, RunFinished
from quarterdeck.runtime.human import HumanAnswer, HumanRequest, Later, set_human_input
from quarterdeck.runtime.journal import Journal
from quarterdeck.testing import ScriptedLLM

FIRST, SECOND = "task_1/1/human/1", "task_1/2/human/1"


def crew(answers: list[Any]) -> Crew:
    writer = Agent(role="Writer", goal="Write", llm=ScriptedLLM(answers, max_retries=0))
    draft = Task(description="Draft", expected_output="T", agent=writer, human_input=True)
    return Crew(tasks=[draft, Task(description="Publish", expected_output="T", agent=writer)])


class Editor:
    """Answers at once."""

    def __init__(self, *answers: HumanAnswer) -> None:
        self.asked: list[HumanRequest] = []
        self._answers = list(answers)

    async def ask(self, request: HumanRequest) -> HumanAnswer | None:
        self.asked.append(request)
        return self._answers.pop(0)


def of(kind: type[Event], events: list[Event]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def test_a_program_says_whom_all_runs_ask() -> None:
    """In the context where it is called, and what is begun there; ``human=`` goes before it."""
    everybody, one = Editor(HumanAnswer(False, "shorter"), HumanAnswer(True)), Editor(HumanAnswer(True))

    def program() -> None:
        set_human_input(everybody)
        assert crew(["long", "short", "done"]).kickoff().raw == "done"
        assert crew(["long", "done"]).kickoff(human=one).raw == "done"

    contextvars.copy_context().run(program)
    assert [request.output for request in everybody.asked] == ["long", "short"]
    assert len(one.asked) == 1
    with pytest.raises(ConfigError, match="no terminal"):
        crew(["long"]).kickoff()


async def test_a_question_waits_and_is_asked_once(journal: Journal) -> None:
    for answers in (["draft"], []):
        output = await crew(answers).akickoff(journal=journal, run_id="r", human=Later())
        assert (output.status, output.ended_by, output.partial) == ("pending_human_input", FIRST, True)
        assert output.raw == "draft"
        assert f"answers={{{FIRST!r}: " in output.reason
    events = await journal.events("r")
    (request,) = of(HumanRequested, events)
    assert (request.path, request.task, request.agent, request.output) == (FIRST, "task_1", "Writer", "draft")
    assert isinstance(events[-1], RunFinished)
    assert events[-1].status == "pending_human_input"


async def test_an_answer_that_came_meanwhile_is_taken_and_kept(journal: Journal) -> None:
    await crew(["draft"]).akickoff(journal=journal, run_id="r", human=Later())
    approved = {FIRST: HumanAnswer(True)}

    def down(_: Any) -> Any:
        raise ProviderDownError("down")

    with pytest.raises(ProviderDownError):
        await crew([down]).akickoff(journal=journal, run_id="r", human=Later(), answers=approved)
    output = await crew(["published"]).akickoff(journal=journal, run_id="r", human=Later())
    assert [item.raw for item in output.tasks_output] == ["draft", "published"]
    (answered,) = of(HumanAnswered, await journal.events("r"))
    assert (answered.path, answered.approved, answered.feedback) == (FIRST, True, "")


async def test_feedback_sends_the_task_back(journal: Journal) -> None:
    await crew(["draft"]).akickoff(journal=journal, run_id="r", human=Later())
    again = crew(["better draft"])
    answers = {FIRST: HumanAnswer(False, "too long")}
    output = await again.akickoff(journal=journal, run_id="r", human=Later(), answers=answers)
    assert (output.status, output.ended_by, output.raw) == ("pending_human_input", SECOND, "better draft")
    writer = again.tasks[0].agent
    assert writer
    prompt = writer.llm.requests[0].messages[-1]["content"]
    assert "too long" in prompt
    assert "draft" in prompt
    answers = {SECOND: HumanAnswer(True)}
    output = await crew(["published"]).akickoff(journal=journal, run_id="r", human=Later(), answers=answers)
    assert [item.raw for item in output.tasks_output] == ["better draft", "published"]


async def test_a_person_who_answers_at_once(journal: Journal) -> None:
    editor = Editor(HumanAnswer(False, "too long"), HumanAnswer(True))
    output = await crew(["draft", "better", "published"]).akickoff(journal=journal, run_id="r", human=editor)
    assert [item.raw for item in output.tasks_output] == ["better", "published"]
    assert [(asked.run_id, asked.path, asked.output) for asked in editor.asked] == [
        ("r", FIRST, "draft"),
        ("r", SECOND, "better"),
    ]


async def test_nobody_to_ask_is_a_clear_error() -> None:
    with pytest.raises(ConfigError, match=r"task 'task_1' asks a person .* no terminal .*kickoff\(human=Later"):
        await crew(["draft"]).akickoff()
