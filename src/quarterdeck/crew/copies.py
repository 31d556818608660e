"""A crew like another one, with something changed: definitions are never changed in place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from quarterdeck.agent.agent import Agent
from quarterdeck.crew.staff import each_once
from quarterdeck.llm import create_llm
from quarterdeck.task.task import Task

if TYPE_CHECKING:
    from quarterdeck.crew.crew import Crew


def with_llm(crew: Crew, llm: Any) -> Crew:
    """The crew with one model for all that it does: its agents, its manager, and their plans.

    Args:
        crew: The crew; it stays as it is.
        llm: A model's name, an ``LLM`` or a ``BaseLLM``.
    """
    model = create_llm(llm)

    def change(agent: Agent) -> Agent:
        config = agent.planning_config
        plans = {"planning_config": config.again(llm=model)} if config and config.llm else {}
        return agent.again(llm=model, **plans)

    return with_agents(crew, change, **({"planning_llm": model} if crew.planning_llm else {}))


def asking(crew: Crew) -> Crew:
    """The crew with a person who is asked about each task's output."""
    return with_agents(crew, lambda agent: agent, {"human_input": True})


def with_agents(
    crew: Crew, change: Callable[[Agent], Agent], of_tasks: Mapping[str, Any] | None = None, /, **changes: Any
) -> Crew:
    """The crew with other agents in the places of its own, the manager's too.

    Args:
        crew: The crew; it stays as it is.
        change: Gives the agent that is to take an agent's place.
        of_tasks: Other arguments of each task.
        changes: Other arguments of the crew.
    """
    agents = {id(agent): change(agent) for agent in each_once([*crew.staff.agents, crew.manager])}
    tasks: dict[int, Task] = {}
    for task in crew.tasks:
        update: dict[str, Any] = dict(of_tasks or {})
        if task.agent:
            update["agent"] = agents[id(task.agent)]
        if task.context_tasks is not None:
            update["context"] = [tasks[id(item)] for item in task.context_tasks]
        tasks[id(task)] = task.again(**update)
    if crew.manager:
        changes["manager_agent"] = agents[id(crew.manager)]
    changes |= {"agents": [agents[id(agent)] for agent in crew.agents], "tasks": list(tasks.values())}
    made = crew.again(**changes)
    made.add_hooks(*crew.hooks)
    return made
