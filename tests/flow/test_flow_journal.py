"""A flow on the journal: it goes on at the first unfinished method, and what it kicks off is part of its run."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from quarterdeck import Agent, Budget, Crew, CrewOutput, Task
from quarterdeck.errors import ConfigError, JournalMismatchError, ProviderDownError, TaskError
from quarterdeck.events import Event, KickoffFinished, LLMFinished, MethodFinished, RunFinished, RunStarted
from quarterdeck.flow import Flow, FlowOutput, and_, listen, router, start
from quarterdeck.llm.types import LLMRequest
from quarterdeck.runtime.human import HumanAnswer, Later
from quarterdeck.runtime.journal import Journal
from quarterdeck.testing import ScriptedLLM


class Broken(Exception):
    """What a test ends a run with."""


def of(kind: type[Event], events: list[Event]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def writers(llm: ScriptedLLM, **fields: Any) -> Crew:
    agent = Agent(role="Writer", goal="Write", llm=llm)
    tasks = [
        Task(name="outline", description="Outline {topic}", expected_output="T", agent=agent, **fields),
        Task(name="text", description="Write {topic}", expected_output="T", agent=agent),
    ]
    return Crew(name="writers", tasks=tasks)


def last_word(request: LLMRequest) -> str:
    return f"about {str(request.messages[-1]['content']).split()[1]}"


class Numbers(BaseModel):
    numbers: list[int] = []
    seen: str = ""


def counting(fails: Callable[[str], None]) -> type[Flow[Numbers]]:
    """A flow with branches and a loop, whose methods may fail."""

    class Counting(Flow[Numbers]):
        @start()
        def begin(self) -> int:
            fails("begin")
            self.state.numbers.append(1)
            return 1

        @listen(begin)
        async def left(self, n: int) -> int:
            self.state.numbers.append(n + 10)
            fails("left")
            return n + 10

        @listen(begin)
        def right(self, n: int) -> int:
            self.state.numbers.append(n + 20)
            fails("right")
            return n + 20

        @router(and_(left, right))
        def check(self) -> str:
            fails("check")
            return "more" if len(self.state.numbers) < 6 else "enough"

        @listen("more")
        def again(self) -> int:
            fails("again")
            self.state.numbers.append(0)
            return 0

        @router(again)
        def recheck(self) -> str:
            return "more" if len(self.state.numbers) < 6 else "enough"

        @listen("enough")
        def end(self) -> list[int]:
            fails("end")
            return sorted(self.state.numbers)

    return Counting


async def test_a_flow_goes_on_at_the_first_unfinished_method_with_its_state(journal: Journal) -> None:
    called: list[str] = []
    for method in ["begin", "left", "check", "again", "end", ""]:  # where left fails, right is finished

        def fails(name: str, method: str = method) -> None:
            if name == method:
                raise Broken(name)
            called.append(name)

        flow = counting(fails)()
        if method:
            with pytest.raises(Broken):
                await flow.akickoff({"seen": "x"}, journal=journal, run_id="r")
        else:
            assert await flow.akickoff(journal=journal, run_id="r") == [0, 0, 0, 1, 11, 21]
            assert (flow.state.seen, sorted(flow.state.numbers)) == ("x", [0, 0, 0, 1, 11, 21])
    assert sorted(called) == sorted(["begin", "left", "right", "check", "again", "again", "again", "end"])
    events = await journal.events("r")
    assert [event.segment for event in of(RunStarted, events)] == [1, 2, 3, 4, 5, 6]
    assert len({event.path for event in of(MethodFinished, events)}) == len(of(MethodFinished, events)) == 11
    assert await counting(fails)().akickoff(journal=journal, run_id="r") == [0, 0, 0, 1, 11, 21]  # calls nothing


async def test_crews_agents_and_calls_are_steps_of_the_flows_run(journal: Journal) -> None:
    llm = ScriptedLLM(by=last_word)
    fail = [True]

    class Report(Flow):
        @start()
        def write(self) -> str:
            crew = writers(llm)
            first = crew.kickoff({"topic": "tides"})
            second = crew.kickoff({"topic": "winds"})
            assert (first.token_usage.successful_requests, second.token_usage.successful_requests) == (2, 2)
            return f"{first.raw}, {second.raw}"

        @listen(write)
        async def judge(self, text: str) -> str:
            agent = Agent(role="Judge", goal="Judge", llm=llm)
            asked = await asyncio.gather(agent.kickoff_async("one two"), writers(llm).akickoff({"topic": "rain"}))
            said = await llm.acall("the last call")
            if fail.pop():
                raise Broken
            return f"{text}; {asked[0].raw}, {asked[1].raw}; {said}"

    flow = Report()
    with pytest.raises(Broken):
        await flow.akickoff(journal=journal, run_id="r", budget=Budget(max_llm_calls=8))
    assert len(llm.requests) == 8
    fail.append(False)
    result = await flow.akickoff(journal=journal, run_id="r", budget=Budget(max_llm_calls=8))
    assert result == "about tides, about winds; about two, about rain; about last"
    assert len(llm.requests) == 8  # none was sent again
    assert flow.usage_metrics.successful_requests == 8
    events = await journal.events("r")
    assert {event.path for event in of(LLMFinished, events)} == {
        "write/1/writers/1/outline/1/llm/1",
        "write/1/writers/1/text/1/llm/1",
        "write/1/writers/2/outline/1/llm/1",
        "write/1/writers/2/text/1/llm/1",
        "judge/1/agent/1/agent/1/llm/1",
        "judge/1/writers/1/outline/1/llm/1",
        "judge/1/writers/1/text/1/llm/1",
        "judge/1/llm/1",
    }
    assert len(of(RunStarted, events)) == len(of(RunFinished, events)) == 2
    assert {event.path for event in of(KickoffFinished, events)} == {
        *("write/1/writers/1", "write/1/writers/2", "judge/1/agent/1", "judge/1/writers/1")
    }
    assert events[-1].usage["successful_requests"] == 8
    assert events[-1].output == result


@pytest.mark.parametrize("on_this_loop", [True, False])
async def test_sync_methods_may_use_every_way_to_kick_off(on_this_loop: bool) -> None:
    llm = ScriptedLLM(by=last_word)
    seen: list[Event] = []

    class Ways(Flow):
        @start()
        def begin(self) -> list[str]:
            crew = writers(llm)
            outputs = [crew.kickoff({"topic": "a"}), asyncio.run(crew.akickoff({"topic": "b"}))]
            outputs += crew.kickoff_for_each([{"topic": "c"}, {"topic": "d"}])
            words = [Agent(role="R", goal="G", llm=llm).kickoff("x y").raw, llm.call("x z")]
            return [output.raw for output in outputs] + words

    expected = [f"about {word}" for word in "abcdyz"]
    if on_this_loop:
        assert await Ways().akickoff(on_event=seen.append) == expected
    else:
        assert await asyncio.to_thread(Ways().kickoff, on_event=seen.append) == expected
    assert all(event.path.startswith("begin/1/") for event in of(LLMFinished, seen))
    assert len(of(LLMFinished, seen)) == 10
    assert len(of(RunStarted, seen)) == 1


async def test_a_sync_kickoff_in_an_async_method_works_too(journal: Journal) -> None:
    """As in CrewAI, it blocks the loop of the methods; the run's own goes on where that is another."""
    llm = ScriptedLLM(by=last_word)

    class Blocking(Flow):
        @start()
        async def begin(self) -> list[str]:
            async def one(topic: str) -> str:
                await asyncio.sleep(0)
                return writers(llm).kickoff({"topic": topic}).raw

            agent = Agent(role="R", goal="G", llm=llm)
            return [*await asyncio.gather(one("a"), one("b")), llm.call("x y"), (await agent.kickoff("x z")).raw]

    expected = [f"about {word}" for word in "abyz"]
    assert await Blocking().akickoff(journal=journal, run_id="here") == expected
    assert await asyncio.to_thread(Blocking().kickoff, journal=journal, run_id="there") == expected
    for run_id in ("here", "there"):
        paths = {event.path for event in of(LLMFinished, await journal.events(run_id))}
        assert paths == {
            *(f"begin/1/writers/{n}/{task}/1/llm/1" for n in (1, 2) for task in ("outline", "text")),
            *("begin/1/llm/1", "begin/1/agent/1/agent/1/llm/1"),
        }


