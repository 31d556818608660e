from __future__ import annotations

import asyncio

import pytest

from quarterdeck.errors import FencedError
from quarterdeck.events import LLMFinished, RunStarted, TaskFinished
from quarterdeck.runtime.journal import Journal


def step(seq: int, text: str = "hi", path: str = "") -> LLMFinished:
    return LLMFinished(model="m", text=text, path=path or f"t/1/llm/{seq}").stamped("r1", seq)


async def test_what_is_appended_is_read_back(journal: Journal) -> None:
    run = await journal.open_run("r1")
    events = [
        RunStarted(crew="c", inputs={"topic": "tea", "$ref": "x" * 300}).stamped("r1", 1),
        step(2, "long " * 100),
        TaskFinished(task="t", output={"raw": "long " * 100}).stamped("r1", 3),
    ]
    for event in events:
        await run.append(event)
    assert (run.epoch, run.events) == (1, [])
    assert await journal.events("r1") == events
    assert await journal.events("r1", after=2) == events[2:]
    assert await journal.events("nobody") == []


async def test_group_commit(journal: Journal) -> None:
    runs = [await journal.open_run(f"r{n}") for n in range(100)]
    before = journal.commits

    async def work(run):
        for n in range(1, 6):
            await run.append(step(n).stamped(run.run_id, n))

    await asyncio.gather(*(work(run) for run in runs))
    assert journal.commits - before < 50
    for run in runs:
        assert [e.seq for e in await journal.events(run.run_id)] == [1, 2, 3, 4, 5]


async def test_a_run_taken_over_refuses_its_old_owner(journal: Journal) -> None:
    old = await journal.open_run("r1")
    await old.append(step(1))
    new = await journal.open_run("r1")
    assert new.epoch == 2
    assert new.events == [step(1).stamped("r1", 1)] or [e.seq for e in new.events] == [1]
    with pytest.raises(FencedError, match="epoch is 2, and this process has 1"):
        await old.append(step(2))
    await new.append(step(2))
