"""Flows through the public API: order, results, states, errors, limits."""

from __future__ import annotations

import asyncio
import threading
from enum import Enum
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel

from quarterdeck import Budget
from quarterdeck.errors import InputError, TaskTimeoutError
from quarterdeck.events import Event, MethodFailed, MethodFinished, MethodStarted
from quarterdeck.flow import Flow, FlowOutput, and_, listen, or_, router, start


class Poem(BaseModel):
    lines: int = 0
    text: str = ""
    log: list[str] = []


class PoemFlow(Flow[Poem]):
    @start()
    def count(self) -> int:
        self.state.lines = self.state.lines or 3
        return self.state.lines

    @listen(count)
    async def write(self, lines: int) -> str:
        self.state.text = "la " * lines
        return self.state.text.strip()

    @listen("write")
    def save(self) -> str:
        return f"saved {self.state.text.strip()}"


def test_a_flow_calls_its_methods_and_gives_the_last_result() -> None:
    flow = PoemFlow()
    assert flow.state.lines == 0
    first = flow.flow_id
    assert flow.kickoff() == "saved la la la"
    assert flow.method_outputs == [3, "la la la", "saved la la la"]
    assert (flow.state.lines, flow.flow_id) == (3, first)
    assert flow.kickoff(inputs={"lines": 1, "id": "mine", "unknown": 2}) == "saved la"
    assert flow.flow_id == "mine"
    assert flow.name == "PoemFlow"
    assert flow.steps == ["count", "write", "save"]


async def test_many_runs_at_once_of_one_object() -> None:
    flow = PoemFlow()
    results = await asyncio.gather(*(flow.akickoff({"lines": n}) for n in range(1, 30)))
    assert results == [f"saved {('la ' * n).strip()}" for n in range(1, 30)]
    outputs = await asyncio.gather(*(flow.arun({"lines": n}) for n in range(1, 5)))
    assert [output.state.lines for output in outputs] == [1, 2, 3, 4]
    assert len({output.run_id for output in outputs}) == 4


def test_a_state_may_be_set_before_the_kickoff_and_begins_anew_with_each() -> None:
    flow = PoemFlow(text="x")
    flow.state.lines = 5
    flow.state.log.append("before")
    assert flow.kickoff() == "saved la la la la la"
    flow.state.log.append("after")
    assert flow.kickoff(inputs={"lines": 2}) == "saved la la"
    assert flow.state.log == ["before"]


def test_runs_share_nothing_of_their_states() -> None:
    class Deep(Flow):
        @start()
        def begin(self) -> int:
            self.state["items"].append(1)
            self.state["poem"].log.append("x")
            return len(self.state["items"]) + len(self.state["poem"].log)

    given: dict[str, Any] = {"items": [], "poem": Poem()}
    flow = Deep()
    assert flow.kickoff(given) == flow.kickoff(given) == 2
    assert given == {"items": [], "poem": Poem()}
    flow = Deep(**given)
    flow.state["poem"].log.append("first")
    assert flow.kickoff() == flow.kickoff() == 3


def test_methods_one_after_another_work_on_the_state_itself() -> None:
    class Heavy:
        copies = 0

        def __deepcopy__(self, memo: Any) -> Heavy:
            Heavy.copies += 1
            return Heavy()

    class Line(Flow):
        @start()
        def one(self) -> None:
            self.state["heavy"] = Heavy()

        @listen(one)
        async def two(self) -> int:
            return id(self.state)

        @listen(two)
        def three(self, place: int) -> bool:
            return place == id(self.state)

        @listen(three)
        def side(self) -> None: ...

        @listen(three)
        def end(self, same: bool) -> tuple[bool, int]:
            return same, Heavy.copies

    flow = Line()
    flow.kickoff()
    assert (True, 4) in flow.method_outputs  # two copies for each of the two side by side


def test_attributes_that_methods_set_are_there_after_the_kickoff() -> None:
    class Keeping(Flow):
        def __init__(self) -> None:
            super().__init__()
            self.items: list[str] = []

        @start()
        def begin(self) -> None:
            self.items.append("x")
            self.found = True

    flow = Keeping()
    flow.kickoff()
    assert (flow.items, flow.found) == (["x"], True)


class Color(Enum):
    RED = "red"


def test_routers_labels_none_and_enums() -> None:
    calls: list[Any] = []

    class Routes(Flow):
        @start()
        def begin(self) -> str:
            return "begun"

        @router(begin)
        def pick(self, given: str) -> Color:
            calls.append(given)
            return Color.RED

        @router("red")
        def stop(self) -> None:
            calls.append("stop")

        @listen("red")
        def was_red(self, given: str) -> str:
            calls.append(given)
            return "was red"

        @listen(pick)
        def picked(self, given: Color) -> None:
            calls.append(given)

    assert Routes().kickoff() in ("was red", None)
    assert sorted(map(str, calls)) == ["Color.RED", "begun", "begun", "stop"]


def test_sync_methods_run_in_threads_side_by_side_and_async_ones_on_the_loop() -> None:
    meeting = threading.Barrier(2, timeout=20)
    threads: list[int] = []

    class Parallel(Flow):
        @start()
        def one(self) -> None:
            meeting.wait()
            threads.append(threading.get_ident())

        @start()
        def two(self) -> None:
            meeting.wait()
            threads.append(threading.get_ident())

        @listen(and_(one, two))
        async def both(self) -> int:
            return threading.get_ident()

    async def run() -> Any:
        return await Parallel().akickoff()

    assert asyncio.run(run()) == threading.get_ident()
    assert len(set(threads) | {threading.get_ident()}) == 3


