"""``max_rpm``: calls to a model in any minute, of all runs together."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest

from quarterdeck import Agent, Crew, Task
from quarterdeck.agent.rate import RateLimit
from quarterdeck.llm.types import LLMRequest
from quarterdeck.runtime.run import open_run
from quarterdeck.runtime.steps import llm_step
from quarterdeck.testing import LoopbackServer, ScriptedLLM

WINDOW = 0.5
SLACK = 0.15
"""Seconds that a call may be on its way, on a busy machine."""


def check_rate(times: Sequence[float], most: int, window: float = WINDOW) -> None:
    """No window has more than so many; and no window was left unused."""
    times = sorted(times)
    for first, later in zip(times, times[most:], strict=False):
        assert later - first > window - SLACK
    assert times[-1] - times[0] < (len(times) - 1) // most * window + 0.9 * window


async def test_calls_are_spread_over_the_windows() -> None:
    times: list[float] = []

    def answer(_: LLMRequest) -> str:
        times.append(time.monotonic())
        return "x"

    limit = RateLimit(3, window=WINDOW)
    with LoopbackServer(by=answer) as server:
        llm = server.llm()

        async def one_run(number: int) -> None:
            run = await open_run(run_id=f"r{number}")
            await run.begin("c", {}, "")
            for n in range(3):
                request = LLMRequest([{"role": "user", "content": "Q"}])
                await llm_step(run, f"t/1/llm/{n}", llm, request, wait=limit.wait)

        await asyncio.gather(*(one_run(n) for n in range(4)))
    assert len(times) == 12
    check_rate(times, most=3)


async def test_who_gives_up_does_not_count() -> None:
    limit = RateLimit(2, window=WINDOW)
    began = time.monotonic()
    await limit.wait()
    await limit.wait()
    waiting = [asyncio.create_task(limit.wait()) for _ in range(20)]
    await asyncio.sleep(0.01)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await limit.wait()
    assert WINDOW - SLACK < time.monotonic() - began < 2 * WINDOW


async def test_the_rate_holds_where_some_give_up() -> None:
    limit = RateLimit(3, window=WINDOW)
    passed: list[float] = []

    async def wait() -> None:
        await limit.wait()
        passed.append(time.monotonic())

    first = [asyncio.create_task(wait()) for _ in range(9)]
    await asyncio.sleep(0.01)
    for task in first[3:5]:
        task.cancel()
    await asyncio.gather(*first, *(wait() for _ in range(5)), return_exceptions=True)
    assert len(passed) == 12
    check_rate(passed, most=3)


def test_several_event_loops_share_a_limit() -> None:
    limit = RateLimit(2, window=WINDOW)
    passed: list[float] = []

    async def wait() -> None:
        await limit.wait()
        passed.append(time.monotonic())

    threads = [threading.Thread(target=lambda: asyncio.run(wait())) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check_rate(passed, most=2)


# The real minute: what is not sent within half a second waits for it.


async def sent_at_once(crews: Sequence[Crew], llm: ScriptedLLM) -> int:
    work = [asyncio.create_task(crew.akickoff()) for crew in crews]
    await asyncio.sleep(0.3)
    for task in work:
        task.cancel()
    await asyncio.gather(*work, return_exceptions=True)
    return len(llm.requests)


def build(llm: ScriptedLLM, agents: int = 1, crew_rpm: int | None = None, **fields: Any) -> Crew:
    workers = [Agent(role=f"W{n}", goal="G", llm=llm, **fields) for n in range(agents)]
    tasks = [Task(description="D", expected_output="T", agent=workers[n % agents]) for n in range(10)]
    return Crew(tasks=tasks, max_rpm=crew_rpm)


@pytest.mark.parametrize(
    ("agents", "options", "sent"),
    [
        (1, {"max_rpm": 2}, 2),
        (2, {"max_rpm": 2}, 4),  # each agent has its own
        (2, {"crew_rpm": 3}, 3),  # the crew's is for all of them
        (1, {"max_rpm": 4, "crew_rpm": 3}, 4),  # an agent's own goes first
        (1, {}, 10),
    ],
)
async def test_whose_limit_it_is(agents: int, options: dict[str, Any], sent: int) -> None:
    llm = ScriptedLLM(by=lambda _: "x")
    assert await sent_at_once([build(llm, agents, **options)], llm) == sent


async def test_all_runs_of_a_crew_share_its_limit() -> None:
    llm = ScriptedLLM(by=lambda _: "x")
    assert await sent_at_once([build(llm, crew_rpm=3)] * 5, llm) == 3
