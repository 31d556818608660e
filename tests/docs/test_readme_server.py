"""The README's server and its five curls run as they are written."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from quarterdeck.testing import LoopbackServer, call

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
SHELL: list[str] = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)


def block_with(text: str) -> str:
    """The one shell block that has a text."""
    (found,) = [block for block in SHELL if text in block]
    return found


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """One in which port 8000 may be taken: the server takes a free one, and curl goes there."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OPENAI", "QUARTERDECK"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    return {**kept, "PATH": path, "CURL_HOME": str(tmp_path), "QUARTERDECK_PORT": "0", "no_proxy": "*"}


@pytest.fixture
def served(tmp_path: Path, environment: dict[str, str]) -> Iterator[LoopbackServer]:
    """The README's crew in ``my_crew.py``, served by the README's commands, with a model on loopback."""
    code = re.search(r"In `my_crew.py`:\n\n```python\n(.*?)```", README, re.DOTALL)
    assert code
    (tmp_path / "my_crew.py").write_text(code[1], encoding="utf-8")
    script = [call("population", city="Bergen"), "291,940", "Bergen has 291,940 inhabitants."]
    with LoopbackServer(script) as model:
        keys = {"OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": model.base_url}
        # The last command takes the shell's place, so that it gets the signal.
        commands = block_with("quarterdeck serve").replace("\nquarterdeck serve", "\nexec quarterdeck serve")
        process = subprocess.Popen(
            ["sh", "-c", commands], cwd=tmp_path, env=environment | keys, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout
        try:
            said = iter(process.stdout.readline, "")
            port = next(found[1] for line in said if (found := re.match(r"API: http://127.0.0.1:(\d+)/", line)))
            (tmp_path / ".curlrc").write_text(f'connect-to = "localhost:8000:127.0.0.1:{port}"\n')
            yield model
        finally:
            process.send_signal(signal.SIGTERM)
            process.stdout.close()
            process.wait(30)


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_five_curls(served: LoopbackServer, tmp_path: Path, environment: dict[str, str]) -> None:
    """Each is run once, but for the status, which is to be asked for until a person is."""
    lines = [line for line in block_with("/inputs").splitlines() if line and not line.startswith("#")]
    curls = [line for line in lines if "curl" in line]
    assert len(curls) == 5
    script = [lines[0]]
    for line in curls:
        if "/status" in line:
            line = f"until {line} > status && grep -q pending_human_input status; do sleep 0.1; done; cat status"
        script += [line, "echo; echo ---"]
    done = subprocess.run(
        ["sh", "-e", "-c", "\n".join(script)], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=90
    )
    assert done.returncode == 0, done.stderr
    inputs, _, status, resumed, events, _ = done.stdout.split("\n---\n")
    assert json.loads(inputs) == {"inputs": ["city"]}
    asked = json.loads(status)
    assert (asked["status"], asked["pending"]["task_id"]) == ("pending_human_input", "write")
    assert asked["pending"]["output"] == "Bergen has 291,940 inhabitants."
    assert json.loads(resumed)["status"] == "resumed"
    assert re.search(r'event: end\s+data: \{"status": "completed"\}', events)
    assert events.count("event: llm.finished") == len(served.requests) == 3
