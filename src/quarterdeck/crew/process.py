"""Process: how a crew's tasks are done (CrewAI: ``crewai.Process``)."""

from __future__ import annotations

from enum import StrEnum


class Process(StrEnum):
    """How a crew's tasks are done: ``sequential``, each by its agent; ``hierarchical``, each by a manager that hands
    the work to the agents. Both take the tasks one after another."""

    sequential = "sequential"
    hierarchical = "hierarchical"