async def test_a_sync_kickoff_of_a_flow_with_one_works_too() -> None:
    """Each of them blocks a loop: the methods of the inner flow have another than those of the outer."""
    llm = ScriptedLLM(by=last_word)

    class Inner(Flow):
        @start()
        async def begin(self) -> str:
            return writers(llm).kickoff({"topic": "a"}).raw

    class Middle(Flow):
        @start()
        async def begin(self) -> str:
            return Inner().kickoff()

    class Outer(Flow):
        @start()
        async def begin(self) -> str:
            return Middle().kickoff()

        @listen(begin)
        def then(self, text: str) -> list[str]:
            return [text, asyncio.run(Middle().kickoff_async())]

    assert await Outer().akickoff() == ["about a", "about a"]
    outer = Outer()
    assert await asyncio.to_thread(outer.kickoff) == ["about a", "about a"]
    assert outer.usage_metrics.successful_requests == 4


async def test_an_error_of_a_crew_that_a_method_handles_ends_nothing() -> None:
    down = ScriptedLLM(by=lambda _: ProviderDownError("down"), max_retries=0)

    class Careful(Flow):
        @start()
        async def begin(self) -> str:
            try:
                return (await writers(down).akickoff({"topic": "a"})).raw
            except ProviderDownError:
                return (await writers(ScriptedLLM(by=last_word)).akickoff({"topic": "b"})).raw

    output = await Careful().arun()
    assert (output.status, output.result) == ("completed", "about b")


