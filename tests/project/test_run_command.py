"""``quarterdeck run``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from quarterdeck import Agent, Crew, Task
from quarterdeck.cli import app
from quarterdeck.cli.run import read_inputs
from quarterdeck.crew.copies import with_llm
from quarterdeck.errors import ConfigError, InputError
from quarterdeck.testing import LoopbackServer, ScriptedLLM

CREW = """\
    from quarterdeck import Agent, Crew, Task

    agent = Agent(role="Pilot", goal="Know", llm="anthropic/claude-sonnet-4-5")
    crew = Crew(tasks=[Task(name="ask", description="How deep is {harbour}?", expected_output="", agent=agent)])
    """


LOUD = """
    from quarterdeck import Agent, Crew, Task
    from quarterdeck.flow import Flow, start

    agent = Agent(role="Pilot", goal="Know", llm="anthropic/claude-sonnet-4-5", verbose=True)
    crew = Crew(tasks=[Task(name="ask", description="How deep?", expected_output="", agent=agent)], verbose=True)


    class Watch(Flow):
        @start()
        def look(self):
            return crew.kickoff().raw
    """


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackServer]:
    with LoopbackServer(by=lambda request: "14 m") as server:
        for name in ("OPENAI", "ANTHROPIC"):
            monkeypatch.setenv(f"{name}_API_KEY", "sk-test")
            monkeypatch.setenv(f"{name}_BASE_URL", server.base_url)
        monkeypatch.setenv("QUARTERDECK_MODEL", "openai/gpt-4o-mini")
        yield server


@pytest.fixture
def run(write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, server: LoopbackServer) -> Callable[..., Result]:
    monkeypatch.chdir(
        write({"crew.py": CREW, "loud.py": LOUD, "in.yaml": "harbour: Oslo\n", ".env": "QD_FROM_FILE='it is' # yes\n"})
    )
    monkeypatch.delenv("QD_FROM_FILE", raising=False)

    def call(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["run", *arguments])

    return call


def test_it_prints_what_happens_and_the_result(run: Callable[..., Result], server: LoopbackServer) -> None:
    result = run("crew.py:crew", "--input", "harbour=Bergen")
    assert result.exit_code == 0
    assert result.stdout == "14 m\n"
    assert "ask: begun by Pilot" in result.stderr
    assert "How deep is Bergen?" in str(server.requests[0].request.messages)
    assert server.requests[0].path == "/v1/messages"


def test_what_is_verbose_is_printed_once(run: Callable[..., Result]) -> None:
    """Within a flow too; and not at all where the result alone is wanted."""
    for target in ("loud.py:crew", "loud.py:Watch"):
        lines = run(target).stderr.splitlines()
        assert len([line for line in lines if "ask: begun by Pilot" in line]) == 1
        assert len(set(lines)) == len(lines)
        assert run(target, "-q").stderr == ""


def test_another_model_and_inputs_of_a_file(run: Callable[..., Result], server: LoopbackServer) -> None:
    result = run("crew.py", "--inputs", "in.yaml", "--model", "openai/gpt-4o-mini", "--quiet")
    assert (result.stdout, result.stderr) == ("14 m\n", "")
    assert "How deep is Oslo?" in str(server.requests[0].request.messages)
    assert server.requests[0].path.endswith("/chat/completions")


def test_a_run_in_a_journal_goes_on(run: Callable[..., Result], server: LoopbackServer) -> None:
    for _ in range(2):
        assert run("crew.py", "--inputs", "in.yaml", "--journal", "j.db", "--run-id", "r").stdout == "14 m\n"
    assert len(server.requests) == 1


def test_what_is_wrong(run: Callable[..., Result]) -> None:
    missing = run("crew.py")
    assert isinstance(missing.exception, InputError)
    assert missing.exception.missing == ("harbour",)
    assert isinstance(run("other.py").exception, ConfigError)
    several = Path("quarterdeck.toml")
    several.write_text('[crews.a]\ntarget = "crew.py"\n[crews.b]\ntarget = "crew.py"\n')
    assert "name one: --crew a" in str(run(".").exception)
    assert run(".", "--crew", "b", "--inputs", "in.yaml").exit_code == 0
    assert "has no crew 'c'" in str(run(".", "--crew", "c").exception)


def test_env_files(run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables of ``.env`` are set where they are not set; a wrong line is named and not shown."""
    import os

    monkeypatch.setenv("QD_FROM_FILE", "set")
    run("crew.py", "--inputs", "in.yaml")
    assert os.environ["QD_FROM_FILE"] == "set"
    monkeypatch.delenv("QD_FROM_FILE")
    run("crew.py", "--inputs", "in.yaml")
    assert os.environ.pop("QD_FROM_FILE") == "it is"
    Path(".env").write_text("A=1\nsk-secret\n")
    failed = str(run("crew.py").exception)
    assert ".env, line 2: expected NAME=value" in failed
    assert "secret" not in failed
    os.environ.pop("A")


def test_inputs(tmp_path: Path) -> None:
    """A value that begins like JSON and is JSON is one; everything else is text."""
    file = tmp_path / "in.json"
    file.write_text(json.dumps({"a": 1, "b": 2}))
    assert read_inputs(["b=2024", 'c={"x": [1]}', "d=[not json", "e=x=y", "f="], file) == {
        "a": 1,
        "b": "2024",
        "c": {"x": [1]},
        "d": "[not json",
        "e": "x=y",
        "f": "",
    }
    with pytest.raises(ConfigError, match="must be NAME=VALUE, got 'bare'"):
        read_inputs(["bare"], None)


def test_a_crew_on_another_model() -> None:
    """``with_llm``: the first crew stays as it is; contexts lead to the copies."""
    first, second = ScriptedLLM(["never"]), ScriptedLLM(["one", "two"])
    agent = Agent(role="Pilot", goal="Know", llm=first)
    one = Task(name="one", description="One {x}.", expected_output="", agent=agent)
    two = Task(name="two", description="Two.", expected_output="", agent=agent, context=[one])
    crew = Crew(agents=[agent], tasks=[one, two])
    assert crew.contract.required == ("x",)
    copy = with_llm(crew, second)
    assert copy.kickoff({"x": "1"}).raw == "two"
    assert "one" in str(second.requests[1].messages)
    assert agent.llm is first
    assert copy.agents[0] is copy.tasks[0].agent is copy.tasks[1].agent
    assert copy.definition == crew.definition
