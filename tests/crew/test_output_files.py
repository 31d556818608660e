"""output_file: an input cannot lead out of the folder, and what cannot be written is a task's error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from quarterdeck import Crew
from quarterdeck.errors import InputError, TaskError


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/x", "~/x", "", "a\0b", "..", "..\\x"])
def test_inputs_cannot_lead_out_of_the_folder(
    make_agent: Any, make_task: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A run's inputs come from outside: the path that they make is checked, before any call."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    agent = make_agent(["never asked"])
    with pytest.raises(InputError, match="output_file"):
        Crew(tasks=[make_task(agent, output_file="{name}")]).kickoff({"name": name})
    assert agent.llm.requests == []
    assert [p.name for p in tmp_path.rglob("*")] == ["work"]


@pytest.mark.parametrize("name", ["Q&A (draft)", "a/b", "zwölf 日本", "..."])
def test_other_inputs_make_a_path(
    make_agent: Any, make_task: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Nothing passes through a shell: its characters are those of a name."""
    monkeypatch.chdir(tmp_path)
    Crew(tasks=[make_task(make_agent(["x"]), output_file="out/{name}.md")]).kickoff({"name": name})
    assert Path(f"out/{name}.md").read_text() == "x"


def test_an_absolute_path_of_the_program(make_agent: Any, make_task: Any, tmp_path: Path) -> None:
    """The program may write where it likes; its inputs stay below that."""
    task = make_task(make_agent(["x", "y"]), output_file=f"{tmp_path}/{{name}}.md")
    Crew(tasks=[task]).kickoff({"name": "a"})
    assert (tmp_path / "a.md").read_text() == "x"
    with pytest.raises(InputError, match="output_file"):
        Crew(tasks=[task]).kickoff({"name": "../a"})


def test_a_file_that_cannot_be_written(make_agent: Any, make_task: Any, tmp_path: Path) -> None:
    """The error names the task, the path and the reason."""
    cases = {"missing folder": ("missing/out.txt", "No such file"), "a folder": (".", "directory")}
    for path, reason in cases.values():
        task = make_task(make_agent(["x"]), output_file=str(tmp_path / path), create_directory=False)
        with pytest.raises(TaskError, match=rf"(?s)task_1.*output_file.*{reason}") as caught:
            Crew(tasks=[task]).kickoff()
        assert isinstance(caught.value.__cause__, OSError)
