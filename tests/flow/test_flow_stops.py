"""What ends a flow early: nothing is begun after it, and the run goes on from there."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from quarterdeck import Agent, Crew, Task
from quarterdeck.errors import HandedOver, RunStopped
from quarterdeck.events import Event, LLMFinished, MethodFinished, RunFinished
from quarterdeck.flow import Flow, FlowOutput, listen, start
from quarterdeck.runtime.journal import Journal
from quarterdeck.runtime.run import Run
from quarterdeck.testing import ScriptedLLM, call
from quarterdeck.tools import tool


def of(kind: type[Event], events: list[Event]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def writers(llm: ScriptedLLM, **fields: Any) -> Crew:
    agent = Agent(role="Writer", goal="Write", llm=llm, **fields)
    return Crew(name="writers", tasks=[Task(name="text", description="Write", expected_output="T", agent=agent)])


class Two(Flow):
    """Two methods, with no step in them."""

    called: list[str]

    @start()
    async def one(self) -> str:
        self.stop()
        return "one"

    @listen(one)
    async def two(self) -> str:
        self.called.append("two")
        return "two"

    def stop(self) -> None: ...


@pytest.mark.parametrize("stop", [RunStopped("cancelled", "enough", "cancel"), HandedOver()])
async def test_a_run_that_is_stopped_between_methods_is_not_complete(journal: Journal, stop: RunStopped) -> None:
    runs: list[Run] = []

    class Stopping(Two):
        called: list[str] = []  # noqa: RUF012 - the test's own

        def stop(self) -> None:
            runs[0].stop(stop)

    kickoff = Stopping().akickoff(journal=journal, run_id="r", attach=runs.append)
    if isinstance(stop, HandedOver):
        with pytest.raises(HandedOver):
            await kickoff
        assert of(RunFinished, await journal.events("r")) == []
    else:
        output = await kickoff
        assert isinstance(output, FlowOutput)
        assert (output.status, output.raw, output.reason) == ("cancelled", "one", "enough")
    assert Stopping.called == []

    class Going(Stopping):
        def stop(self) -> None:
            raise AssertionError("one is finished")

    assert await Going().akickoff(journal=journal, run_id="r") == "two"


async def test_a_cancelled_kickoff_stays_open_and_its_threads_kick_off_nothing_more(journal: Journal) -> None:
    begun, going, ended = threading.Event(), threading.Event(), threading.Event()
    errors: list[BaseException] = []
    llm = ScriptedLLM(["text"])

    class Slow(Flow):
        @start()
        def work(self) -> str:
            begun.set()
            assert going.wait(20)
            try:
                return writers(llm).kickoff().raw
            except BaseException as error:
                errors.append(error)
                raise
            finally:
                ended.set()

    task = asyncio.create_task(Slow().akickoff(journal=journal, run_id="r"))
    assert await asyncio.to_thread(begun.wait, 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    going.set()
    assert await asyncio.to_thread(ended.wait, 20)
    assert isinstance(errors[0], RunStopped)
    assert llm.requests == []
    assert of(RunFinished, await journal.events("r")) == []
    assert await Slow().akickoff(journal=journal, run_id="r") == "text"


async def test_a_tool_in_doubt_is_named_by_its_whole_path(journal: Journal) -> None:
    paying = asyncio.Event()

    @tool(retry="never")
    async def pay(amount: int) -> str:
        """Pays."""
        paying.set()
        await asyncio.sleep(60)
        return "paid"

    class Paying(Flow):
        @start()
        async def work(self) -> str:
            return (await writers(llm, tools=[pay]).akickoff()).raw

    llm = ScriptedLLM([call("pay", amount=1), "It is paid."])
    task = asyncio.create_task(Paying().akickoff(journal=journal, run_id="r"))
    await asyncio.wait_for(paying.wait(), 20)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    output = await Paying().akickoff(journal=journal, run_id="r")
    path = "work/1/writers/1/text/1/tool/1"
    assert (output.status, output.ended_by) == ("in_doubt", path)
    assert f"resolve={{{path!r}: " in output.reason
    assert await Paying().akickoff(journal=journal, run_id="r", resolve={path: "paid"}) == "It is paid."


async def test_a_crew_that_streams_is_a_part_of_the_run_too(journal: Journal) -> None:
    llm = ScriptedLLM(["a text"])
    fail = [True]

    class Streams(Flow):
        @start()
        def work(self) -> str:
            crew = writers(llm).model_copy(update={"stream": True})
            stream: Any = crew.kickoff()
            text = "".join(chunk.content for chunk in stream)
            if fail.pop():
                raise OSError
            return f"{text} {stream.result.raw}"

    with pytest.raises(OSError):
        await Streams().akickoff(journal=journal, run_id="r")
    fail.append(False)
    assert (await Streams().akickoff(journal=journal, run_id="r")).endswith("a text")
    assert len(llm.requests) == 1
    events = await journal.events("r")
    assert [event.path for event in of(LLMFinished, events)] == ["work/1/writers/1/text/1/llm/1"]
    assert len(of(MethodFinished, events)) == 1
