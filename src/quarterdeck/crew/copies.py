"""A crew like another one, with something changed: definitions are never changed in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from quarterdeck.agent import Agent
from quarterdeck.crew.crew import Crew
from quarterdeck.llm import create_llm
from quarterdeck.task import Task


def with_llm(crew: Crew, llm: Any) -> Crew:
    """The crew with one model for all its agents.

    Args:
        crew: The crew; it stays as it is.
        llm: A model's name, an ``LLM`` or a ``BaseLLM``.
    """
    model = create_llm(llm)
    return with_agents(crew, lambda agent: agent.model_copy(update={"llm": model}))


def with_agents(crew: Crew, change: Callable[[Agent], Agent]) -> Crew:
    """The crew with other agents in the places of its own.

    Args:
        crew: The crew; it stays as it is.
        change: Gives the agent that is to take an agent's place.
    """
    agents: dict[int, Agent] = {}
    tasks: dict[int, Task] = {}

    def other(agent: Agent) -> Agent:
        return agents.setdefault(id(agent), change(agent))

    for task in crew.tasks:
        update: dict[str, Any] = {"agent": other(task.agent) if task.agent else None}
        if task.context_tasks is not None:
            update["context"] = [tasks[id(item)] for item in task.context_tasks]
        tasks[id(task)] = task.model_copy(update=update)
    update = {"agents": [other(agent) for agent in crew.agents], "tasks": list(tasks.values())}
    if crew.manager:
        update["manager_agent"] = other(crew.manager)
    copy = crew.model_copy(update=update)
    for name in ("contract", "definition", "manager"):  # what the other crew has worked out
        vars(copy).pop(name, None)
    return copy
