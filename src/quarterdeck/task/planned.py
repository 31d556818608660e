"""A task made ready for one run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING, Any

from quarterdeck.agent.agent import Agent
from quarterdeck.agent.delegation import Coworker, Team
from quarterdeck.agent.framing import Persona
from quarterdeck.agent.interpolation import interpolate
from quarterdeck.errors import InputError
from quarterdeck.tools import BaseTool

if TYPE_CHECKING:
    from quarterdeck.task.task import Task


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


def task_names(tasks: Sequence[Task]) -> list[str]:
    """The tasks' names, fit for paths and unique: the given ones, else ``task_1``, ``task_2``, …"""
    names: list[str] = []
    for n, task in enumerate(tasks, 1):
        name = re.sub(r"[^\w.-]+", "_", task.name or "").strip("_") or f"task_{n}"
        unique, count = name, 1
        while unique in names:
            count += 1
            unique = f"{name}_{count}"
        names.append(unique)
    return names


def output_path(template: str, inputs: Mapping[str, Any], where: str) -> str:
    """A file's path with the inputs put in, which come from outside and must not lead out of its folder.

    Raises:
        InputError: An input is missing, or leads out of the folder.
    """
    path = interpolate(template, inputs, where)
    if path == template:
        return path
    rooted = path.startswith(("/", "\\", "~")) and path[0] != template[0]
    drive = PureWindowsPath(path).drive != PureWindowsPath(template).drive
    if rooted or drive or ".." in PureWindowsPath(path).parts or not PureWindowsPath(path).name or "\0" in path:
        raise InputError(
            f"{where} {template!r} becomes {path!r}, which is no path of a file within its folder: "
            "an input may not hold '..', begin at the root, or be empty there"
        )
    return path
