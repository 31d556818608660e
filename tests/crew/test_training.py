"""``crew.train``: a person's remarks become rules in the prompts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from quarterdeck import Agent, Crew, Task
from quarterdeck.cli import app
from quarterdeck.crew.training import read_trained
from quarterdeck.errors import ConfigError, RunError
from quarterdeck.runtime.human import HumanAnswer, HumanRequest, Later, human_input
from quarterdeck.testing import LoopbackServer, ScriptedLLM


class Person:
    """Says these things, in order; an empty one accepts."""

    def __init__(self, *said: str) -> None:
        self.said = list(said)

    async def ask(self, request: HumanRequest) -> HumanAnswer:
        text = self.said.pop(0)
        return HumanAnswer(not text, text)


def crew_of(researcher: list[Any], writer: list[Any], **fields: Any) -> Crew:
    first = Agent(role="Researcher of {topic}", goal="Find", backstory="Careful.", llm=ScriptedLLM(researcher))
    second = Agent(role="Writer", goal="Write", llm=ScriptedLLM(writer))
    facts = Task(name="facts", description="Facts on {topic}.", expected_output="Facts", agent=first)
    report = Task(name="report", description="Report.", expected_output="A page", agent=second, context=[facts])
    return Crew(tasks=[facts, report], **fields)


RULES = json.dumps({"rules": ["Give a source for each fact.", " Be short. "]})


@pytest.mark.parametrize("name", ["trained.yaml", "in/trained.json"])
def test_remarks_become_rules_and_prompts(tmp_path: Path, name: str) -> None:
    """What a person says is kept by role, made into rules by the agent's model, and put into its prompts alone."""
    file = tmp_path / name
    crew = crew_of(["a fact\nof the sea", "a fact (atlas)", "another (atlas)", RULES], ["page 1", "page 2"])
    trained = crew.train(2, file, {"topic": "tides"}, human=Person("give a source", "", "", "", ""))
    assert list(trained) == ["Researcher of {topic}"]
    agent = trained["Researcher of {topic}"]
    assert agent.suggestions == ["Give a source for each fact.", "Be short."]
    remark = agent.feedback[0]
    assert (remark.task, remark.output, remark.said, remark.accepted) == (
        *("facts", "a fact\nof the sea", "give a source"),
        "a fact (atlas)",
    )
    assert read_trained(file) == trained

    teaching = str(crew.tasks[0].agent.llm.requests[-1].messages)  # type: ignore[union-attr]
    assert "give a source" in teaching
    assert "a fact (atlas)" in teaching
    assert crew.tasks[0].human_input is False

    later = crew_of(["x"], ["y"], trained_agents_file=file)
    later.kickoff({"topic": "tides"})
    system = [str(task.agent.llm.requests[0].messages[0]["content"]) for task in later.tasks]  # type: ignore[union-attr]
    assert system[0].endswith("\n- Give a source for each fact.\n- Be short.")
    assert "Careful." in system[0]
    assert "feedback" not in system[1]
    assert later.definition != crew.definition


def test_the_file_can_be_read_and_edited(tmp_path: Path) -> None:
    """Plain YAML, with texts of several lines as they are; what is in it is kept, and added to."""
    file = tmp_path / "trained.yaml"
    file.write_text("Writer:\n  suggestions:\n  - No brand names.\n", encoding="utf-8")
    crew = crew_of(["f"], ["one\ntwo", "page", json.dumps({"rules": ["No brand names.", "One line."]})])
    crew.train(1, file, {"topic": "x"}, human=Person("", "one line", ""))
    text = file.read_text(encoding="utf-8")
    assert "output: |-\n      one\n      two\n" in text
    assert yaml.safe_load(text)["Writer"]["suggestions"] == ["No brand names.", "One line."]
    assert "- No brand names." in str(crew.tasks[1].agent.llm.requests[-1].messages[-1]["content"])  # type: ignore[union-attr]


def test_what_is_said_is_kept_at_once(tmp_path: Path) -> None:
    """A run that fails after it loses no remark."""
    file = tmp_path / "trained.yaml"
    with pytest.raises(AssertionError):  # the script ends
        crew_of(["a fact"], []).train(1, file, {"topic": "x"}, human=Person("give a source"))
    assert read_trained(file)["Researcher of {topic}"].feedback[0].said == "give a source"
    with pytest.raises(RunError, match="ended as pending_human_input"):
        crew_of(["a fact"], []).train(1, file, {"topic": "x"}, human=Later())


def test_nothing_said_makes_no_file(tmp_path: Path) -> None:
    """And no call for rules."""
    assert crew_of(["f"], ["r"]).train(1, tmp_path / "t.yaml", {"topic": "x"}, human=Person("", "")) == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("none.yaml", None, "there is no file .*make it with crew.train"),
        ("t.pkl", "", "is kept as YAML or JSON: name a file that ends with .yaml, got .*t.pkl"),
        ("t.yaml", "[1]", "must be a mapping of agents' roles"),
        ("t.yaml", "a: [", "t.yaml: while parsing"),
        ("t.yaml", "Writer: {sugestions: [x]}", "Writer: sugestions: Extra inputs are not permitted"),
        ("t.json", '{"Writer": {"suggestions": "x"}}', "Writer: suggestions: Input should be a valid list"),
    ],
)
def test_files_that_are_none(tmp_path: Path, name: str, text: str | None, said: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=said):
        crew_of([], [], trained_agents_file=tmp_path / name)


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``quarterdeck train`` asks, writes the file and prints the rules."""
    (tmp_path / "crew.yaml").write_text(
        "agents:\n  a: {role: Writer, goal: Write, llm: openai/gpt-4o-mini}\n"
        "tasks:\n  facts: {description: Facts., expected_output: Facts, agent: a}\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    with LoopbackServer(["a fact", "a fact (atlas)", RULES]) as server, human_input(Person("give a source", "")):
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        result = CliRunner().invoke(app, ["train", "-n", "1", "-f", "t.yaml"])
    assert result.exit_code == 0, result.output
    assert "Writer:\n  - Give a source for each fact.\n  - Be short.\n" in result.stdout
    assert read_trained("t.yaml")["Writer"].feedback[0].accepted == "a fact (atlas)"
