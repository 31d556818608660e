"""Replay: a new run that takes the tasks before from an earlier one, and does the rest again."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from quarterdeck import Agent, Crew, CrewOutput, Process, Task
from quarterdeck.crew.copies import with_llm
from quarterdeck.errors import ConfigError, InputError
from quarterdeck.events import Event, LLMFinished, RunStarted, TaskFinished, TaskStarted
from quarterdeck.runtime.journal import Journal
from quarterdeck.testing import ScriptedLLM


class Facts(BaseModel):
    depth: int


def make_crew(
    said: str = "first", *, aside: bool = False, by: Callable[[Any], Any] | None = None, **fields: Any
) -> Crew:
    """Facts (structured), then side (perhaps beside it), then report."""

    def answer(request: Any) -> str:
        task = request.messages[1]["content"].split(" ")[0]
        return '{"depth": 3}' if task == "Facts" else f"{said} {task} of {request.messages[1]['content'].split()[2]}"

    agent = Agent(role="Pilot", goal="Know", llm=ScriptedLLM(by=by or answer, schemas=True))
    tasks = [
        Task(description="Facts about {what}.", expected_output="It", agent=agent, name="facts", output_pydantic=Facts),
        Task(description="Side about {what} .", expected_output="It", agent=agent, name="side", async_execution=aside),
        Task(description="Report about {what} .", expected_output="It", agent=agent, name="report"),
    ]
    return Crew(tasks=tasks, name="survey", **fields)


@pytest.mark.parametrize("aside", [False, True])
async def test_the_tasks_before_are_taken(journal: Journal, aside: bool) -> None:
    """They cost nothing, their outputs are whole, and the new run stands on its own."""
    await make_crew(aside=aside).akickoff({"what": "x"}, journal=journal, run_id="a")
    seen: list[Event] = []
    again = make_crew("second", aside=aside)
    output = await again.areplay("report", journal=journal, run_id="a", into="b", on_event=seen.append)
    assert output.raw == "second Report of x"
    assert [o.raw for o in output.tasks_output] == ['{"depth": 3}', "first Side of x", "second Report of x"]
    assert output.tasks_output[0].pydantic == Facts(depth=3)
    assert (output.run_id, output.token_usage.successful_requests) == ("b", 1)
    assert [e.path for e in seen if isinstance(e, LLMFinished | TaskStarted)] == ["report", "report/1/llm/1"]
    prompt = again.tasks[2].agent.llm.requests[0].messages[1]["content"]  # type: ignore[union-attr]
    assert "first Side of x" in prompt
    started = next(e for e in await journal.events("b") if isinstance(e, RunStarted))
    assert (started.replay_of, started.segment, list(started.reused)) == ("a", 1, ["facts", "side"])
    assert [e.path for e in await journal.events("a") if isinstance(e, TaskFinished)] != []  # untouched


async def test_new_inputs_and_another_model(journal: Journal) -> None:
    """The rest is done with them; the definitions stay as they were."""
    crew = make_crew()
    await crew.akickoff({"what": "x"}, journal=journal, run_id="a")
    other = ScriptedLLM(["by another"], model="other", schemas=True)
    before = crew.tasks[2].agent.llm  # type: ignore[union-attr]
    output = await with_llm(crew, other).areplay("report", {"what": "y"}, journal=journal, run_id="a")
    assert output.raw == "by another"
    assert "Report about y" in other.requests[0].messages[1]["content"]
    assert crew.tasks[2].agent.llm is before  # type: ignore[union-attr]
    assert output.run_id not in ("", "a")


async def test_a_replay_goes_on_and_is_replayed(journal: Journal) -> None:
    """A replay that was interrupted goes on with the taken outputs; a replay can be replayed."""

    class Stop(Exception):
        pass

    def fail(request: Any) -> Any:
        raise Stop

    await make_crew().akickoff({"what": "x"}, journal=journal, run_id="a")
    broken = make_crew(by=fail)
    broken.tasks[2].agent.max_retry_limit = 0  # type: ignore[union-attr]
    with pytest.raises(Stop):
        await broken.areplay("report", journal=journal, run_id="a", into="b")
    output = await make_crew("second").akickoff(journal=journal, run_id="b")
    assert (output.raw, output.token_usage.successful_requests) == ("second Report of x", 1)
    third = await make_crew("third").areplay("report", journal=journal, run_id="b", into="c")
    assert [o.raw for o in third.tasks_output] == ['{"depth": 3}', "first Side of x", "third Report of x"]


async def test_the_newest_run_is_the_default(journal: Journal) -> None:
    """Of a crew of this name; a task is found by its id too."""
    crew = make_crew()
    await crew.akickoff({"what": "x"}, journal=journal, run_id="a")
    await crew.akickoff({"what": "y"}, journal=journal, run_id="b")
    await make_crew().model_copy(update={"name": "other"}).akickoff({"what": "z"}, journal=journal, run_id="c")
    output = await crew.areplay(crew.tasks[2].id, journal=journal)
    assert output.raw == "first Report of y"


async def test_the_first_task(journal: Journal) -> None:
    """All is done again, as a new run with the old inputs."""
    await make_crew().akickoff({"what": "x"}, journal=journal, run_id="a")
    output = await make_crew("second").areplay("facts", journal=journal, run_id="a")
    assert output.raw == "second Report of x"
    assert output.token_usage.successful_requests == 3


async def test_a_changed_crew(journal: Journal) -> None:
    """Later tasks may have changed, and others may have come; a task before that is new there has no output."""
    await make_crew().akickoff({"what": "x"}, journal=journal, run_id="a")
    crew = make_crew("second")
    changed = crew.tasks[2].model_copy(update={"description": "Summary about {what} .", "name": "summary"})
    longer = Crew(tasks=[*crew.tasks[:2], changed, crew.tasks[2]], name="survey")
    output = await longer.areplay("summary", journal=journal, run_id="a")
    assert [o.raw for o in output.tasks_output][2:] == ["second Summary of x", "second Report of x"]
    with pytest.raises(ConfigError, match="has no output of summary, before 'report'"):
        await longer.areplay("report", journal=journal, run_id="a")


async def test_a_run_under_way(journal: Journal) -> None:
    """What it has finished can be taken; it is not disturbed."""
    replayed: list[CrewOutput] = []

    async def meanwhile(output: Any) -> None:
        if output.name == "side":  # the run has finished facts, and not yet side
            replayed.append(await make_crew("second").areplay("side", journal=journal, run_id="a"))

    output = await make_crew(task_callback=meanwhile).akickoff({"what": "x"}, journal=journal, run_id="a")
    assert output.raw == "first Report of x"
    assert replayed[0].raw == "second Report of x"


async def test_a_hierarchical_crew(journal: Journal) -> None:
    """The manager gets the other model too."""
    crew = make_crew()
    managed = Crew(
        agents=[crew.tasks[0].agent],  # type: ignore[list-item]
        tasks=[t.model_copy(update={"agent": None}) for t in crew.tasks],
        process=Process.hierarchical,
        manager_llm=ScriptedLLM(['{"depth": 3}', "managed side", "managed report"], schemas=True),
    )
    await managed.akickoff({"what": "x"}, journal=journal, run_id="a")
    other = ScriptedLLM(["by another"], schemas=True)
    output = await with_llm(managed, other).areplay("report", journal=journal, run_id="a")
    assert [o.raw for o in output.tasks_output] == ['{"depth": 3}', "managed side", "by another"]


async def test_what_is_wrong_is_said(journal: Journal) -> None:
    """And nothing is written."""
    crew = make_crew()
    await crew.akickoff({"what": "x"}, journal=journal, run_id="a")
    with pytest.raises(ConfigError, match="no task 'x'; its tasks are facts, side, report"):
        await crew.areplay("x", journal=journal, run_id="a")
    with pytest.raises(ConfigError, match="has no run 'b'"):
        await crew.areplay("report", journal=journal, run_id="b")
    with pytest.raises(ConfigError, match="needs journal="):
        await crew.areplay("report", run_id="a")
    with pytest.raises(ConfigError, match="'a' is in the journal already"):
        await crew.areplay("report", journal=journal, run_id="a", into="a")
    with pytest.raises(ConfigError, match="none of crew 'new'"):
        await crew.model_copy(update={"name": "new"}).areplay("report", journal=journal)
    with pytest.raises(InputError, match="names of inputs"):
        await crew.areplay("report", {1: "x"}, journal=journal, run_id="a")  # type: ignore[dict-item]
    assert [row.run_id for row in await journal.runs()] == ["a"]


CREW_FILE = """
from quarterdeck import Agent, Crew, Task
from quarterdeck.testing import ScriptedLLM

