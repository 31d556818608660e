"""What was under way when a run was interrupted: tools that may be repeated and that may not, signals, take-overs."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import survey

from quarterdeck import Agent, Crew, Task
from quarterdeck.errors import FencedError, RunStopped
from quarterdeck.events import Event, RunFinished, ToolFinished, ToolIntended
from quarterdeck.llm.types import LLMRequest
from quarterdeck.runtime.journal import Journal
from quarterdeck.testing import LoopbackServer, ScriptedLLM, after, call
from quarterdeck.tools import BaseTool, tool
from quarterdeck.tools.context import current_step

PATH = "task_1/1/tool/1"


class Bank:
    """A tool that acts on the world; the first call of it never returns."""

    def __init__(self, **fields: Any) -> None:
        self.steps: list[Any] = []
        self.under_way = asyncio.Event()

        @tool(**fields)
        async def transfer(amount: int) -> str:
            """Transfers money."""
            self.steps.append(current_step())
            if len(self.steps) == 1:
                self.under_way.set()
                await asyncio.sleep(30)
            return f"{amount} transferred"

        self.tool: BaseTool = transfer

    def crew(self, answers: list[Any], **fields: Any) -> Crew:
        worker = Agent(role="Clerk", goal="Pay", llm=ScriptedLLM(answers), tools=[self.tool])
        return Crew(tasks=[Task(description="Pay", expected_output="T", agent=worker, **fields)])

    async def interrupt(self, journal: Journal) -> None:
        """A run ``r`` that is gone while the tool is under way."""
        work = asyncio.create_task(self.crew([call("transfer", amount=5)]).akickoff(journal=journal, run_id="r"))
        await self.under_way.wait()
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work


def prompt(crew: Crew) -> list[Any]:
    llm = crew.tasks[0].agent and crew.tasks[0].agent.llm
    assert isinstance(llm, ScriptedLLM)
    return [request.messages[-1]["content"] for request in llm.requests]


# -- tools that may be repeated ---------------------------------------------------------------------------


async def test_a_safe_tool_under_way_is_called_again_with_the_same_key(journal: Journal) -> None:
    bank = Bank()
    await bank.interrupt(journal)
    again = bank.crew(["paid"])
    output = await again.akickoff(journal=journal, run_id="r")
    assert (output.status, output.raw) == ("completed", "paid")
    assert prompt(again) == ["5 transferred"]
    first, second = bank.steps
    assert first.step_key == second.step_key == f"r:{PATH}"
    assert (first.attempt, second.attempt) == (1, 2)
    assert (first.run_id, first.path) == ("r", PATH)


# -- tools that may not -----------------------------------------------------------------------------------


@pytest.fixture
async def bank(journal: Journal) -> Bank:
    """A journal with a run that was interrupted while a tool with ``retry="never"`` was under way."""
    bank = Bank(retry="never")
    await bank.interrupt(journal)
    return bank


async def test_a_call_that_must_not_be_repeated_is_in_doubt(bank: Bank, journal: Journal) -> None:
    for _ in range(2):  # it stays so until somebody says what happened
        output = await bank.crew([]).akickoff(journal=journal, run_id="r")
        assert (output.status, output.ended_by, output.partial) == ("in_doubt", PATH, True)
        for part in ("'transfer' must not be repeated", repr(PATH), "resolve={", ": 'its result'}", ": None}"):
            assert part in output.reason
    assert len(bank.steps) == 1
    events = await journal.events("r")
    assert isinstance(events[-1], RunFinished)
    assert (events[-1].status, events[-1].ended_by, events[-1].error) == ("in_doubt", PATH, output.reason)
    assert (await journal.runs())[0].status == "in_doubt"


async def test_the_result_that_a_person_found_is_used(bank: Bank, journal: Journal) -> None:
    again = bank.crew(["paid"])
    output = await again.akickoff(journal=journal, run_id="r", resolve={PATH: "5 transferred at noon"})
    assert (output.status, output.raw) == ("completed", "paid")
    assert prompt(again) == ["5 transferred at noon"]
    assert len(bank.steps) == 1
    (finished,) = [event for event in await journal.events("r") if isinstance(event, ToolFinished)]
    assert (finished.path, finished.output, finished.arguments) == (PATH, "5 transferred at noon", {"amount": 5})
    # It is as good as any finished step now.
    assert (await bank.crew([]).akickoff(journal=journal, run_id="r")).raw == "paid"


async def test_a_call_that_did_not_happen_is_made(bank: Bank, journal: Journal) -> None:
    again = bank.crew(["paid"])
    output = await again.akickoff(journal=journal, run_id="r", resolve={PATH: None})
    assert (output.status, output.raw) == ("completed", "paid")
    assert prompt(again) == ["5 transferred"]
    assert [step.step_key for step in bank.steps] == [f"r:{PATH}"] * 2
    kinds = [type(event) for event in await journal.events("r") if event.path == PATH]
    assert kinds == [ToolIntended, ToolIntended, ToolFinished]


async def test_an_answer_for_another_step_resolves_nothing(bank: Bank, journal: Journal) -> None:
    output = await bank.crew([]).akickoff(journal=journal, run_id="r", resolve={"task_1/1/tool/2": "x"})
    assert (output.status, output.ended_by) == ("in_doubt", PATH)


async def test_a_finished_call_is_in_no_doubt(journal: Journal) -> None:
    bank = Bank(retry="never")
    bank.steps.append(None)  # the first call returns too
    first = bank.crew([call("transfer", amount=5), after(30, "never")])
    work = asyncio.create_task(first.akickoff(journal=journal, run_id="r"))
    while len(prompt(first)) < 2:  # noqa: ASYNC110 - the model is what is waited for
        await asyncio.sleep(0.01)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert (await bank.crew(["paid"]).akickoff(journal=journal, run_id="r")).raw == "paid"
    assert len(bank.steps) == 2


async def test_the_intention_is_in_the_journal_before_the_call(journal: Journal) -> None:
    kept: list[str] = []

    @tool(retry="never")
    async def transfer() -> str:
        """Transfers money."""
        kept.extend(event.type for event in await journal.events("r"))
        return "done"

    worker = Agent(role="Clerk", goal="Pay", llm=ScriptedLLM([call("transfer"), "paid"]), tools=[transfer])
    crew = Crew(tasks=[Task(description="Pay", expected_output="T", agent=worker)])
    await crew.akickoff(journal=journal, run_id="r")
    assert kept == ["run.started", "llm.finished", "tool.intended"]


async def test_cancelling_during_such_a_call_leaves_it_in_doubt(journal: Journal) -> None:
    bank = Bank(retry="never")
    handle = bank.crew([call("transfer", amount=5)]).start(journal=journal, run_id="r")
    while not bank.steps:  # noqa: ASYNC110 - it runs on another loop
        await asyncio.sleep(0.01)
    handle.cancel()
    assert (await handle).status == "cancelled"
    assert (await bank.crew([]).akickoff(journal=journal, run_id="r")).status == "in_doubt"


async def test_a_resolved_call_can_be_the_answer(journal: Journal) -> None:
    bank = Bank(retry="never", result_as_answer=True, max_usage_count=1)
    await bank.interrupt(journal)
    output = await bank.crew([]).akickoff(journal=journal, run_id="r", resolve={PATH: "5 transferred"})
    assert (output.status, output.raw) == ("completed", "5 transferred")


async def test_a_resolved_call_counts_as_a_use(journal: Journal) -> None:
    bank = Bank(retry="never", max_usage_count=1)
    await bank.interrupt(journal)
    again = bank.crew([call("transfer", amount=6), "paid once"])
    output = await again.akickoff(journal=journal, run_id="r", resolve={PATH: "5 transferred"})
    assert output.raw == "paid once"
    assert "may be called once in a run" in prompt(again)[-1]
    assert len(bank.steps) == 1


async def test_other_tasks_finish_their_steps_when_one_is_in_doubt(journal: Journal) -> None:
    bank = Bank(retry="never")

    def build(other: Any) -> Crew:
        def answer(request: LLMRequest) -> Any:
            if "Pay" in request.messages[1]["content"]:
                return "paid" if request.messages[-1]["role"] == "tool" else call("transfer", amount=5)
            return other

        worker = Agent(role="Clerk", goal="Pay", llm=ScriptedLLM(by=answer), tools=[bank.tool])
        names = ("Write", "Pay")
        tasks = [Task(description=d, expected_output="T", agent=worker, async_execution=True) for d in names]
        return Crew(tasks=tasks)

    work = asyncio.create_task(build(after(30, "never")).akickoff(journal=journal, run_id="r"))
    await bank.under_way.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    output = await build(after(0.1, "written")).akickoff(journal=journal, run_id="r")
    assert (output.status, output.ended_by) == ("in_doubt", "task_2/1/tool/1")
    assert [item.raw for item in output.tasks_output] == ["written"]
    output = await build("never").akickoff(journal=journal, run_id="r", resolve={output.ended_by: None})
    assert [item.raw for item in output.tasks_output] == ["written", "paid"]


# -- signals ----------------------------------------------------------------------------------------------


def start_process(server: LoopbackServer, journal_url: str, folder: Path) -> subprocess.Popen[str]:
    """Does the run ``r`` of the survey in a new Python."""
    job = {"base_url": server.base_url, "journal": journal_url, "run": "r"}
    job |= {"log": str(folder / "log"), "output": str(folder / "output")}
    # Python takes no SIGINT where it is started with the signal ignored, as in the background of a script.
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code += "import json, sys, survey; survey.run(json.loads(sys.argv[1]))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(survey.__file__).parent), *sys.path])}
    return subprocess.Popen(
        [sys.executable, "-c", code, json.dumps(job)], stderr=subprocess.PIPE, text=True, env=environment
    )


class Gate:
    """Answers as the survey's model does, but keeps the first request with a certain ending of its key waiting."""

    def __init__(self, ending: str) -> None:
        self.reached = threading.Event()
        self.open = threading.Event()
        self._ending = ending

    async def __call__(self, request: LLMRequest) -> Any:
        if (request.step_key or "").endswith(self._ending) and not self.reached.is_set():
            self.reached.set()
            deadline = time.monotonic() + 20
            while not self.open.is_set() and time.monotonic() < deadline:  # noqa: ASYNC110 - set by a thread
                await asyncio.sleep(0.005)
        return survey.answer(request)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
