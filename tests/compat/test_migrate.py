"""``quarterdeck migrate``: imports are rewritten, the rest is listed."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

import quarterdeck
from quarterdeck.cli import app
from quarterdeck.compat.migrate import Remark, migrate
from quarterdeck.compat.names import FACADES
from quarterdeck.errors import ConfigError


def migrated(folder: Path, text: str) -> tuple[str, list[Remark]]:
    file = folder / "a.py"
    file.write_text(text)
    done = migrate(file)
    return file.read_text(), done[0].remarks if done else []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("from crewai import Agent, Crew\n", "from quarterdeck import Agent, Crew\n"),
        (
            "from crewai import (\n    Agent,  # who\n    Crew,\n)\n",
            "from quarterdeck import (\n    Agent,  # who\n    Crew,\n)\n",
        ),
        ("from crewai.agent import Agent\n", "from quarterdeck import Agent\n"),
        ("from crewai.tasks.task_output import TaskOutput as T\n", "from quarterdeck import TaskOutput as T\n"),
        ("from crewai.tools import BaseTool, tool  # ours\n", "from quarterdeck.tools import BaseTool, tool  # ours\n"),
        ("from crewai.tools.base_tool import BaseTool\n", "from quarterdeck.tools import BaseTool\n"),
        (
            "from crewai.agents.agent_builder.base_agent import BaseAgent\n",
            "from quarterdeck import Agent as BaseAgent\n",
        ),
        ("from crewai_tools import FileReadTool\n", "from quarterdeck.tools import ReadFile as FileReadTool\n"),
        ("import crewai\n", "import quarterdeck as crewai\n"),
        ("import crewai as c\n", "import quarterdeck as c\n"),
        ("if True:\n    from crewai import Agent\n", "if True:\n    from quarterdeck import Agent\n"),
        (
            "from crewai.llm import LLM, BaseLLM, ToolCall\n",
            "from quarterdeck import LLM, BaseLLM\nfrom quarterdeck.llm import ToolCall\n",
        ),
        ("from crewai import Agent", "from quarterdeck import Agent"),
        ("import os\nfrom mine import crewai\n", "import os\nfrom mine import crewai\n"),
    ],
)
def test_imports_are_rewritten(before: str, after: str, tmp_path: Path) -> None:
    text, remarks = migrated(tmp_path, before)
    assert text == after
    assert remarks == []
    assert migrated(tmp_path, text) == (after, [])  # a second time changes nothing


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("x = 1\nfrom crewai import RuntimeState\n", 2, "no checkpoint is needed"),
        ("from crewai.rag.config import get_rag_config\n", 1, "give the agent a tool that searches"),
        ("from crewai.nothing import X\n", 1, "nothing under this name"),
        ("import crewai.tools\n", 1, "import the names that are used"),
        ("import os; from crewai import Agent\n", 1, "by hand"),
        ("mock.patch('crewai.llm.LLM')\n", 1, "names a module of CrewAI"),
        ("Agent(role='r', from_repository='x')\n", 1, "Agent(from_repository=…): is not supported"),
        ("def f(:\n", 1, "is no Python"),
    ],
)
def test_the_rest_is_listed(text: str, line: int, said: str, tmp_path: Path) -> None:
    after, remarks = migrated(tmp_path, text)
    assert after == text
    assert [remark.line for remark in remarks] == [line]
    assert said in remarks[0].text


def test_fields_that_are_off_are_no_remark(tmp_path: Path) -> None:
    assert migrated(tmp_path, "Crew(share_crew=False, tracing=None)\n")[1] == []


def test_names_of_the_top_are_exported() -> None:
    assert {name for name in FACADES["crewai"] if not name.startswith("_")} <= set(quarterdeck.__all__)


def test_a_project(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / ".venv").mkdir()
    crew = tmp_path / "src" / "crew.py"
    crew.write_text("from crewai import Crew\n")
    (tmp_path / ".venv" / "x.py").write_text("from crewai import Crew\n")
    (tmp_path / "pyproject.toml").write_text(
        'dependencies = ["crewai[tools]>=1"]\n# crewai\nname = "my-crewai-thing"\n'
    )
    command = CliRunner()
    shown = command.invoke(app, ["migrate", str(tmp_path), "--dry-run"])
    assert "+from quarterdeck import Crew" in shown.output
    assert "1 files would be rewritten, 1 places need a hand" in shown.output
    assert crew.read_text() == "from crewai import Crew\n"
    done = command.invoke(app, ["migrate", str(tmp_path)])
    assert done.exit_code == 0
    assert f"{tmp_path / 'pyproject.toml'}:1: the dependency" in done.output
    assert crew.read_text() == "from quarterdeck import Crew\n"
    assert "crewai" in (tmp_path / ".venv" / "x.py").read_text()


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no file or folder"):
        migrate(tmp_path / "nothing")