async def test_limits_and_cancelling_reach_what_a_method_kicks_off(journal: Journal) -> None:
    class Long(Flow):
        @start()
        def begin(self) -> str:
            return writers(llm).kickoff({"topic": "a"}).raw

        @listen(begin)
        async def more(self) -> str:
            return (await writers(llm).akickoff({"topic": "b"})).raw

    llm = ScriptedLLM(by=last_word)
    output = await Long().akickoff(journal=journal, run_id="r", budget=Budget(max_llm_calls=3))
    assert isinstance(output, FlowOutput)
    assert (output.status, output.ended_by, output.raw) == ("limited", "max_llm_calls", "about a")
    assert await Long().akickoff(journal=journal, run_id="r", budget=Budget(max_llm_calls=4)) == "about b"
    assert len(llm.requests) == 4

    stuck = asyncio.Event()

    async def waits(_: LLMRequest) -> str:
        stuck.set()
        await asyncio.sleep(60)
        return "never"

    llm = ScriptedLLM(by=waits)
    runs: list[Any] = []
    task = asyncio.create_task(Long().akickoff(journal=journal, run_id="c", attach=runs.append))
    await asyncio.wait_for(stuck.wait(), 20)
    from quarterdeck.errors import RunStopped

    runs[0].interrupt(RunStopped("cancelled", "enough", "cancel"))
    output = await asyncio.wait_for(task, 20)
    assert (output.status, output.reason) == ("cancelled", "enough")


async def test_a_question_in_a_crew_ends_the_flows_segment_and_is_answered_by_its_whole_path(journal: Journal) -> None:
    class Asking(Flow):
        @start()
        async def begin(self) -> str:
            return (await writers(llm, human_input=True).akickoff({"topic": "a"})).raw

    llm = ScriptedLLM(by=last_word)
    output = await Asking().akickoff(journal=journal, run_id="r", human=Later())
    path = "begin/1/writers/1/outline/1/human/1"
    assert (output.status, output.ended_by) == ("pending_human_input", path)
    assert f"answers={{{path!r}:" in output.reason
    answers = {path: HumanAnswer(True)}
    assert await Asking().akickoff(journal=journal, run_id="r", human=Later(), answers=answers) == "about a"
    assert len(llm.requests) == 2


async def test_options_of_a_whole_run_are_refused_within_one() -> None:
    class Limited(Flow):
        @start()
        async def begin(self) -> Any:
            return await writers(ScriptedLLM(by=last_word)).akickoff({"topic": "a"}, budget=Budget(max_llm_calls=1))

    with pytest.raises(ConfigError, match="give budget= to the flow's kickoff"):
        await Limited().akickoff()


async def test_a_kickoff_with_a_journal_of_its_own_is_a_run_of_its_own(journal: Journal) -> None:
    class Apart(Flow):
        @start()
        async def begin(self) -> str:
            return (
                await writers(ScriptedLLM(by=last_word)).akickoff({"topic": "a"}, journal=journal, run_id="own")
            ).raw

    flow = Apart()
    assert await flow.akickoff(journal=journal, run_id="r") == "about a"
    assert len(of(LLMFinished, await journal.events("own"))) == 2
    assert of(LLMFinished, await journal.events("r")) == []