llm = ScriptedLLM(by=lambda request: request.messages[1]["content"].split(chr(10))[0])
agent = Agent(role="Pilot", goal="Know", llm=llm)
crew = Crew(tasks=[
    Task(description=f"{name} {{what}}", expected_output="It", agent=agent, name=name) for name in ("facts", "report")
])
"""


def test_the_command(tmp_path: Path) -> None:
    """From the shell: the new run's id on stderr, the output on stdout; a wrong task is exit code 2."""
    (tmp_path / "crews.py").write_text(CREW_FILE, encoding="utf-8")
    start = "import crews; print(crews.crew.kickoff({'what': 'x'}, journal='runs.db', run_id='a'))"
    assert shell(tmp_path, "-c", start).stdout == "report x\n"
    command = ["-m", "quarterdeck", "replay", "a", "crews.py:crew", "--journal", "runs.db"]
    done = shell(tmp_path, *command, "--from-task", "report", "--input", "what=y", "--into", "b")
    assert (done.returncode, done.stdout) == (0, "report y\n")
    assert "run b: completed" in done.stderr
    wrong = shell(tmp_path, *command, "--from-task", "nothing")
    assert wrong.returncode == 2
    assert "its tasks are facts, report" in wrong.stderr


def shell(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=60, env=dict(os.environ)
    )
