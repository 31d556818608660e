"""The demo, as a user runs it: the real command, the real local model."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from quarterdeck.demo.crew import Arrival, arrival_form, log_files, quote_form


def quarterdeck(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command, in a process of its own."""
    inherited = {k: v for k, v in os.environ.items() if k not in ("OPENAI_API_KEY", "QUARTERDECK_MODEL")}
    return subprocess.run(
        [sys.executable, "-m", "quarterdeck", *arguments],
        cwd=cwd,
        env=inherited | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.timeout(300)
def test_demo_writes_a_report_from_the_log(tmp_path: Path) -> None:
    """With no key and no network, the local model reads every text, and the report names real ships and cargoes."""
    done = quarterdeck("demo", "--out", "report.md", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    report = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert report in done.stdout
    rows = re.findall(r"^\| (\d\d:\d\d) \| (.+?) \| (.+?) \| (.+?) \|$", report, re.MULTILINE)
    texts = [file.read_text(encoding="utf-8") for file in log_files()]
    assert len(rows) == len(texts) == 6
    for row, text in zip(rows, texts, strict=True):
        assert all(value in text for value in row)
    cargo_right = sum(text.split(". ")[0].endswith(row[3]) for row, text in zip(rows, texts, strict=True))
    assert cargo_right >= 4, report  # the model chooses among what the text has; it may be wrong now and then
    assert "local/smollm2" in report


def test_forms_hold_the_model_to_the_text() -> None:
    """What is not in the text cannot be put into the form."""
    text = log_files()[1].read_text(encoding="utf-8")
    form = arrival_form(text)
    right = {"time": "06:45", "ship": "Silver Gull", "port": "Dogger Bank", "cargo": "12 tonnes of herring"}
    assert form.model_validate(right) == form(**right)
    assert isinstance(form(**right), Arrival)
    for name in right:
        with pytest.raises(ValueError, match=name):
            form.model_validate(right | {name: "invented"})
    with pytest.raises(ValueError, match="sentence"):
        quote_form(text).model_validate({"sentence": "Invented."})


def test_a_model_without_a_key_is_one_clear_line(tmp_path: Path) -> None:
    """No traceback: what is missing, and exit code 2."""
    done = quarterdeck("demo", "--model", "anthropic/claude-sonnet-4-5", cwd=tmp_path, ANTHROPIC_API_KEY="")
    assert done.returncode == 2
    assert "ANTHROPIC_API_KEY" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


def test_events_of_a_journal(tmp_path: Path) -> None:
    """``quarterdeck events`` prints a run as lines and as JSON; an unknown run or file is one clear line."""
    program = (
        "from quarterdeck import Agent, Crew, Task\n"
        "from quarterdeck.testing import ScriptedLLM\n"
        "agent = Agent(role='R', goal='g', llm=ScriptedLLM(['fine']))\n"
        "crew = Crew(tasks=[Task(name='t', description='d', expected_output='e', agent=agent)])\n"
        "crew.kickoff(journal='runs.db', run_id='r1')\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, timeout=60)
    lines = quarterdeck("events", "r1", "--journal", "runs.db", cwd=tmp_path)
    kinds = re.findall(r"(run\.started|llm\.finished|task\.finished|run\.finished)", lines.stdout)
    assert kinds == ["run.started", "llm.finished", "task.finished", "run.finished"]
    whole = quarterdeck("events", "r1", "--journal", "runs.db", "--json", cwd=tmp_path)
    assert whole.stdout.count('"v":1') == 4
    for wrong in (["r2", "--journal", "runs.db"], ["r1", "--journal", "none.db"]):
        failed = quarterdeck("events", *wrong, cwd=tmp_path)
        assert failed.returncode == 2
        assert failed.stderr.startswith("quarterdeck: ")
    assert not (tmp_path / "none.db").exists()


def test_help_loads_nothing_heavy(tmp_path: Path) -> None:
    """``quarterdeck --help`` is quick: no HTTP client, no model runtime, no database."""
    program = (
        "import sys; sys.argv = ['quarterdeck', '--help']\n"
        "from quarterdeck.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'aiohttp', 'xllamacpp', 'sqlite3', 'pydantic', 'genai_prices'} & sys.modules.keys()\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "demo" in done.stdout