async def test_flows_within_flows(journal: Journal) -> None:
    llm = ScriptedLLM(by=last_word)
    fail = [True]

    class Inner(Flow):
        @start()
        async def begin(self, crewai_trigger_payload: Any = None) -> str:
            return f"{crewai_trigger_payload} {await llm.acall('say hello')}"

        @listen(begin)
        def end(self, text: str) -> str:
            if fail.pop():
                raise Broken
            return f"{text} {self.state['word']}"

    class Outer(Flow):
        @start()
        async def begin(self) -> str:
            return await Inner().akickoff({"word": "there", "crewai_trigger_payload": "well,"})

    with pytest.raises(Broken):
        await Outer().akickoff(journal=journal, run_id="r")
    fail.append(False)
    assert await Outer().akickoff(journal=journal, run_id="r") == "well, about hello there"
    assert len(llm.requests) == 1
    paths = [event.path for event in of(MethodFinished, await journal.events("r"))]
    assert paths == ["begin/1/Inner/1/begin/1", "begin/1/Inner/1/end/1", "begin/1"]


# -- results and states -------------------------------------------------------------------------------------


class Note(BaseModel):
    text: str
    tags: set[str] = set()


@dataclasses.dataclass
class Mark:
    value: float
    note: Note


async def test_models_and_dataclasses_are_made_again(journal: Journal) -> None:
    given: list[Any] = []
    fail = [True]

    class Typed(Flow):
        @start()
        def begin(self) -> dict[str, Any]:
            self.state["note"] = Note(text="state")
            return {"mark": Mark(1.5, Note(text="a", tags={"t"})), "list": [Note(text="b")], "plain": (1, None)}

        @listen(begin)
        def crew(self) -> CrewOutput:
            return writers(ScriptedLLM(by=last_word)).kickoff({"topic": "a"})

        @listen(crew)
        def end(self, output: CrewOutput) -> None:
            if fail.pop():
                raise Broken
            given.extend([*self.method_outputs, self.state["note"], output])

    with pytest.raises(Broken):
        await Typed().akickoff(journal=journal, run_id="r")
    fail.append(False)
    await Typed().akickoff(journal=journal, run_id="r")
    first, output, note, same = given
    assert first == {"mark": Mark(1.5, Note(text="a", tags={"t"})), "list": [Note(text="b")], "plain": [1, None]}
    assert isinstance(output, CrewOutput)
    assert same is output
    assert (output.raw, [task.raw for task in output.tasks_output]) == ("about a", ["about a", "about a"])
    assert note == Note(text="state")


async def test_a_state_that_is_returned_is_one_again(journal: Journal) -> None:
    class Whole(Flow[Numbers]):
        @start()
        def begin(self) -> Numbers:
            self.state.seen = "all"
            return self.state

    flow = Whole()
    for _ in range(2):
        state = await flow.akickoff(journal=journal, run_id="r")
        assert isinstance(state, Numbers)
        assert (state.seen, state.id) == ("all", "r")  # pyright: ignore[reportAttributeAccessIssue]


async def test_an_agents_kickoff_may_be_returned_by_an_async_method() -> None:
    class Returns(Flow):
        @start()
        async def begin(self) -> Any:
            return Agent(role="R", goal="G", llm=ScriptedLLM(by=last_word)).kickoff("x y")

    assert (await Returns().akickoff()).raw == "about y"


async def test_what_is_no_json_is_named(journal: Journal) -> None:
    class Odd(Flow):
        @start()
        def begin(self) -> Any:
            return {"fine": 1, "bad": [object()]}

    class OddState(Flow):
        @start()
        def begin(self) -> None:
            self.state["lock"] = {"deep": asyncio.Lock()}

    with pytest.raises(TaskError, match=r"method 'begin': its result bad\.0 is a object, which is no JSON"):
        await Odd().akickoff(journal=journal, run_id="r")
    with pytest.raises(TaskError, match=r"flow OddState: state lock\.deep is a Lock, which is no JSON"):
        await OddState().akickoff(journal=journal, run_id="s")
    assert isinstance((await Odd().akickoff())["bad"][0], object)  # without a journal anything goes


async def test_another_flow_or_other_inputs_do_not_fit(journal: Journal) -> None:
    class One(Flow):
        @start()
        def begin(self) -> None:
            raise Broken

    class Two(Flow):
        @start()
        def begin(self) -> None: ...

        @listen(begin)
        def end(self) -> None: ...

    with pytest.raises(Broken):
        await One().akickoff({"a": 1}, journal=journal, run_id="r")
    with pytest.raises(JournalMismatchError, match="another definition"):
        await Two().akickoff({"a": 1}, journal=journal, run_id="r")
    with pytest.raises(JournalMismatchError, match="was started with inputs"):
        await One().akickoff({"a": 2}, journal=journal, run_id="r")
