"""What is loaded when: the import lines of users load no server, database, LLM SDK or terminal library."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = (
    *("aiohttp", "rich", "typer", "sqlite3", "psycopg", "genai_prices", "httpx", "httpx2", "litellm", "xllamacpp"),
    *("duckdb", "yaml", "openai", "anthropic", "fastapi", "uvicorn", "sqlalchemy", "dbos", "mcp"),
)

CREW_LINES = """
from quarterdeck import Agent, Crew, LLM, Process, Task
from quarterdeck.tools import tool
"""

DEFINITIONS = (
    CREW_LINES
    + """
from quarterdeck.tools import BaseTool

@tool
def look_up(word: str) -> str:
    "Looks a word up."
    return word

agent = Agent(role="R", goal="G", backstory="B", llm=LLM("openai/gpt-4o-mini", api_key="x"), tools=[look_up])
Crew(agents=[agent], tasks=[Task(description="D", expected_output="T", agent=agent)], process=Process.sequential)
"""
)

RUN = (
    CREW_LINES
    + """
from quarterdeck.testing import ScriptedLLM
agent = Agent(role="R", goal="G", llm=ScriptedLLM(["x"]))
print(Crew(tasks=[Task(description="D", expected_output="T", agent=agent)]).kickoff().raw)
"""
)


def loaded(code: str) -> set[str]:
    """Top-level modules that a new Python has after some code."""
    code += "\nimport sys; print('|'.join(sys.modules))"
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in made.stdout.splitlines()[-1].split("|")}


@pytest.mark.parametrize(
    "code",
    ["import quarterdeck", CREW_LINES, DEFINITIONS, RUN, "from quarterdeck import *"],
    ids=["package", "import lines", "definitions", "a run in memory", "star"],
)
def test_nothing_heavy_is_loaded(code: str) -> None:
    assert loaded(code) & set(HEAVY) == set()


def test_the_package_alone_loads_next_to_nothing() -> None:
    added = loaded("import quarterdeck") - loaded("")
    assert "quarterdeck" in added
    assert "pydantic" not in added
    assert "asyncio" not in added


def test_every_name_of_the_package_is_there() -> None:
    code = "import quarterdeck; [getattr(quarterdeck, name) for name in quarterdeck.__all__]; print('all')"
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert made.stdout == "all\n"