async def test_a_signal_leaves_the_run_to_be_gone_on_with(
    number: signal.Signals, journal: Journal, journal_url: str, tmp_path: Path
) -> None:
    gate = Gate("north/1/llm/2")
    with LoopbackServer(by=gate) as server:
        process = start_process(server, journal_url, tmp_path)
        assert await asyncio.to_thread(gate.reached.wait, 20)
        while "south/1/llm/1" not in [event.path for event in await journal.events("r")]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        process.send_signal(number)
        _, errors = await asyncio.to_thread(process.communicate)
        assert process.returncode == -number
        assert ("KeyboardInterrupt" in errors) == (number == signal.SIGINT)
        assert "Traceback" not in errors.partition("KeyboardInterrupt")[2]
        events = await journal.events("r")
        assert not any(isinstance(event, RunFinished) for event in events)
        gate.open.set()
        output = await survey.build(server.base_url, str(tmp_path / "log")).akickoff(journal=journal, run_id="r")
        assert output.status == "completed"
        keys = [received.headers["idempotency-key"] for received in server.requests]
        assert sorted(keys) == sorted([*(f"r:{path}" for path in survey.LLM_PATHS), "r:north/1/llm/2"])


@pytest.fixture
def _takes_sigint() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_takes_sigint")
@pytest.mark.parametrize("after_call", [0.0, 0.0001, 0.001, 0.02])
def test_ctrl_c_waits_until_the_run_has_ended(after_call: float) -> None:
    """So that a program that catches it can go on with the run at once."""
    ended = threading.Event()
    begun = threading.Event()

    @tool
    async def wait() -> str:
        """Waits."""
        begun.set()
        try:
            await asyncio.sleep(30)
        finally:
            await asyncio.sleep(0.1)
            ended.set()
        return ""

    def press() -> None:
        begun.wait(10)
        time.sleep(after_call)
        main = threading.main_thread().ident
        assert main
        signal.pthread_kill(main, signal.SIGINT)

    worker = Agent(role="Clerk", goal="Pay", llm=ScriptedLLM([call("wait")]), tools=[wait])
    threading.Thread(target=press, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        Crew(tasks=[Task(description="Pay", expected_output="T", agent=worker)]).kickoff()
    assert ended.is_set()


# -- two processes ----------------------------------------------------------------------------------------


async def test_a_process_that_a_run_was_taken_from_writes_nothing_more(
    journal: Journal, journal_url: str, tmp_path: Path
) -> None:
    gate = Gate("north/1/llm/1")
    with LoopbackServer(by=gate) as server:
        process = start_process(server, journal_url, tmp_path)
        assert await asyncio.to_thread(gate.reached.wait, 20)
        output = await survey.build(server.base_url, str(tmp_path / "log")).akickoff(journal=journal, run_id="r")
        assert output.status == "completed"
        events, requests = await journal.events("r"), len(server.requests)
        gate.open.set()
        _, errors = await asyncio.to_thread(process.communicate)
        assert process.returncode == 1
        assert "FencedError: run 'r' was taken over: its epoch is 2, and this process has 1" in errors
        assert await journal.events("r") == events
        assert len(server.requests) == requests  # nor does it send any more


@pytest.mark.parametrize("finish", ["completes", "is cancelled", "fails"])
async def test_a_run_that_was_taken_over_ends_with_an_error(journal: Journal, finish: str) -> None:
    gate = asyncio.Event()

    def build(by: Callable[[LLMRequest], Any]) -> Crew:
        worker = Agent(role="Clerk", goal="Pay", llm=ScriptedLLM(by=by, max_retries=0))
        names = ("A", "B", "C")
        side = [Task(description=d, expected_output="T", agent=worker, async_execution=True) for d in names]
        return Crew(tasks=[*side, Task(description="D", expected_output="T", agent=worker)])

    async def wait(request: LLMRequest) -> Any:
        await gate.wait()
        if finish == "fails":
            raise ValueError("broken")
        return "late"

    runs: list[Any] = []
    seen: list[Event] = []
    first = asyncio.create_task(
        build(wait).akickoff(journal=journal, run_id="r", attach=runs.append, on_event=seen.append)
    )
    while len([event for event in seen if event.type == "llm.started"]) < 3:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    second = await build(lambda _: "new").akickoff(journal=journal, run_id="r")
    assert [item.raw for item in second.tasks_output] == ["new"] * 4
    events = await journal.events("r")
    if finish == "is cancelled":
        runs[0].interrupt(RunStopped("cancelled", "enough", "test"))
    else:
        gate.set()
    with pytest.raises(FencedError, match="its epoch is 2, and this process has 1"):
        await first
    assert await journal.events("r") == events
    assert not [event for event in seen if event.type in ("llm.finished", "task.finished", "run.finished")]
