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
    "quickstart.py": [
        "# Report # Report - AI LLMs grow 2",
        "['AgentFinish', 'Research AI LLMs in 2025...', 'AI LLMs Senior Data Researcher', 'AI LLMs Analyst', 'after']",
    ],
    "self_evaluation.py": [
        "a fine post after 3",
        "6 ['Write on Flying cars. Feedback: None', 'Write on Flying cars. Feedback: too long', "
        "'Write on Flying cars. Feedback: emojis']",
    ],
    "guardrails.py": ["['ONE TWO', '{\"a\": 1}', 'kind', 'final'] x=2", "True 3"],
    "tools.py": [
        "all used [(2, 3), (1, 1), (1, 1)]",
        "['found x', 'SLOW Y', 'fetched z', '6', '1', '6', '1'] 9",
        "found q 8",
    ],
    "manager_agent.py": ["['a text about two cats', '', 'printed'] Project Manager", "3 8 8"],
    "persisted.py": ["11", "22 True", "33 False", "Draft 2: ok great ['needs_revision', 'approved']"],
    "agents_alone.py": [
        "True name='Rex' age=3 r 1",
        "here: analyse, here: report, here: plain",
        "here: inside a loop",
        "['here: about 1', 'here: about 2'] here: about 3",
    ],
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
