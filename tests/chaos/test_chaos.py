"""A short form of ``make chaos``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from chaos import Plan, play


async def test_processes_are_killed_ended_and_stopped_while_runs_go_on(postgres_url: str) -> None:
    plan = Plan(runs=20, kills=4, terms=2, stops=2, servers=1, workers=2, pause=0.6, dead_after=1.5, seed=1, limit=100)
    outcome = await play(plan, postgres_url)
    assert not outcome.wrong, str(outcome)
    assert outcome.signals == {"SIGKILL": 4, "SIGTERM": 2, "SIGSTOP": 2}
    assert outcome.states == {"completed": 20}
    assert (outcome.told, outcome.lost) == (20 * 4, 0)
    assert max(outcome.attempts) > 1, "no signal hit a run: the test says nothing"
