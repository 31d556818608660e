"""Every limit of a budget ends the run, and no call is made beyond it."""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import time
from collections.abc import Iterator
from typing import Any

import pytest

from quarterdeck import Agent, Budget, Crew, Task
from quarterdeck.errors import ConfigError
from quarterdeck.events import Event, LimitReached, RunFinished
from quarterdeck.llm.types import LLMRequest, LLMResponse, UsageMetrics
from quarterdeck.runtime.journal import Journal
from quarterdeck.testing import LoopbackServer, ScriptedLLM, after, call, status
from quarterdeck.tools import tool


def words(text: str, tokens: int) -> LLMResponse:
    """An answer that costs so many tokens, half of them for the prompt."""
    usage = UsageMetrics(prompt_tokens=tokens // 2, completion_tokens=tokens - tokens // 2, total_tokens=tokens)
    return LLMResponse(text=text, usage=usage)


def look_up_then_answer(request: LLMRequest) -> Any:
    """Two calls a task: one that wants a tool, one that answers."""
    return "done" if request.messages[-1]["role"] == "tool" else call("look_up", word="sea")


@tool
def look_up(word: str) -> str:
    """Looks a word up."""
    return f"{word} is known"


def crew(llm: Any, tasks: int = 3, parallel: bool = False, tools: Any = (), description: str = "Do it") -> Crew:
    worker = Agent(role="Worker", goal="Work", llm=llm, tools=list(tools))
    made = [
        Task(description=f"{description} {n}", expected_output="T", agent=worker, async_execution=parallel)
        for n in range(tasks)
    ]
    return Crew(tasks=made)


def limit_of(seen: list[Event]) -> LimitReached:
    """The one event that says which limit was reached; the run's end says the same."""
    (reached,) = [event for event in seen if isinstance(event, LimitReached)]
    ended = seen[-1]
    assert isinstance(ended, RunFinished)
    assert (ended.status, ended.ended_by) == ("limited", reached.limit)
    return reached


@pytest.fixture(autouse=True)
def _no_lost_exceptions(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """asyncio complains about an exception that nobody took when its task is collected."""
    with caplog.at_level(logging.ERROR, logger="asyncio"):
        yield
        gc.collect()
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []


# -- numbers of calls -------------------------------------------------------------------------------------


async def test_max_llm_calls(seen: list[Event]) -> None:
    with LoopbackServer(["one", "two", "three"]) as server:
        output = await crew(server.llm()).akickoff(budget=Budget(max_llm_calls=2), on_event=seen.append)
        assert len(server.requests) == 2
    assert (output.status, output.ended_by, output.partial) == ("limited", "max_llm_calls", True)
    assert output.reason == "the budget's max_llm_calls of 2 is reached (at 2)"
    assert output.raw == "two"
    assert [item.raw for item in output.tasks_output] == ["one", "two"]
    assert output.token_usage.successful_requests == 2
    reached = limit_of(seen)
    assert (reached.limit, reached.allowed, reached.used) == ("max_llm_calls", 2, 2)


@pytest.mark.parametrize("most", [1, 5, 7, 11])
async def test_max_llm_calls_of_parallel_tasks(seen: list[Event], most: int) -> None:
    with LoopbackServer(by=look_up_then_answer, latency=0.02) as server:
        made = crew(server.llm(), tasks=6, parallel=True, tools=[look_up])
        output = await made.akickoff(budget=Budget(max_llm_calls=most), on_event=seen.append)
        assert len(server.requests) == most
    assert output.status == "limited"
    assert output.token_usage.successful_requests == most  # what was under way is finished, and kept
    assert len(output.tasks_output) == max(0, most - 6)
    assert limit_of(seen).limit == "max_llm_calls"


async def test_tries_of_one_call_count_once() -> None:
    with LoopbackServer([status(503, retry_after=0), status(429, retry_after=0), "one"]) as server:
        output = await crew(server.llm(), tasks=1).akickoff(budget=Budget(max_llm_calls=1))
        assert (output.status, output.raw, len(server.requests)) == ("completed", "one", 3)
        assert len({request.headers["idempotency-key"] for request in server.requests}) == 1


async def test_max_tool_calls_of_one_answer(seen: list[Event]) -> None:
    made: list[str] = []

    @tool
    def note(word: str) -> str:
        """Notes a word."""
        made.append(word)
        return word

    llm = ScriptedLLM([[call("note", word=str(n)) for n in range(5)], "done"])
    output = await crew(llm, tasks=1, tools=[note]).akickoff(budget=Budget(max_tool_calls=2), on_event=seen.append)
    assert made == ["0", "1"]
    assert (output.status, output.ended_by) == ("limited", "max_tool_calls")
    reached = limit_of(seen)
    assert (reached.allowed, reached.used) == (2, 2)
    assert len(llm.requests) == 1


async def test_max_tool_calls_of_parallel_tasks(seen: list[Event]) -> None:
    made: list[str] = []

    @tool("look_up")
    async def slow_look_up(word: str) -> str:
        """Looks a word up."""
        made.append(word)
        await asyncio.sleep(0.02)
        return word

    llm = ScriptedLLM(by=look_up_then_answer)
    crew_ = crew(llm, tasks=5, parallel=True, tools=[slow_look_up])
    output = await crew_.akickoff(budget=Budget(max_tool_calls=3), on_event=seen.append)
    assert len(made) == 3
    assert (output.status, output.ended_by) == ("limited", "max_tool_calls")
    assert len([event for event in seen if event.type == "tool.finished"]) == 3


# -- tokens and money -------------------------------------------------------------------------------------


async def test_max_tokens(seen: list[Event]) -> None:
    with LoopbackServer([words("one", 600), words("two", 600), words("three", 600)]) as server:
        output = await crew(server.llm()).akickoff(budget=Budget(max_tokens=1000), on_event=seen.append)
        assert [item.raw for item in output.tasks_output] == ["one", "two"]
        limits = [request.request.max_tokens for request in server.requests]
    prompt = 40  # tokens at most, by the estimate
    assert 1000 - prompt < limits[0] < 1000
    assert 400 - prompt < limits[1] < 400  # the answer is held to what is left
    assert (output.status, output.ended_by, output.token_usage.total_tokens) == ("limited", "max_tokens", 1200)
    reached = limit_of(seen)
    assert reached.allowed == 1000
    assert reached.used > 1200


async def test_max_tokens_leaves_a_model_its_own_limit() -> None:
    with LoopbackServer(by=lambda _: words("x", 10)) as server:
        await crew(server.llm(max_tokens=50)).akickoff(budget=Budget(max_tokens=1000))
        await crew(server.llm()).akickoff(budget=Budget(max_tokens=100_000))  # far from it: nothing is sent
        assert [request.request.max_tokens for request in server.requests] == [50, 50, 50, None, None, None]


async def test_a_prompt_that_would_pass_max_tokens_is_not_sent() -> None:
    with LoopbackServer(["never"]) as server:
        made = crew(server.llm(), description="word " * 1000)
        output = await made.akickoff(budget=Budget(max_tokens=1000))
        assert (output.status, output.ended_by, output.raw, server.requests) == ("limited", "max_tokens", "", [])


async def test_prompts_of_parallel_tasks_are_counted_before_they_are_sent() -> None:
    with LoopbackServer(by=lambda _: words("x", 520), latency=0.05) as server:
        made = crew(server.llm(), tasks=5, parallel=True, description="word " * 400)  # 500 tokens each
        output = await made.akickoff(budget=Budget(max_tokens=1300))
        assert (output.status, len(server.requests)) == ("limited", 2)


async def test_max_cost_usd(seen: list[Event]) -> None:
    with LoopbackServer(by=lambda _: words("x", 1000)) as server:
        llm = server.llm(price=(1.0, 3.0))  # 500 + 500 tokens: 0.002 USD a call
        output = await crew(llm, tasks=9).akickoff(budget=Budget(max_cost_usd=0.005), on_event=seen.append)
        assert len(server.requests) == 3
    assert (output.status, output.ended_by) == ("limited", "max_cost_usd")
    assert output.cost_usd == pytest.approx(0.006)
    reached = limit_of(seen)
    assert (reached.allowed, reached.used) == (0.005, pytest.approx(0.006))


async def test_the_price_list_is_used() -> None:
    with LoopbackServer(by=lambda _: words("x", 1_000_000)) as server:
        output = await crew(server.llm("openai/gpt-4o-mini"), tasks=9).akickoff(budget=Budget(max_cost_usd=0.5))
        assert output.status == "limited"
        assert output.cost_usd == pytest.approx(0.75)  # 0.15 and 0.60 USD a million
        assert len(server.requests) == 2


async def test_a_cost_limit_needs_a_known_price(seen: list[Event]) -> None:
    with LoopbackServer(["never"]) as server:
        llm = server.llm("openai/nobody-knows-this-model")
        with pytest.raises(ConfigError, match=r"max_cost_usd cannot be kept: the price of 'nobody-knows.*price=\("):
            await crew(llm).akickoff(budget=Budget(max_cost_usd=1), on_event=seen.append)
        assert server.requests == []
    assert seen[-1].type == "run.finished"


async def test_without_a_cost_limit_an_unknown_price_is_no_cost() -> None:
    with LoopbackServer(["one"]) as server:
        output = await crew(server.llm("openai/nobody-knows-this-model"), tasks=1).akickoff()
    assert output.cost_usd is None


# -- prompts ----------------------------------------------------------------------------------------------


async def test_max_input_chars(seen: list[Event]) -> None:
    def answer(request: LLMRequest) -> Any:
        return "word " * 100

    with LoopbackServer(by=answer) as server:  # each task is given the outputs of those before it
        output = await crew(server.llm(), tasks=9).akickoff(budget=Budget(max_input_chars=1500), on_event=seen.append)
        sizes = [sum(len(m["content"]) for m in request.body["messages"]) for request in server.requests]
    assert len(sizes) == 3
    assert max(sizes) <= 1500
    assert (output.status, output.ended_by, len(output.tasks_output)) == ("limited", "max_input_chars", 3)
    reached = limit_of(seen)
    assert reached.allowed == 1500
    assert 1500 < reached.used < 2200


# -- time -------------------------------------------------------------------------------------------------


def never(_: LLMRequest) -> Any:
    return after(30, "never")


def wait_in_tool(request: LLMRequest) -> Any:
    return "done" if request.messages[-1]["role"] == "tool" else call("wait", seconds=20)


@tool("wait")
def wait_in_thread(seconds: float) -> str:
    """Waits."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not _stop_waiting:
        time.sleep(0.01)
    return "waited"


@tool("wait")
async def wait_on_loop(seconds: float) -> str:
    """Waits."""
    await asyncio.sleep(seconds)
    return "waited"


_stop_waiting: list[bool] = []


@pytest.fixture(autouse=True)
def _end_threads() -> Iterator[None]:
    _stop_waiting.clear()
    yield
    _stop_waiting.append(True)


@pytest.mark.parametrize("parallel", [False, True], ids=["one", "parallel"])
@pytest.mark.parametrize(
    ("answer", "tools"),
    [(never, []), (wait_in_tool, [wait_in_thread]), (wait_in_tool, [wait_on_loop])],
    ids=["llm", "sync tool", "async tool"],
)
async def test_max_seconds_interrupts_what_is_under_way(
    seen: list[Event], answer: Any, tools: list[Any], parallel: bool
) -> None:
    with LoopbackServer(by=answer) as server:
        made = crew(server.llm(), parallel=parallel, tools=tools)
        began = time.monotonic()
        output = await made.akickoff(budget=Budget(max_seconds=0.3), on_event=seen.append)
        took = time.monotonic() - began
    assert (output.status, output.ended_by, output.tasks_output) == ("limited", "max_seconds", [])
    assert 0.3 <= took < 10
    reached = limit_of(seen)
    assert reached.allowed == 0.3
    assert seen[-1].time - reached.time < 0.2
    current = asyncio.current_task()
    assert current
    assert current.cancelling() == 0  # the caller itself is not cancelled


async def test_max_seconds_keeps_what_is_finished() -> None:
    llm = ScriptedLLM(["one", after(30, "never")])
    output = await crew(llm).akickoff(budget=Budget(max_seconds=0.3))
    assert (output.status, output.raw, [item.raw for item in output.tasks_output]) == ("limited", "one", ["one"])


async def test_max_seconds_of_an_agent_alone() -> None:
    worker = Agent(role="Worker", goal="Work", llm=ScriptedLLM([after(30, "never")]))
    output = await worker.akickoff("Q", budget=Budget(max_seconds=0.2))
    assert (output.status, output.ended_by, output.raw) == ("limited", "max_seconds", "")


def test_max_seconds_of_a_sync_kickoff() -> None:
    output = crew(ScriptedLLM(["one", after(30, "never")])).kickoff(budget=Budget(max_seconds=0.3))
    assert (output.status, output.ended_by, output.raw) == ("limited", "max_seconds", "one")


async def test_a_run_that_ends_in_time_leaves_no_timer(seen: list[Event]) -> None:
    output = await crew(ScriptedLLM(["one"]), tasks=1).akickoff(budget=Budget(max_seconds=0.1), on_event=seen.append)
    await asyncio.sleep(0.2)
    assert output.status == "completed"
    assert seen[-1].type == "run.finished"


# -- over the segments of a run ---------------------------------------------------------------------------


async def test_calls_of_earlier_segments_count(journal: Journal) -> None:
    with LoopbackServer(by=look_up_then_answer) as server:

        async def go_on(**limits: Any) -> Any:
            made = crew(server.llm(price=(1.0, 1.0)), tools=[look_up])
            return await made.akickoff(journal=journal, run_id="r", budget=Budget(**limits))

        for most in (2, 3, 3, 5):
            output = await go_on(max_llm_calls=most)
            assert (output.status, output.ended_by) == ("limited", "max_llm_calls")
            assert len(server.requests) == output.token_usage.successful_requests == most
        assert (await go_on()).status == "completed"
        assert len(server.requests) == 6


@pytest.mark.parametrize("limit", ["max_tool_calls", "max_tokens", "max_cost_usd"])
async def test_what_earlier_segments_used_counts(journal: Journal, limit: str) -> None:
    with LoopbackServer(by=look_up_then_answer) as server:

        async def go_on(**limits: Any) -> Any:
            made = crew(server.llm(price=(1.0, 1.0)), tools=[look_up])
            return await made.akickoff(journal=journal, run_id="r", budget=Budget(**limits))

        first = await go_on(max_llm_calls=3)
        used = {"max_tool_calls": 2, "max_tokens": first.token_usage.total_tokens, "max_cost_usd": first.cost_usd}
        output = await go_on(**{limit: used[limit]})
        assert (output.status, output.ended_by) == ("limited", limit)
        assert len(server.requests) == (5 if limit == "max_tool_calls" else 3)  # up to the next tool call
        output = await go_on(**{limit: used[limit] * 100})
        assert output.status == "completed"


async def test_time_of_earlier_segments_counts(journal: Journal) -> None:
    with LoopbackServer(by=never) as server:
        for times in (1, 2):
            output = await crew(server.llm()).akickoff(
                journal=journal, run_id="r", budget=Budget(max_seconds=0.3 * times)
            )
            assert (output.status, len(server.requests)) == ("limited", times)
        began = time.monotonic()
        output = await crew(server.llm()).akickoff(journal=journal, run_id="r", budget=Budget(max_seconds=0.3))
        assert (output.status, output.ended_by) == ("limited", "max_seconds")
        assert time.monotonic() - began < 5
        assert len(server.requests) == 2  # there is no time left: nothing is sent
    ends = [event for event in await journal.events("r") if isinstance(event, RunFinished)]
    assert ends[0].seconds == pytest.approx(0.3, abs=2)
    assert ends[1].seconds == pytest.approx(0.6, abs=0.25)


# -- what a budget may be ---------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0, -1, math.nan, "10", True, None, 1.5, math.inf])
@pytest.mark.parametrize("name", ["max_tokens", "max_cost_usd", "max_llm_calls", "max_seconds"])
def test_a_limit_is_a_positive_number(name: str, value: Any) -> None:
    if value is None or (value == 1.5 and name in ("max_cost_usd", "max_seconds")):
        assert getattr(Budget(**{name: value}), name) == value
        return
    with pytest.raises(ConfigError, match=f"Budget {name} must be .* above 0 or None, got "):
        Budget(**{name: value})


def test_an_unknown_limit_is_refused() -> None:
    with pytest.raises(TypeError, match="max_money"):
        Budget(max_money=1)  # pyright: ignore[reportCallIssue]
