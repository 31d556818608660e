"""Crews: agents and tasks that are run together."""

from quarterdeck.crew.crew import Crew, Process
from quarterdeck.crew.output import CrewOutput

__all__ = ["Crew", "CrewOutput", "Process"]
