"""Who works in a crew: the agents, and in a hierarchical crew the manager."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from quarterdeck.agent import prompts
from quarterdeck.agent.agent import Agent
from quarterdeck.agent.framing import Persona
from quarterdeck.task.task import Task
from quarterdeck.tools import BaseTool


@dataclass(frozen=True, slots=True)
class Staff:
    """Who works in a crew.

    Args:
        agents: All agents that can be handed work, in the crew's order; the manager is not among them.
        manager: The manager of a hierarchical crew; None in a sequential one.
        max_delegations: Pieces of work and questions that may be handed out in one try of a task.
        max_depth: How far a piece may be handed on.
        lessons: Rules from training, by the agents' roles.
    """

    agents: tuple[Agent, ...]
    manager: Agent | None
    max_delegations: int
    max_depth: int
    lessons: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])

    def persona(self, agent: Agent, inputs: Mapping[str, Any]) -> Persona:
        """An agent's texts with the inputs put in, and what it has learned.

        Raises:
            InputError: An input is missing.
        """
        persona, rules = agent.persona(inputs), self.lessons.get(agent.role)
        return replace(persona, backstory=prompts.lessons(persona.backstory, rules)) if rules else persona

    def worker(self, task: Task) -> Agent:
        """Who does a task: the manager, where there is one."""
        worker = self.manager or task.agent
        assert worker, "the crew has checked it"
        return worker

    def tools(self, task: Task) -> list[BaseTool]:
        """The worker's tools for a task. A manager keeps its own beside the task's, as in CrewAI."""
        if self.manager:
            return [*self.manager.tools, *task.tools]
        return task.tools or self.worker(task).tools

    def coworkers(self, task: Task) -> list[Agent]:
        """Whom the worker can hand parts of a task to. A manager has all agents, or the task's own alone."""
        if self.manager:
            return [task.agent] if task.agent else list(self.agents)
        worker = self.worker(task)
        return [agent for agent in self.agents if agent is not worker] if worker.allow_delegation else []

    def taking_part(self, tasks: Iterable[Task]) -> list[Agent]:
        """The agents that the tasks may need: their own, and where work is handed out, all others too."""
        workers = [self.worker(task) for task in tasks]
        shared = self.manager is not None or any(agent.allow_delegation for agent in workers)
        return each_once([*workers, *self.agents] if shared else workers)


def default_manager(llm: object) -> Agent:
    """The manager of a crew that names a ``manager_llm`` alone."""
    return Agent(role=prompts.MANAGER_ROLE, goal=prompts.MANAGER_GOAL, backstory=prompts.MANAGER_BACKSTORY, llm=llm)


def each_once(agents: Iterable[Agent | None]) -> list[Agent]:
    """The agents, each object once, in order."""
    found: dict[int, Agent] = {}
    for agent in agents:
        if agent is not None:
            found.setdefault(id(agent), agent)
    return list(found.values())
