"""``kill -9`` at random moments of a branching, looping flow with crews: it ends in the same state, and nothing that
has finished is done again."""

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
import voyage

from quarterdeck.events import Event, LLMFinished, MethodFinished, RunFinished
from quarterdeck.runtime.journal import Journal
from quarterdeck.testing import LoopbackServer

KILLS = 25  # on each of the two databases
KILLS_OF_A_RUN = 6
"""At most: then it is left to end, and another one begins."""


class Processes:
    """Starts processes that make the voyage (see ``voyage.py``) and kills them."""

    def __init__(self, server: LoopbackServer, journal_url: str, folder: Path) -> None:
        self.calls = folder / "calls.log"
        self.output = folder / "output.json"
        self._job = {"base_url": server.base_url, "journal": journal_url}
        self._job |= {"calls": str(self.calls), "output": str(self.output)}
        self._program = subprocess.Popen(
            [sys.executable, voyage.__file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )

    def start(self, run_id: str, kill_after: float = 30) -> bool:
        """Makes the run in a new process, and kills it after some seconds; whether it ended before that."""
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

    def take_calls(self) -> list[str]:
        """The methods that were called since the last look."""
        names = self.calls.read_text().splitlines() if self.calls.exists() else []
        self.calls.unlink(missing_ok=True)
        return names

    def close(self) -> None:
        assert self._program.stdin
        assert self._program.stdout
        self._program.stdin.close()
        self._program.wait(30)
        self._program.stdout.close()


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    with LoopbackServer(by=voyage.answer, latency=0.006) as server:
        yield server


@pytest.fixture
def processes(server: LoopbackServer, journal_url: str, tmp_path: Path) -> Iterator[Processes]:
    processes = Processes(server, journal_url, tmp_path)
    yield processes
    processes.close()


def sent(server: LoopbackServer) -> Counter[str]:
    """How often each step's request came, answered or not, by step key."""
    return Counter(received.headers["idempotency-key"] for received in server.requests)


def done(events: list[Event], kind: type[Event]) -> list[str]:
    return [event.path for event in events if isinstance(event, kind)]


@pytest.mark.timeout(300)
@pytest.mark.xdist_group("kill")
def test_a_flow_is_killed_at_random_moments(server: LoopbackServer, processes: Processes, journal: Journal) -> None:
    assert processes.start("undisturbed")  # the first makes the tables
    began = time.monotonic()
    assert processes.start("undisturbed 2")
    length = time.monotonic() - began
    expected = processes.result()
    assert expected["state"]["count"] == 111 * voyage.ROUNDS
    assert processes.take_calls() != []

    chance = random.Random(5)
    kills, runs, stands = 0, 0, set[tuple[str, ...]]()
    calls_again, methods_again = 0, 0
    while kills < KILLS:
        runs += 1
        run_id = f"run {runs}"
        llm_calls: dict[str, int] = {}
        finished: list[str] = []
        most = min(KILLS, kills + KILLS_OF_A_RUN)
        while True:
            ended = processes.start(run_id, chance.uniform(0, length * 1.1) if kills < most else 30)
            events = asyncio.run(journal.events(run_id))
            # What had finished before was not called: what was called is no more than the calls that had not.
            left = Counter(path.partition("/")[0] for path in voyage.METHODS - set(finished))
            called = Counter(processes.take_calls())
            assert called <= left, (called, left)
            methods_again += sum(called.values())
            finished = done(events, MethodFinished)
            assert len(set(finished)) == len(finished)
            if ended:
                break
            kills += 1
            stands.add(tuple(sorted(event.path for event in events)))
            keys = {f"{run_id}:{path}" for path in done(events, LLMFinished)}
            llm_calls |= {key: sent(server)[key] for key in keys - llm_calls.keys()}
        assert processes.result() == expected
        assert set(finished) == voyage.METHODS
        assert set(done(events, LLMFinished)) == voyage.LLM_PATHS
        assert isinstance(events[-1], RunFinished)
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        all_sent = {key: n for key, n in sent(server).items() if key.startswith(f"{run_id}:")}
        assert all_sent | llm_calls == all_sent  # what was finished then has not been sent since
        assert all_sent.keys() == {f"{run_id}:{path}" for path in voyage.LLM_PATHS}
        calls_again += sum(all_sent.values()) - len(all_sent)
        methods_again -= len(voyage.METHODS)

    # The moments were not all the same: before the first method, in the midst, and with methods and calls under way.
    assert len(stands) > 5
    assert calls_again > 1
    assert methods_again > 1
    print(f"{kills} kills in {runs} runs at {len(stands)} different stands; {length:.3f} s a run undisturbed")
    print(f"under way and done again: {calls_again} calls to the model, {methods_again} methods")
