"""A run that is killed in the middle of delegated work goes on with it: no finished step is done again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from quarterdeck import Agent, Crew, Process, Task
from quarterdeck.errors import FencedError, JournalError
from quarterdeck.events import LLMFinished, RunFinished, ToolFinished
from quarterdeck.flow import Flow, start
from quarterdeck.llm.types import LLMRequest, ToolCall
from quarterdeck.runtime.journal import Journal, open_journal
from quarterdeck.testing import ScriptedLLM, after, call
from quarterdeck.tools import tool


class Killed(BaseException):
    """As a killed process: nothing in the run may catch it."""


def give(coworker: str, task: str) -> ToolCall:
    return call("delegate_work_to_coworker", task=task, context="c", coworker=coworker)


class Ship:
    """A manager, two coworkers with a tool, of whom one hands on; three of the pieces are worked on side by side.

    Args:
        kill: The number of the model call at which the process is gone; 0: none.
    """

    def __init__(self, kill: int = 0) -> None:
        self.sent: list[str] = []
        self.used: list[str] = []
        self.kill = kill
        limits: dict[str, Any] = {"max_retries": 0}

        @tool
        async def look(place: str) -> str:
            """Looks.

            Args:
                place: Where.
            """
            self.used.append(place)
            return f"{place}: 14 m"

        mate = Agent(role="Mate", goal="g", llm=ScriptedLLM(by=self.answer, **limits), tools=[look])
        mate.allow_delegation = True
        pilot = Agent(role="Pilot", goal="g", llm=ScriptedLLM(by=self.answer, **limits), tools=[look])
        task = Task(name="report", description="Report.", expected_output="R")
        self.crew = Crew(
            agents=[mate, pilot],
            tasks=[task, Task(name="end", description="End.", expected_output="E")],
            process=Process.hierarchical,
            manager_llm=ScriptedLLM(by=self.answer, **limits),
        )

    async def answer(self, request: LLMRequest) -> Any:
        """The same request has the same answer."""
        self.sent.append(str(request.step_key))
        if len(self.sent) == self.kill:
            raise Killed
        who, asked = str(request.messages[0]["content"]), str(request.messages[1]["content"])
        told = sum(message["role"] == "tool" for message in request.messages)
        if "Crew Manager" in who:
            if "End." in asked or told >= 4:
                return f"the end of {told}"
            return [give("Mate", "A"), give("Pilot", "B"), give("Mate", "C")] if told == 0 else give("Pilot", "D")
        if told:
            return after(0.002 * len(asked), f"{asked[:1]} is done")
        if asked.startswith("C"):
            return call("ask_question_to_coworker", question="Q of C", context="", coworker="Pilot")
        return call("look", place=asked[:1])


TOTAL = 14


async def test_how_many_calls_there_are(journal: Journal) -> None:
    ship = Ship()
    output = await ship.crew.akickoff(journal=journal, run_id="r")
    assert (output.status, output.raw, output.tasks_output[0].raw) == ("completed", "the end of 0", "the end of 4")
    assert len(ship.sent) == len(set(ship.sent)) == TOTAL
    assert sorted(ship.used) == ["A", "B", "D", "Q"]


@pytest.mark.parametrize("kill", range(1, TOTAL + 1))
async def test_killed_at_each_call(tmp_path: Path, kill: int) -> None:
    """Whatever was finished is not done again, and the end is the same."""
    journal = open_journal(tmp_path / "runs.db")
    first = Ship(kill)
    with pytest.raises(Killed):
        await first.crew.akickoff(journal=journal, run_id="r")
    events = await journal.events("r")
    finished = {f"r:{event.path}" for event in events if isinstance(event, LLMFinished)}
    tools = [event.arguments["place"] for event in events if isinstance(event, ToolFinished) and event.tool == "look"]
    assert not any(isinstance(event, RunFinished) for event in events)

    second = Ship()
    output = await second.crew.akickoff(journal=journal, run_id="r")
    assert (output.raw, output.tasks_output[0].raw) == ("the end of 0", "the end of 4")
    assert not finished & set(second.sent)
    assert len(finished) + len(second.sent) == TOTAL
    assert output.token_usage.successful_requests == TOTAL
    assert not set(tools) & set(second.used)
    journal.close()


async def test_killed_again_and_again(journal: Journal) -> None:
    """Each segment gets a little further, and nothing that is finished is sent again."""
    finished: set[str] = set()
    segment = 0
    while segment < 2 * TOTAL:
        segment += 1
        ship = Ship(kill=2)
        try:
            await ship.crew.akickoff(journal=journal, run_id="r")
            break
        except Killed:
            assert not finished & set(ship.sent)
            paths = [e.path for e in await journal.events("r") if isinstance(e, LLMFinished)]
            assert len(paths) == len(set(paths)) == len(finished | {f"r:{path}" for path in paths})
            finished = {f"r:{path}" for path in paths}
    assert segment > 3
    assert len(finished | set(ship.sent)) == TOTAL


async def test_the_limit_holds_over_a_crash(journal: Journal) -> None:
    """Pieces that were handed out before it count."""

    def crew(manager: list[Any], mate: list[Any]) -> Crew:
        return Crew(
            agents=[Agent(role="Mate", goal="g", llm=ScriptedLLM(mate, max_retries=0))],
            tasks=[Task(description="d", expected_output="e")],
            process=Process.hierarchical,
            manager_llm=ScriptedLLM(manager, max_retries=0),
            max_delegations=2,
        )

    def gone(_: LLMRequest) -> Any:
        raise Killed

    with pytest.raises(Killed):
        await crew([give("Mate", "A"), give("Mate", "B"), gone], ["a", "b"]).akickoff(journal=journal, run_id="r")
    again = crew([give("Mate", "C"), "done"], [])
    assert (await again.akickoff(journal=journal, run_id="r")).raw == "done"
    assert again.staff.manager
    assert "limit of 2 delegations" in str(again.staff.manager.llm.requests[-1].messages)
    assert again.staff.manager.llm.requests[-1].tool_choice == "none"


async def test_a_run_that_another_process_has_ends_in_a_piece(journal: Journal) -> None:
    """The manager is not told of it as of a failure of the coworker."""

    async def taken(_: LLMRequest) -> str:
        await journal.open_run("r")
        return "a"

    mate = Agent(role="Mate", goal="g", llm=ScriptedLLM([taken]))
    manager = ScriptedLLM([give("Mate", "A")])
    crew = Crew(
        agents=[mate],
        tasks=[Task(description="d", expected_output="e")],
        process=Process.hierarchical,
        manager_llm=manager,
    )
    with pytest.raises(JournalError) as caught:
        await crew.akickoff(journal=journal, run_id="r")
    assert isinstance(caught.value, FencedError)
    manager.assert_done()


async def test_within_a_flow(tmp_path: Path) -> None:
    """A crew in a flow's method goes on in the same way, with the limit that it began with."""

    def flow(manager: list[Any], mate: list[Any]) -> Flow[dict[str, Any]]:
        agent = Agent(role="Mate", goal="g", llm=ScriptedLLM(mate, max_retries=0))
        crew = Crew(
            agents=[agent],
            tasks=[Task(description="d", expected_output="e")],
            process=Process.hierarchical,
            manager_llm=ScriptedLLM(manager, max_retries=0),
            max_delegations=2,
            planning=True,
        )

        class Voyage(Flow[dict[str, Any]]):
            @start()
            async def go(self) -> str:
                return (await crew.akickoff()).raw

        return Voyage()

    def gone(_: LLMRequest) -> Any:
        raise Killed

    run: dict[str, Any] = {"journal": tmp_path / "runs.db", "run_id": "r"}
    script = ['{"task_1": "x"}', [give("Mate", "A"), give("Mate", "B")], gone]
    with pytest.raises(Killed):
        await flow(script, ["a", "b"]).akickoff(**run)
    events: list[Any] = []
    assert await flow([give("Mate", "C"), "done"], []).akickoff(**run, on_event=events.append) == "done"
    told = [event for event in events if isinstance(event, ToolFinished)]
    assert [event.path for event in told] == ["go/1/crew/1/task_1/1/tool/3"]
    assert "limit of 2 delegations" in told[0].output


async def test_replay_of_a_hierarchical_crew(tmp_path: Path) -> None:
    """The tasks before are taken from the earlier run, and the manager does the rest."""

    def crew(manager: list[Any]) -> Crew:
        return Crew(
            agents=[Agent(role="Mate", goal="g", llm=ScriptedLLM(["a"]))],
            tasks=[Task(description=f"d{n}", expected_output="e") for n in (1, 2)],
            process=Process.hierarchical,
            manager_llm=ScriptedLLM(manager),
        )

    journal = tmp_path / "runs.db"
    await crew(["one", "two"]).akickoff(journal=journal, run_id="r")
    output = await crew([give("Mate", "A"), "three"]).areplay("task_2", journal=journal, run_id="r", into="again")
    assert [item.raw for item in output.tasks_output] == ["one", "three"]
    assert {item.agent for item in output.tasks_output} == {"Crew Manager"}
