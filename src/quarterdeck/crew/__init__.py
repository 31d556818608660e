"""Crews: agents and tasks that are run together."""

from quarterdeck.crew.crew import Crew
from quarterdeck.crew.output import CrewOutput
from quarterdeck.crew.process import Process

__all__ = ["Crew", "CrewOutput", "Process"]
