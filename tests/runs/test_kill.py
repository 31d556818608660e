"""``kill -9`` at random moments: the run goes on, its output is the same, and no finished call is made again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import survey

from quarterdeck.events import (
    Event,
    GuardrailFinished,
    LLMFinished,
    RunFinished,
    RunStarted,
    TaskFinished,
    ToolFinished,
)
from quarterdeck.runtime.journal import Journal
from quarterdeck.testing import LoopbackServer

KILLS = 50
KILLS_OF_A_RUN = 6
"""At most: then it is left to end, and another one begins."""


class Processes:
    """Starts processes that do the survey (see ``survey.py``) and kills them."""

    def __init__(self, server: LoopbackServer, journal_url: str, folder: Path) -> None:
        self.log = folder / "tool.log"
        self.output = folder / "output.json"
        self._job = {"base_url": server.base_url, "journal": journal_url}
        self._job |= {"log": str(self.log), "output": str(self.output)}
        self._program = subprocess.Popen(
            [sys.executable, survey.__file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )

    def start(self, run_id: str, kill_after: float = 30) -> bool:
        """Does the run in a new process, and kills it after some seconds.

        Returns:
            Whether it ended before that; it is then known to have ended well.
        """
        self.output.unlink(missing_ok=True)
        assert self._program.stdin
        assert self._program.stdout
        self._program.stdin.write(json.dumps({**self._job, "run": run_id}).encode() + b"\n")
        child = int(self._program.stdout.readline())
        if not select.select([self._program.stdout], [], [], kill_after)[0]:
            with contextlib.suppress(ProcessLookupError):  # it has ended at this very moment
                os.kill(child, signal.SIGKILL)
        ended = int(self._program.stdout.readline())
        assert ended in (0, -signal.SIGKILL), "the process failed: see its traceback"
        return ended == 0

    def result(self) -> dict[str, Any]:
        return json.loads(self.output.read_text())

    def tool_calls(self) -> Counter[str]:
        """How often the tool was called, by step key."""
        return Counter(self.log.read_text().splitlines() if self.log.exists() else [])

    def close(self) -> None:
        assert self._program.stdin
        assert self._program.stdout
        self._program.stdin.close()
        self._program.wait(30)
        self._program.stdout.close()


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    with LoopbackServer(by=survey.answer, latency=0.006) as server:
        yield server


@pytest.fixture
def processes(server: LoopbackServer, journal_url: str, tmp_path: Path) -> Iterator[Processes]:
    processes = Processes(server, journal_url, tmp_path)
    yield processes
    processes.close()


def sent(server: LoopbackServer) -> Counter[str]:
    """How often each step's request came, answered or not, by step key."""
    return Counter(received.headers["idempotency-key"] for received in server.requests)


def done(events: list[Event], kind: type[Event], run_id: str) -> set[str]:
    """Keys of the finished steps of a kind."""
    return {f"{run_id}:{event.path}" for event in events if isinstance(event, kind)}


def check_whole(events: list[Event], run_id: str) -> None:
    """A completed run's journal has each step once, in order."""
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert [event.segment for event in events if isinstance(event, RunStarted)] == list(
        range(1, sum(isinstance(event, RunStarted) for event in events) + 1)
    )
    assert Counter(type(event) for event in events if not isinstance(event, RunStarted)) == {
        LLMFinished: 6,
        ToolFinished: 4,
        GuardrailFinished: 1,
        TaskFinished: 4,
        RunFinished: 1,
    }
    assert isinstance(events[-1], RunFinished)
    assert events[-1].status == "completed"
    assert done(events, LLMFinished, run_id) == {f"{run_id}:{path}" for path in survey.LLM_PATHS}
    assert done(events, ToolFinished, run_id) == {f"{run_id}:{path}" for path in survey.TOOL_PATHS}


@pytest.mark.timeout(300)
@pytest.mark.xdist_group("kill")
def test_kill_at_random_moments(server: LoopbackServer, processes: Processes, journal: Journal) -> None:
    assert processes.start("undisturbed")  # the first makes the tables
    began = time.monotonic()
    assert processes.start("undisturbed 2")
    length = time.monotonic() - began
    expected = processes.result()
    assert len(sent(server)) == 2 * len(survey.LLM_PATHS)

    chance = random.Random(20)
    kills, runs, stands = 0, 0, set[tuple[str, ...]]()
    calls_again, tools_again = 0, 0
    while kills < KILLS:
        runs += 1
        run_id = f"run {runs}"
        llm_calls: dict[str, int] = {}
        tool_calls: dict[str, int] = {}
        most = min(KILLS, kills + KILLS_OF_A_RUN)
        while not processes.start(run_id, chance.uniform(0, length * 1.1) if kills < most else 30):
            kills += 1
            events = asyncio.run(journal.events(run_id))
            stands.add(tuple(sorted(event.path for event in events)))
            # What is finished now has been counted, and is never counted again.
            llm_calls |= {key: sent(server)[key] for key in done(events, LLMFinished, run_id) - llm_calls.keys()}
            tool_calls |= {
                key: processes.tool_calls()[key] for key in done(events, ToolFinished, run_id) - tool_calls.keys()
            }
        assert processes.result() == expected
        check_whole(asyncio.run(journal.events(run_id)), run_id)
        all_sent = {key: n for key, n in sent(server).items() if key.startswith(f"{run_id}:")}
        all_called = {key: n for key, n in processes.tool_calls().items() if key.startswith(f"{run_id}:")}
        assert all_sent | llm_calls == all_sent
        assert all_called | tool_calls == all_called
        # A step that is done again has the key that it had.
        assert all_sent.keys() == {f"{run_id}:{path}" for path in survey.LLM_PATHS}
        assert all_called.keys() == {f"{run_id}:{path}" for path in survey.TOOL_PATHS}
        calls_again += sum(all_sent.values()) - len(all_sent)
        tools_again += sum(all_called.values()) - len(all_called)

    # The moments were not all the same: before the first step, in the midst, and with calls under way.
    assert len(stands) > 8
    assert calls_again > 3
    print(f"{kills} kills in {runs} runs at {len(stands)} different stands; {length:.3f} s a run undisturbed")
    print(f"calls under way that were sent again: {calls_again}; tool calls under way made again: {tools_again}")
