"""``quarterdeck new``: the project tests, runs and serves as it stands, in processes of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import quarterdeck
from quarterdeck.errors import ConfigError
from quarterdeck.project import Registry
from quarterdeck.project.scaffold import new_project
from quarterdeck.testing import LoopbackServer

SOURCE = Path(quarterdeck.__file__).parents[1]
SECONDS = 60.0


@pytest.fixture
def provider() -> Iterator[LoopbackServer]:
    """The only model that the processes can reach."""
    with LoopbackServer(
        by=lambda request: "A fact." if "List three" in str(request.messages) else "A report."
    ) as server:
        yield server


@pytest.fixture
def environment(provider: LoopbackServer) -> dict[str, str]:
    """What the processes are given: nothing of this one's settings."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}
    return kept | {
        "PYTHONPATH": str(SOURCE),
        "OPENAI_API_KEY": "sk-test",
        "OPENAI_BASE_URL": provider.base_url,
        "QUARTERDECK_TOKEN": "secret",
    }


@pytest.fixture
def command(environment: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            stdin=subprocess.DEVNULL,
        )

    return run


def test_a_crew_project(tmp_path: Path, command: Any, provider: LoopbackServer, environment: dict[str, str]) -> None:
    """Its own test passes, ``run`` prints the report, ``serve`` answers a kickoff."""
    made = command(tmp_path, "quarterdeck", "new", "crew", "Harbour log")
    assert made.returncode == 0, made.stderr
    folder = tmp_path / "harbour-log"

    tested = command(folder, "pytest", "-q", "-p", "no:cacheprovider")
    assert tested.returncode == 0, tested.stdout
    assert "1 passed" in tested.stdout
    assert not provider.requests

    kept = ("--journal", "runs.db")
    ran = command(folder, "quarterdeck", "run", "--input", "topic=the harbour", *kept, "--run-id", "first")
    assert (ran.returncode, ran.stdout) == (0, "A report.\n"), ran.stderr
    assert "research: begun by Researcher of the harbour" in ran.stderr
    assert (folder / "report.md").read_text(encoding="utf-8") == "A report."

    again = command(folder, "quarterdeck", "replay", "first", *kept, "--from-task", "report")
    assert (again.returncode, again.stdout) == (0, "A report.\n"), again.stderr
    assert "research: begun" not in again.stderr

    served = serve_and_kickoff(folder, environment, "harbour-log", {"topic": "the sea"})
    assert served == "A report."


def test_a_flow_project(tmp_path: Path, command: Any, provider: LoopbackServer, environment: dict[str, str]) -> None:
    """The same of a flow."""
    made = command(tmp_path, "quarterdeck", "new", "flow", "TideWatch")
    assert made.returncode == 0, made.stderr
    folder = tmp_path / "tide-watch"

    tested = command(folder, "pytest", "-q", "-p", "no:cacheprovider")
    assert tested.returncode == 0, tested.stdout
    assert "2 passed" in tested.stdout

    ran = command(folder, "quarterdeck", "run", "--input", "topic=the harbour", "--input", "max_words=1")
    assert (ran.returncode, ran.stdout) == (0, "A report.\n"), ran.stderr
    assert "Researcher of the harbour" in ran.stderr
    assert len(provider.requests) == 4  # it is too long, and shortened twice

    drawn = command(folder, "quarterdeck", "plot", "--mermaid")
    assert 'm_check -->|"good"| m_save' in drawn.stdout, drawn.stderr

    (folder / ".env").write_text(f"QUARTERDECK_TOKEN={environment.pop('QUARTERDECK_TOKEN')}\n")
    assert serve_and_kickoff(folder, environment, "tide-watch", {"topic": "the sea"}) == "A report."


def serve_and_kickoff(folder: Path, environment: dict[str, str], name: str, inputs: dict[str, Any]) -> str:
    """What a run over HTTP gives, of ``quarterdeck serve .``."""
    server = subprocess.Popen(
        [sys.executable, "-u", "-m", "quarterdeck", "serve", ".", "--port", str(free_port())],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert server.stdout
        base, lines = "", []
        while not base:
            line = server.stdout.readline()
            assert line, "".join(lines)
            lines.append(line)
            if found := re.search(r"API: (http://\S+)/docs", line):
                base = found[1]
        kickoff = ask(f"{base}/crews/{name}/kickoff", {"inputs": inputs})
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            status = ask(f"{base}/{kickoff['kickoff_id']}/status")
            if status["state"] not in ("PENDING", "RUNNING", "STARTED"):
                return str(status["result"]["output"])
            time.sleep(0.05)
        raise AssertionError("the run did not end")
    finally:
        server.terminate()
        server.wait(SECONDS)
        if server.stdout:
            server.stdout.close()


def ask(url: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """One call, made again while nothing listens."""
    request = urllib.request.Request(
        url,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": "Bearer secret", "Content-Type": "application/json"},
    )
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as response:
                return json.load(response)
        except urllib.error.HTTPError:
            raise
        except OSError:
            assert time.monotonic() < deadline, "the server does not listen"
            time.sleep(0.05)


def free_port() -> int:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@pytest.mark.parametrize(("kind", "name"), [("crew", "From pyproject"), ("flow", "Flow from pyproject")])
@pytest.mark.parametrize("table", ["quarterdeck", "crewai"])
def test_pyproject_says_what_there_is(tmp_path: Path, kind: Any, name: str, table: str) -> None:
    """Without a quarterdeck.toml, the type in pyproject.toml does; CrewAI's table too."""
    written = new_project(kind, f"{name} {table}", tmp_path)
    folder = tmp_path / f"{name} {table}".lower().replace(" ", "-")
    (folder / "quarterdeck.toml").unlink()
    pyproject = folder / "pyproject.toml"
    pyproject.write_text(pyproject.read_text().replace("[tool.quarterdeck]", f"[tool.{table}]"))
    entry = Registry.load([str(folder)]).entries()[0]
    assert entry.name == folder.name
    assert entry.runnable.steps
    assert all(file.is_relative_to(folder) for file in written)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """A folder that is there stays as it is."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "README.md").write_text("mine")
    with pytest.raises(ConfigError, match="is there already; nothing was written"):
        new_project("crew", "Mine", tmp_path)
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["README.md"]


@pytest.mark.parametrize("name", ["", "9lives", "a/b", "../a", "json", "quarterdeck", "class", "-", "a--b", "crewai"])
def test_names_that_cannot_be(tmp_path: Path, name: str) -> None:
    """No path, no module that is there already, no word of Python."""
    with pytest.raises(ConfigError, match="cannot be a project's name"):
        new_project("crew", name, tmp_path)
    assert not list(tmp_path.iterdir())
