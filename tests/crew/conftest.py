from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from quarterdeck import Agent, Task
from quarterdeck.testing import ScriptedLLM
from quarterdeck.tools import tool


@pytest.fixture
def make_agent() -> Callable[..., Agent]:
    """An agent with a scripted model: ``make_agent(["answer", ...], role=...)``; the model is ``agent.llm``."""

    def make(
        answers: Any = None, *, tools_native: bool = True, schemas: bool = False, by: Any = None, **fields: Any
    ) -> Agent:
        llm = ScriptedLLM(answers, by=by, tools=tools_native, schemas=schemas)
        return Agent(**({"role": "Pilot", "goal": "Know the way", "backstory": "Old.", "llm": llm} | fields))

    return make


@pytest.fixture
def make_task() -> Callable[..., Task]:
    """A task: ``make_task(agent, name=...)``."""

    def make(agent: Agent, **fields: Any) -> Task:
        return Task(**({"description": "Do it.", "expected_output": "It", "agent": agent} | fields))

    return make


@pytest.fixture
def lookup() -> Any:
    """A tool that tells what it was asked."""

    @tool("lookup")
    def lookup(query: str) -> str:
        """Look up a record.

        Args:
            query: What to look for.
        """
        return f"record of {query}"

    return lookup


def prompt(agent: Agent, number: int = 0) -> str:
    """The user message of a call that an agent's model got."""
    return str(next(m for m in agent.llm.requests[number].messages if m["role"] == "user")["content"])


def roles(agent: Agent, number: int) -> list[str]:
    """The roles of the messages of a call."""
    return [m["role"] for m in agent.llm.requests[number].messages]
