"""Projects: crews as classes beside YAML files, and crews found by file, module and name."""

from quarterdeck.project.crew_base import (
    CrewBase,
    after_kickoff,
    agent,
    before_kickoff,
    cache_handler,
    callback,
    crew,
    llm,
    output_json,
    output_pydantic,
    task,
    tool,
)
from quarterdeck.project.load import load_agent, load_crew, load_crew_and_kickoff
from quarterdeck.project.registry import Entry, Registry
from quarterdeck.project.target import Runnable, as_runnable, load_target

__all__ = [
    "CrewBase",
    "Entry",
    "Registry",
    "Runnable",
    "after_kickoff",
    "agent",
    "as_runnable",
    "before_kickoff",
    "cache_handler",
    "callback",
    "crew",
    "llm",
    "load_agent",
    "load_crew",
    "load_crew_and_kickoff",
    "load_target",
    "output_json",
    "output_pydantic",
    "task",
    "tool",
]
