"""What the page about serving shows of ``quarterdeck.toml`` can be loaded."""

from __future__ import annotations

import re
from pathlib import Path

from quarterdeck.project import Registry

PAGE = Path(__file__).resolve().parents[2] / "docs" / "serving.md"
CREW = """
from quarterdeck import Agent, Crew, Task
from quarterdeck.testing import ScriptedLLM

agent = Agent(role="Writer", goal="Write", llm=ScriptedLLM(["fine"]))
crew = Crew(tasks=[Task(description="Write", expected_output="e", agent=agent)])
"""


def test_quarterdeck_toml(tmp_path: Path) -> None:
    """Names, versions, and which one is current."""
    (block,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "quarterdeck.toml").write_text(block, encoding="utf-8")
    for file in re.findall(r'"([\w/]+\.py):crew"', block):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(CREW, encoding="utf-8")
    registry = Registry.load(["quarterdeck.toml"], tmp_path)
    assert registry.versions() == [("report", "3"), ("survey", "1"), ("survey", "2")]
    current = registry.get("survey")
    assert current
    assert current.version == "2"
