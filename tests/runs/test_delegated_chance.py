"""Models that answer anything at all: a run ends within the stated calls, and killing it changes nothing."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from quarterdeck import Agent, Crew, Process, Task
from quarterdeck.errors import BadRequestError, RunError
from quarterdeck.events import LLMFinished
from quarterdeck.llm.types import LLMRequest, ToolCall
from quarterdeck.runtime.journal import open_journal
from quarterdeck.testing import ScriptedLLM, call

MAX_ITER = 3
TRIES = 2


class Killed(BaseException):
    """As a killed process."""


def chance(seed: int, request: LLMRequest) -> int:
    """The same for the same request."""
    text = "|".join(f"{message['role']}:{message.get('content')}" for message in request.messages)
    return int.from_bytes(hashlib.blake2b(f"{seed}|{text}".encode(), digest_size=8).digest(), "big")


def give(number: int) -> ToolCall:
    """Work for somebody, or for nobody."""
    who = ["Mate", "Pilot", "mate ", "Cook", "Nobody"][number % 5]
    if number % 2:
        return call("ask_question_to_coworker", question=f"Q{number % 97}", context="", coworker=who)
    return call("delegate_work_to_coworker", task=f"T{number % 97}", context="c", coworker=who)


def answer(seed: int, request: LLMRequest) -> Any:
    """Anything that a model may answer."""
    number = chance(seed, request)
    kind, rest = number % 11, number // 11
    if kind == 0:
        return ""
    if kind == 1:
        return BadRequestError("no") if "Boss" not in str(request.messages[0]) else "refused"
    if not request.tools or request.tool_choice == "none" or kind in (2, 3):
        return f"answer {rest % 1000}"
    if kind == 4:
        return ToolCall(f"c{rest}", "delegate_work_to_coworker", "{broken")
    if kind == 5:
        return call("no_such_tool", x=1)
    return [give(rest + n) for n in range(1 + kind % 3)]


class Ship:
    """A crew whose models answer by chance; ``kill`` is the call at which the process is gone."""

    def __init__(self, seed: int, limit: int, kill: int = 0) -> None:
        self.sent: list[str] = []

        def by(request: LLMRequest) -> Any:
            self.sent.append(str(request.step_key))
            if len(self.sent) == kill:
                raise Killed
            return answer(seed, request)

        def agent(role: str, **fields: Any) -> Agent:
            llm = ScriptedLLM(by=by, max_retries=0)
            return Agent(role=role, goal="g", llm=llm, max_iter=MAX_ITER, max_retry_limit=TRIES - 1, **fields)

        self.crew = Crew(
            agents=[agent("Mate", allow_delegation=True), agent("Pilot", allow_delegation=True), agent("Cook")],
            tasks=[Task(description="d", expected_output="e"), Task(description="d2", expected_output="e")],
            process=Process.hierarchical,
            manager_agent=agent("Boss"),
            max_delegations=limit,
        )

    async def run(self, journal: Any = None) -> str:
        """How it ends."""
        try:
            async with asyncio.timeout(60):
                return (await self.crew.akickoff(journal=journal, run_id="r")).raw
        except RunError as error:
            return f"{type(error).__name__}: {error}"


@given(seed=st.integers(0, 2**32), limit=st.integers(1, 6))
@settings(max_examples=80, deadline=None)
def test_it_ends_within_the_stated_calls(seed: int, limit: int) -> None:
    ship = Ship(seed, limit)
    end = asyncio.run(ship.run())
    assert end.startswith(("answer", "refused", "TaskError: task 'task_"))
    assert len(ship.sent) == len(set(ship.sent))
    for task in ("task_1", "task_2"):
        for attempt in range(1, TRIES + 1):
            paths = [key.removeprefix("r:") for key in ship.sent if key.startswith(f"r:{task}/{attempt}/")]
            own = [path for path in paths if path.count("/") == 3]
            pieces = {path.rpartition("/llm/")[0] for path in paths} - {f"{task}/{attempt}"}
            assert len(own) <= MAX_ITER + 1
            assert len(pieces) <= limit
            assert len(paths) <= (MAX_ITER + 1) * (1 + limit)
            assert max((piece.count("/delegate") + piece.count("/ask") for piece in pieces), default=0) <= 2
    assert not any(key.split(":")[1].split("/")[1] not in ("1", "2") for key in ship.sent)


@given(seed=st.integers(0, 2**32), kill=st.integers(1, 12))
@settings(max_examples=25, deadline=None)
def test_killing_it_changes_nothing(seed: int, kill: int) -> None:
    """The same end, and nothing that was finished is sent again."""
    whole = Ship(seed, 1000)
    end = asyncio.run(whole.run())
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_killed(Path(folder), seed, kill, whole, end))


async def _killed(folder: Path, seed: int, kill: int, whole: Ship, end: str) -> None:
    journal = open_journal(folder / "runs.db")
    first = Ship(seed, 1000, kill)
    try:
        assert await first.run(journal) == end
        assert kill > len(whole.sent)
    except Killed:
        finished = {f"r:{e.path}" for e in await journal.events("r") if isinstance(e, LLMFinished)}
        second = Ship(seed, 1000)
        assert await second.run(journal) == end
        assert not finished & set(second.sent)
        assert finished | set(first.sent) | set(second.sent) == set(whole.sent)
    finally:
        journal.close()
