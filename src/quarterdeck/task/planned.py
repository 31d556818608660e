"""A task made ready for one run."""

from __future__ import annotations

from dataclasses import dataclass

from quarterdeck.agent.agent import Agent
from quarterdeck.agent.delegation import Coworker, Team
from quarterdeck.agent.framing import Persona
from quarterdeck.task.task import Task
from quarterdeck.tools import BaseTool


@dataclass(frozen=True, slots=True)
class PlannedTask:
    """A task in one run.

    Args:
        index: Its place in the crew, from 0.
        name: Its name, unique in the crew; the first part of its steps' paths.
        task: The definition.
        agent: Who does it: the task's agent, or the crew's manager.
        persona: The agent's texts.
        description: Its text.
        expected_output: Its text.
        output_file: Its path.
        context: Indices of the tasks whose outputs it is given; None: those before it.
        tools: The agent's tools for this task, besides those for coworkers.
        coworkers: Whom the agent can hand work to.
        team: All who can be handed work in this run; None where nothing is handed out.
        trigger: What started the run, where the task is told of it.
        plan: How to go about it, from the crew's planning.
        managed: Whether the agent is the crew's manager.
    """

    index: int
    name: str
    task: Task
    agent: Agent
    persona: Persona
    description: str
    expected_output: str
    output_file: str | None
    context: tuple[int, ...] | None
    tools: tuple[BaseTool, ...] = ()
    coworkers: tuple[Coworker, ...] = ()
    team: Team | None = None
    trigger: str = ""
    plan: str = ""
    managed: bool = False
