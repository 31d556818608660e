"""A flow with a flow, a hierarchical crew, runs for each of several inputs and hooks in it, killed in the middle."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from quarterdeck.events import LLMFinished, ToolFinished
from quarterdeck.runtime.journal import open_journal

PROGRAM = """
import os, signal, sys
from pathlib import Path

from pydantic import BaseModel

from quarterdeck import Agent, Crew, Process, Task
from quarterdeck.flow import Flow, and_, listen, or_, router, start
from quarterdeck.hooks import before_llm_call
from quarterdeck.testing import ScriptedLLM, call
from quarterdeck.tools import tool

kill_at, done = int(sys.argv[1]), 0


def note(what):
    global done
    with open("calls.txt", "a") as file:
        file.write(what + chr(10))
    done += 1
    if done == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)


@tool
def look(q: str) -> str:
    "Looks something up."
    note("tool")
    return "found " + q


def answer(request):
    note("llm")
    if request.tools and not any(message["role"] == "tool" for message in request.messages):
        first = request.tools[0].name
        return call(first, q="z") if first == "look" else call(first, task="part", coworker="Worker")
    return "answer"


@before_llm_call
def polite(context):
    context.messages.append({"role": "user", "content": "please"})


llm = ScriptedLLM(by=answer)
worker = Agent(role="Worker", goal="g", llm=llm, tools=[look])
managed = Crew(
    name="same", tasks=[Task(name="do", description="Managed {n}", expected_output="e")], agents=[worker],
    process=Process.hierarchical, manager_llm=llm,
)
plain = Crew(name="same", tasks=[
    Task(name="do", description="First {n}", expected_output="e", agent=worker, async_execution=True),
    Task(name="then", description="Second", expected_output="e", agent=worker),
])


class Count(BaseModel):
    n: int = 0
    log: list[str] = []


class Inner(Flow[Count]):
    name = "same"

    @start()
    def do(self):
        return managed.kickoff({"n": self.state.n}).raw

    @listen(do)
    def then(self, text):
        return f"{text} {self.state.n}"


class Outer(Flow[Count]):
    name = "same"

    @start()
    def begin(self):
        self.state.n = 1

    @listen(or_(begin, "again"))
    def left(self):
        self.state.log.append(Inner().kickoff({"n": self.state.n}))

    @listen(or_(begin, "again"))
    async def right(self):
        outputs = await plain.kickoff_for_each_async([{"n": 1}, {"n": 2}])
        self.state.log.append(" and ".join(output.raw for output in outputs))

    @router(and_(left, right))
    def more(self):
        self.state.n += 1
        return "again" if self.state.n < 3 else "enough"

    @listen("enough")
    def end(self):
        return [worker.kickoff("bye").raw, *sorted(self.state.log)]


print(Outer().kickoff(journal="runs.db", run_id="r"))
"""
ENDS = "['answer', 'answer 1', 'answer 2', 'answer and answer', 'answer and answer']\n"
SIDE_BY_SIDE = 3
"""Steps that can be under way at once: one of the inner flow, two of the runs for each input."""


@pytest.mark.parametrize("kill_at", [4, 13, 21])
def test_a_killed_program_goes_on(tmp_path: Path, kill_at: int) -> None:
    """The same command goes on with it; of what is nested, only what was under way is done again."""
    (tmp_path / "program.py").write_text(PROGRAM, encoding="utf-8")

    def run(number: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "program.py", str(number)]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, env=dict(os.environ))

    assert run(kill_at).returncode == -signal.SIGKILL
    done = run(0)
    assert (done.returncode, done.stdout) == (0, ENDS), done.stderr
    calls = Counter((tmp_path / "calls.txt").read_text().splitlines())
    assert run(0).stdout == ENDS
    assert Counter((tmp_path / "calls.txt").read_text().splitlines()) == calls, "a finished run does nothing"

    events = asyncio.run(open_journal(str(tmp_path / "runs.db")).events("r"))
    for kind in (LLMFinished, ToolFinished):
        paths = [event.path for event in events if isinstance(event, kind)]
        assert len(paths) == len(set(paths))
    models = sum(isinstance(event, LLMFinished) for event in events)
    assert models <= calls["llm"] <= models + SIDE_BY_SIDE
