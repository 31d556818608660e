"""Whole programs written for CrewAI, in the style of its documentation, run with no line changed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent / "programs"
PRINTS = {
    "flow_router.py": ["draft after 2", "['improved', 'published'] True"],
    "news/crew.py": ["a text from facts!", "['research', 'write'] AI reporter"],
    "events_and_hooks.py": [
        "ANSWER TO: PLEASE",
        "['hooked started', 'task: ANSWER TO: PLEASE', 'hooked completed']",
    ],
    "structured.py": ["done: extra", "name='Oslo' people=709000 '' extra", "3 709000"],
    "hierarchical.py": ["managed"],
    "many_and_streamed.py": ["['about a', 'about b']", "about c", "about d | about d"],
    "feedback.py": ["published: an article (approved)"],
}


@pytest.mark.parametrize("program", PRINTS)
def test_a_program_runs(program: str, tmp_path: Path) -> None:
    shutil.copytree(PROGRAMS, tmp_path, dirs_exist_ok=True)
    keys = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    command = [sys.executable, "-m", "quarterdeck", "run", "--compat", program]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=60, env={**keys, "HOME": str(tmp_path)}
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == PRINTS[program], done.stderr


def test_every_program_is_tested() -> None:
    found = {str(path.relative_to(PROGRAMS)) for path in PROGRAMS.rglob("*.py") if "__pycache__" not in path.parts}
    assert found == set(PRINTS)
