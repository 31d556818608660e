"""What a crew's tasks and manager must be."""

from __future__ import annotations

from collections.abc import Sequence

from quarterdeck.agent.agent import Agent
from quarterdeck.crew.process import Process
from quarterdeck.crew.staff import each_once
from quarterdeck.task.conditional import ConditionalTask
from quarterdeck.task.task import Task


def check_tasks(tasks: Sequence[Task], *, managed: bool) -> None:
    """Checks the tasks of a crew.

    Args:
        tasks: The tasks.
        managed: Whether a manager does them, so that they need no agents.

    Raises:
        ValueError: There is none, or one cannot be where it is.
    """
    if not tasks:
        raise ValueError("a crew needs at least one task: Crew(tasks=[...])")
    if len({id(task) for task in tasks}) < len(tasks):
        raise ValueError("a task is in the crew twice: make a second Task object")
    if isinstance(tasks[0], ConditionalTask):
        raise ValueError("the first task is conditional, and there is no output before it: put a Task first")
    for n, task in enumerate(tasks):
        where = f"task {n + 1} ({task.description[:40]!r})"
        if task.agent is None and not managed:
            raise ValueError(f"{where} has no agent: Task(..., agent=...)")
        before = {id(item) for item in tasks[:n]}
        for item in task.context_tasks or ():
            if id(item) not in before:
                raise ValueError(f"{where} has a task in its context that does not come before it in the crew")


def check_process(process: Process, manager_llm: object, manager_agent: Agent | None) -> None:
    """Checks that a hierarchical crew names its manager, and a sequential one names none.

    Raises:
        ValueError: It is not so.
    """
    given = {"manager_llm": manager_llm, "manager_agent": manager_agent}
    named = [name for name, value in given.items() if value is not None]
    if process is Process.sequential and named:
        raise ValueError(f"{named[0]} does nothing in a sequential crew: add process=Process.hierarchical")
    if process is Process.hierarchical and not named:
        raise ValueError("a hierarchical crew needs one of manager_llm and manager_agent")


def check_manager(agents: Sequence[Agent], tasks: Sequence[Task], manager: Agent) -> None:
    """Checks who works in a hierarchical crew.

    Raises:
        ValueError: The manager is among those it manages, or there is nobody.
    """
    if any(agent is manager for agent in agents):
        raise ValueError(
            f"manager_agent {manager.role!r} is in agents too: leave it out there, it works as the manager"
        )
    for n, task in enumerate(tasks, 1):
        if task.agent is manager:
            raise ValueError(f"the agent of task {n} is the manager: leave it out, the manager does every task")
    if not each_once([*agents, *(task.agent for task in tasks)]):
        raise ValueError("a hierarchical crew needs an agent that the manager can hand work to: Crew(agents=[...])")