class Shared(BaseModel):
    count: int = 0
    done: list[str] = []
    by: dict[str, int] = {}
    names: set[str] = set()
    last: str = ""


def test_methods_side_by_side_add_to_the_state_together() -> None:
    class Fan(Flow[Shared]):
        async def work(self, name: str) -> None:
            before = self.state.count
            self.state.done.append(name)
            self.state.by[name] = 1
            self.state.names.add(name)
            self.state.last = name
            await asyncio.sleep(0.01)
            self.state.count = before + 1

        @start()
        async def one(self) -> None:
            await self.work("one")

        @start()
        async def two(self) -> None:
            await self.work("two")

        @start()
        async def three(self) -> None:
            await self.work("three")

        @listen(and_(one, two, three))
        def end(self) -> None:
            self.state.count *= 10

    flow = Fan()
    flow.kickoff()
    names = ["one", "three", "two"]
    assert (flow.state.count, sorted(flow.state.done)) == (30, names)
    assert (flow.state.by, flow.state.names) == (dict.fromkeys(names, 1), set(names))
    assert flow.state.last in names


def test_dict_states_and_first_values() -> None:
    class Loose(Flow):
        initial_state: ClassVar[dict[str, int]] = {"n": 1}

        @start()
        def begin(self) -> Any:
            self.state["n"] += 1
            return self.state["n"] + self.state.get("more", 0)

    assert Loose().kickoff() == 2
    assert Loose().kickoff({"more": 5}) == 7
    assert Loose(n=4).kickoff() == 5
    flow = Loose()
    assert flow.state["id"]
    assert flow.kickoff() == flow.kickoff() == 2


def test_a_loop_by_a_router_and_its_limit() -> None:
    class Loop(Flow):
        @start()
        def begin(self) -> None:
            self.state["n"] = 0

        @listen(or_(begin, "again"))
        def step(self) -> int:
            self.state["n"] += 1
            return self.state["n"]

        @router(step)
        def check(self, n: int) -> str:
            return "again" if n < self.state.get("most", 3) else "end"

    assert Loop().kickoff() == "end"
    assert Loop().kickoff({"most": 100}) == "end"
    with pytest.raises(RecursionError, match="'step' was called more than max_method_calls=100 times"):
        Loop().kickoff({"most": 200})
    with pytest.raises(RecursionError, match="max_method_calls=5"):
        Loop(max_method_calls=5).kickoff({"most": 200})


def test_an_error_comes_out_of_kickoff_and_nothing_is_begun_after_it() -> None:
    seen: list[Event] = []
    late = threading.Event()

    class Failing(Flow):
        @start()
        def bad(self) -> None:
            raise ValueError("no good")

        @start()
        def slow(self) -> str:
            assert late.wait(20)
            return "slow"

        @listen(slow)
        def after(self) -> None:
            raise AssertionError("must not be called")

    def watch(event: Event) -> None:
        seen.append(event)
        if isinstance(event, MethodFailed):
            late.set()

    with pytest.raises(ValueError, match="no good"):
        Failing().kickoff(on_event=watch)
    assert [event.path for event in seen if isinstance(event, MethodFailed)] == ["bad/1"]
    assert [event.path for event in seen if isinstance(event, MethodFinished)] == ["slow/1"]
    assert {event.path for event in seen if isinstance(event, MethodStarted)} == {"bad/1", "slow/1"}


def test_a_trigger_payload_goes_to_the_starts_that_take_it() -> None:
    class Triggered(Flow):
        @start()
        def plain(self) -> None: ...

        @start()
        def begin(self, crewai_trigger_payload: Any = None) -> Any:
            return crewai_trigger_payload

        @listen(and_(plain, begin))
        def end(self, given: Any) -> Any:
            return self.method_outputs

    assert {"a": 1} in Triggered().kickoff({"crewai_trigger_payload": {"a": 1}})
    assert "crewai_trigger_payload" not in Triggered().state


def test_inputs_are_checked() -> None:
    class Needs(BaseModel):
        topic: str
        words: int = 10

    class Writer(Flow[Needs]):
        @start()
        def begin(self) -> str:
            return f"{self.state.words} words about {self.state.topic}"

    assert Writer().contract.required == ("topic",)
    assert set(Writer().contract.schema["properties"]) == {"topic", "words"}
    assert Writer(topic="tides").contract.required == ()
    assert Writer().kickoff({"topic": "tides"}) == "10 words about tides"
    with pytest.raises(InputError, match="topic: is required") as caught:
        Writer().kickoff()
    assert caught.value.missing == ("topic",)
    with pytest.raises(InputError, match="words: Input should be a valid integer"):
        Writer().kickoff({"topic": "tides", "words": "many"})
    with pytest.raises(InputError, match="inputs must be a dict"):
        Writer().kickoff(["topic"])  # pyright: ignore[reportArgumentType]


def test_time_limits_of_a_method_and_of_the_run() -> None:
    class Slow(Flow):
        @start(max_execution_time=0.05)
        async def begin(self) -> None:
            await asyncio.sleep(60)

    with pytest.raises(TaskTimeoutError, match=r"method 'begin' took longer than its max_execution_time of 0\.05 s"):
        Slow().kickoff()

    class Sleepy(Flow):
        @start()
        def quick(self) -> str:
            return "quick"

        @listen(quick)
        async def begin(self) -> None:
            await asyncio.sleep(60)

    output = Sleepy().kickoff(budget=Budget(max_seconds=0.2))
    assert isinstance(output, FlowOutput)
    assert (output.status, output.ended_by, output.raw) == ("limited", "max_seconds", "quick")
