"""Code written for CrewAI runs with ``import quarterdeck.compat`` before it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from quarterdeck.compat.names import FACADES, LEFT_OUT, SAME, home, resolve

NAMES = [(module, name) for module, names in FACADES.items() for name in names]


def run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """In a process of its own: the finder stays where it was put."""
    return subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(("module", "name"), NAMES, ids=[f"{module}.{name}" for module, name in NAMES])
def test_every_name_has_a_home(module: str, name: str) -> None:
    target = home(module, name)
    assert target
    resolve(target)


def test_every_module_can_be_imported_and_is_one_object(tmp_path: Path) -> None:
    code = f"""
import importlib, sys
import quarterdeck.compat
for theirs, ours in {dict(SAME)!r}.items():
    ours = importlib.import_module("quarterdeck." + ours)
    spec, path = ours.__spec__, getattr(ours, "__path__", None)
    assert importlib.import_module(theirs) is ours, theirs
    assert (ours.__spec__, getattr(ours, "__path__", None)) == (spec, path), theirs
    assert ours.__name__.startswith("quarterdeck.")
for theirs in {list(FACADES)!r}:
    assert importlib.import_module(theirs).__name__ == theirs
import quarterdeck.events
from quarterdeck.events import LLMFinished
copies = [n for n, m in sys.modules.items() if n.startswith("crewai") and getattr(m, "__file__", None)]
assert all(sys.modules[n].__name__.startswith("quarterdeck") for n in copies), copies
"""
    done = run(code, tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_crew_of_crewai_runs(tmp_path: Path) -> None:
    code = """
import quarterdeck.compat
import crewai
from crewai import LLM, Agent, BaseLLM, Crew, Process, Task
from crewai.tasks.task_output import TaskOutput
from crewai.tools import BaseTool, tool
from pydantic import BaseModel, Field

class Mine(BaseLLM):
    def call(self, messages, tools=None, callbacks=None, available_functions=None, **kwargs):
        return "42 degrees"

class Input(BaseModel):
    city: str = Field(..., description="the city")

class Weather(BaseTool):
    name: str = "weather"
    description: str = "The weather of a city"
    args_schema: type[BaseModel] = Input
    def _run(self, city: str) -> str:
        return "warm"

def check(output: TaskOutput):
    return ("42" in output.raw, output.raw)

agent = Agent(role="Reporter of {city}", goal="report", backstory="long", llm=Mine(model="mine"), tools=[Weather()])
task = Task(description="Weather of {city}", expected_output="a line", agent=agent, guardrail=check)
crew = Crew(agents=[agent], tasks=[task], process=Process.sequential, verbose=False)
output = crew.kickoff(inputs={"city": "Rome"})
assert output.raw == "42 degrees", output
assert isinstance(output.tasks_output[0], TaskOutput)
assert crewai.tools.BaseTool is BaseTool
import quarterdeck
assert crewai.Agent is quarterdeck.Agent and crewai.__version__ == quarterdeck.__version__
"""
    done = run(code, tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_script_runs_with_no_line_changed(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("name = 'Rome'\n")
    script = tmp_path / "script.py"
    script.write_text(
        """
from crewai import Agent, BaseLLM, Crew, Task
from helper import name

class Mine(BaseLLM):
    def call(self, messages, tools=None, callbacks=None, available_functions=None, **kwargs):
        return "sunny"

agent = Agent(role="r", goal="g", backstory="b", llm=Mine(model="mine"))
crew = Crew(agents=[agent], tasks=[Task(description="Weather of {city}", expected_output="a line", agent=agent)])
if __name__ == "__main__":
    print("the weather of", name, "is", crew.kickoff(inputs={"city": name}))
"""
    )

    def qd(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "quarterdeck", "run", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)

    done = qd("--compat", "script.py")
    assert (done.returncode, done.stdout) == (0, "the weather of Rome is sunny\n"), done.stderr
    done = qd("--compat", "-q", "script.py:crew", "--input", "city=Oslo")
    assert (done.returncode, done.stdout) == (0, "sunny\n"), done.stderr
    assert "name it: script.py:crew" in qd("--compat", "script.py", "--input", "city=Oslo").stderr
    assert "there is no file other.py" in qd("--compat", "other.py").stderr


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("from crewai.a2a import A2AConfig", "agent-to-agent"),
        ("import crewai.state.runtime", "no checkpoint is needed"),
        ("from crewai import RuntimeState", "no checkpoint is needed"),
        ("from crewai_tools import SerperDevTool", "no tool of this name"),
        ("from crewai.agents.cache import CacheHandler", "Crew(cache=True)"),
        ("import crewai.nothing", "nothing under this name"),
        ("from crewai import Nothing", "cannot import name 'Nothing'"),
    ],
)
def test_what_is_left_out_is_said(statement: str, said: str, tmp_path: Path) -> None:
    done = run(f"import quarterdeck.compat\n{statement}", tmp_path)
    assert done.returncode == 1
    assert "ImportError" in done.stderr or "ModuleNotFoundError" in done.stderr
    assert said in done.stderr.splitlines()[-1]


def test_modules_left_out_are_not_offered() -> None:
    for module in [*SAME, *FACADES]:
        assert not any(module == prefix or module.startswith(f"{prefix}.") for prefix in LEFT_OUT), module


def test_the_real_package_must_not_be_there_yet(tmp_path: Path) -> None:
    (tmp_path / "crewai.py").write_text("")
    done = run("import crewai\nimport quarterdeck.compat", tmp_path)
    assert "import quarterdeck.compat before it" in done.stderr.splitlines()[-1]
    done = run("import quarterdeck.compat\nimport crewai\nassert crewai.Agent", tmp_path)
    assert done.returncode == 0, done.stderr
