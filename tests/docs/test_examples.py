"""The examples run as they stand, on a provider of their own on loopback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from quarterdeck.testing import LoopbackServer, call

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def run(name: str, folder: Path, server: LoopbackServer | None = None, *arguments: str) -> str:
    """An example's output; its default model is the server's."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OPENAI", "QUARTERDECK"))}
    if server:
        environment |= {"OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": server.base_url}
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_research(tmp_path: Path) -> None:
    """Tools, context, structured output, a file."""
    summary = '{"title": "Tides", "facts": ["High water comes twice a day."], "confidence": "high"}'
    script: list[Any] = [call("lookup", topic="tides"), "High water comes twice a day.", summary]
    with LoopbackServer(script) as server:
        out = run("research.py", tmp_path, server)
    assert "Tides" in out
    assert (tmp_path / "summary.json").exists()


def test_guarded(tmp_path: Path) -> None:
    """A form, a refused claim, a condition, a sentence."""
    depths = '{"harbour": "Bergen", "depths_m": [14.5, 9], "remark": %s}'
    script: list[Any] = [
        call("depth", harbour="Bergen"),
        depths % '"The bottom is mud."',
        '{"unsupported": ["The bottom is mud."], "score": 6}',
        depths % "null",
        '{"unsupported": [], "score": 10}',
        "Bergen has 9 m at the south quay.",
        '{"valid": true, "feedback": ""}',
    ]
    with LoopbackServer(script) as server:
        out = run("guarded.py", tmp_path, server)
        assert len(server.requests) == len(script)
    assert out.splitlines() == ["Bergen has 9 m at the south quay.", "survey: depth ok [survey/1/tool/1]"]


def test_durable(tmp_path: Path) -> None:
    """Killed after the first task, it goes on, and the first task's call is not made again."""
    with LoopbackServer(["facts", "text"]) as server:
        assert "stopped" in run("durable.py", tmp_path, server, "--stop-after-first")
        assert "text" in run("durable.py", tmp_path, server)
        assert len(server.requests) == 2


def test_budgeted(tmp_path: Path) -> None:
    """It ends at its limit and says which."""
    with LoopbackServer(["one", "two", "three"]) as server:
        out = run("budgeted.py", tmp_path, server)
        assert len(server.requests) == 2
    assert "limited by max_llm_calls" in out


def test_hierarchy(tmp_path: Path) -> None:
    """A manager, a coworker with a tool, a question; who did what is told."""
    work = call("delegate_work_to_coworker", task="Measure Bergen", context="For a ship", coworker="Surveyor")
    question = call("ask_question_to_coworker", question="12 m at 14.5 m?", context="", coworker="Pilot")
    script: list[Any] = [work, call("depth", harbour="Bergen"), "14.5 m", question, "Yes.", "Yes, with 2.5 m to spare."]
    with LoopbackServer(script) as server:
        out = run("hierarchy.py", tmp_path, server)
    assert "call/1/tool/1/delegate/llm/2: Surveyor: 14.5 m" in out
    assert "call/1/tool/2/ask/llm/1: Pilot: Yes." in out
    assert out.endswith("Yes, with 2.5 m to spare.\n")


def test_custom_llm(tmp_path: Path) -> None:
    """A model of one's own, and no provider."""
    assert "4 words" in run("custom_llm.py", tmp_path)


def test_approval(tmp_path: Path) -> None:
    """A hook that lets a small payment pass, and a stream of chunks."""
    with LoopbackServer([call("pay", to="Ada", amount=80), "Ada was paid."]) as server:
        assert run("approval.py", tmp_path, server) == "Ada was paid.\n"


def test_approval_flow(tmp_path: Path) -> None:
    """A flow that loops until a person approves; the second time it only tells its result."""
    script: list[Any] = ["Harbours are wet.", '{"outcome": "change"}', "Harbours are safe."]
    with LoopbackServer(script) as server:
        assert run("approval_flow.py", tmp_path, server, "not so wet", "publish") == "Harbours are safe.\n"
        assert "not so wet" in str(server.requests[2].body)
        assert run("approval_flow.py", tmp_path, server) == "Harbours are safe.\n"
