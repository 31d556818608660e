"""Crews wholly in files: ``crew.yaml``, or CrewAI's ``crew.jsonc`` with ``agents/*.jsonc`` and ``tools/*.py``."""

from __future__ import annotations

import difflib
import inspect
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, Field, create_model

import quarterdeck.tools
from quarterdeck.agent import Agent
from quarterdeck.agent.interpolation import as_text
from quarterdeck.crew import Crew, CrewOutput
from quarterdeck.errors import ConfigError, InputError
from quarterdeck.project.definitions import (
    AGENT_FIELDS,
    CREW_FIELDS,
    TASK_FIELDS,
    Fields,
    Kind,
    build,
    placeholders_in,
    read_fields,
)
from quarterdeck.project.folder import CREW_FILES, crew_file
from quarterdeck.project.imports import import_file
from quarterdeck.project.jsonc import Keys
from quarterdeck.project.source import Source, near, read_source, shown
from quarterdeck.task import ConditionalTask, Task
from quarterdeck.tools import BaseTool

_SUFFIXES = (".jsonc", ".json", ".yaml", ".yml")


def load_crew(path: str | os.PathLike[str]) -> tuple[Crew, dict[str, Any]]:
    """Reads a crew that is wholly in files (CrewAI: ``crewai.project.load_crew``).

    The file has ``agents`` (a mapping of names to fields, or a list of names of files in ``agents/``), ``tasks`` (a
    mapping, or a list with ``name`` in each), ``inputs`` (a default for each, or null for one that must be given) and
    the fields of a Crew. Names refer to one another; tools are names of built-in ones, ``custom:NAME`` from
    ``tools/NAME.py``, or ``{"python": "module.name"}``, which any value may be.

    Args:
        path: The file, or a folder with a ``crew.yaml``, ``crew.jsonc`` or ``crew.json``.

    Returns:
        The crew, which knows the default inputs too, and the default inputs.

    Raises:
        ConfigError: What is wrong, with file, line and field.
    """
    file = Path(path)
    if file.is_dir():
        found = crew_file(file)
        if found is None:
            raise ConfigError(f"{shown(file)} has none of {', '.join(CREW_FILES)}")
        file = found
    return _Reader(read_source(file)).crew()


def load_crew_and_kickoff(path: str | os.PathLike[str], inputs: Mapping[str, Any] | None = None) -> CrewOutput:
    """Reads a crew and runs it with its default inputs, and those given here in their place.

    Raises:
        ConfigError: What is wrong with the file.
        InputError: An input is missing.
    """
    crew, defaults = load_crew(path)
    return crew.kickoff({**defaults, **(inputs or {})})


def load_agent(path: str | os.PathLike[str]) -> Agent:
    """Reads an agent from a file that holds its fields.

    Raises:
        ConfigError: What is wrong, with file, line and field.
    """
    source = read_source(Path(path))
    reader = _Reader(source, Path(path).resolve().parent.parent)
    return build(Agent, reader.agent_fields(source, ()))


class _Reader:
    """One reading of a crew's files.

    Args:
        source: The crew's file.
        folder: Where ``agents/`` and ``tools/`` are; by default, beside the file.
    """

    def __init__(self, source: Source, folder: Path | None = None) -> None:
        self.source = source
        assert source.file
        self.folder = folder or source.file.resolve().parent
        self.agents: dict[str, Agent] = {}
        self.tasks: dict[str, Task] = {}
        self.texts: list[tuple[Source, Keys]] = []  # agents and tasks, whose texts may have placeholders

    def crew(self) -> tuple[Crew, dict[str, Any]]:
        data = self.source.data
        self._read_agents(data.get("agents"))
        manager = data.get("manager_agent")
        if isinstance(data.get("agents"), list) and isinstance(manager, str) and manager not in self.agents:
            self.agents[manager] = build(Agent, self._agent_file(manager, ("manager_agent",)))
        self._read_tasks(data.get("tasks"))
        rest = {name: value for name, value in data.items() if name not in ("agents", "tasks", "inputs")}
        source = Source(self.source.label, rest, self.source.lines, self.source.file)
        fields = read_fields(source, (), CREW_FIELDS, self.resolve)
        manager = fields.get("manager_agent")
        fields["agents"] = [agent for agent in self.agents.values() if agent is not manager]
        fields["tasks"] = list(self.tasks.values())
        defaults = self._inputs(data.get("inputs"), fields)
        if isinstance(trained := fields.get("trained_agents_file"), str):
            fields["trained_agents_file"] = self.folder / trained
        fields.setdefault("name", self.source.file.stem if self.source.file else "crew")
        return build(Crew, fields), defaults

    # -- agents -------------------------------------------------------------------------------------------

    def _read_agents(self, given: Any) -> None:
        if isinstance(given, dict):
            for name in cast("dict[str, Any]", given):
                self.agents[name] = build(Agent, self.agent_fields(self.source, ("agents", name)))
            return
        if not isinstance(given, list):
            raise self.source.error(("agents",), "is missing: name the agents" if given is None else _NO_LIST)
        for n, item in enumerate(cast("list[Any]", given)):
            keys: Keys = ("agents", n)
            if isinstance(item, str):
                self._add(self.agents, keys, item, build(Agent, self._agent_file(item, keys)))
            else:
                fields = self.agent_fields(self.source, keys)
                name = str(fields.pop("name", None) or fields.get("role"))
                self._add(self.agents, keys, name, build(Agent, fields))

    def agent_fields(self, source: Source, keys: Keys) -> Fields:
        """The arguments of an agent."""
        self.texts.append((source, keys))
        return read_fields(source, keys, AGENT_FIELDS, self.resolve)

    def _agent_file(self, name: str, keys: Keys) -> Fields:
        folder = self.folder / "agents"
        for suffix in _SUFFIXES:
            if (folder / f"{name}{suffix}").is_file():
                fields = self.agent_fields(read_source(folder / f"{name}{suffix}"), ())
                fields.pop("name", None)
                return fields
        there = sorted(file.stem for file in folder.glob("*") if file.suffix in _SUFFIXES)
        raise self.source.error(keys, f"there is no file {shown(folder)}/{name}.jsonc or .yaml{near(name, there)}")

    def _add(self, to: dict[str, Any], keys: Keys, name: str, made: Any) -> None:
        if name in to:
            raise self.source.error(keys, f"the name {name!r} is there twice")
        to[name] = made

    # -- tasks --------------------------------------------------------------------------------------------

    def _read_tasks(self, given: Any) -> None:
        if not isinstance(given, list | dict) or not given:
            raise self.source.error(("tasks",), "is missing: name the tasks" if not given else _NO_LIST)
        places = cast("list[Any]", list(given) if isinstance(given, dict) else range(len(given)))  # pyright: ignore[reportUnknownArgumentType]
        for n, place in enumerate(places, 1):
            keys: Keys = ("tasks", place)
            fields = read_fields(self.source, keys, TASK_FIELDS, self.resolve)
            self.texts.append((self.source, keys))
            name = place if isinstance(place, str) else str(fields.get("name") or f"task_{n}")
            fields["name"] = name
            if fields.get("agent") is None and self.source.data.get("process", "sequential") == "sequential":
                raise self.source.error(keys, f"has no agent{near('', self.agents)}")
            self._add(self.tasks, keys, name, self._task(keys, fields))

    def _task(self, keys: Keys, fields: Fields) -> Task:
        kind = str(fields.pop("type", "Task")).lower().replace("_", "")
        found = _TASK_TYPES.get(kind)
        if found is None:
            raise self.source.error((*keys, "type"), f"must be Task or ConditionalTask, got {kind!r}")
        return build(found, fields)

    # -- names --------------------------------------------------------------------------------------------

    def resolve(self, kind: Kind, name: str, options: Mapping[str, Any]) -> Any:
        """What a name stands for.

        Args:
            kind: What it is to be.
            name: The name.
            options: Arguments of a built-in tool.

        Raises:
            LookupError: There is nothing of that name.
        """
        match kind:
            case "agent":
                return _one(self.agents, "agent", name)
            case "task":
                return _one(self.tasks, "task before this one", name)
            case "tool":
                return self._tool(name, options)
            case "llm" | "guardrail":
                return name  # a model; a sentence, which a model is to check
            case _:
                raise LookupError(f"must be {{python: my_module.my_name}}, got the text {name!r}")

    def _tool(self, name: str, options: Mapping[str, Any]) -> BaseTool:
        if name.startswith("custom:"):
            return custom_tool(self.folder / "tools" / f"{name.removeprefix('custom:')}.py")
        kind = _one(_built_in(), "built-in tool (one of yours is custom:NAME, in tools/NAME.py)", name)
        given = dict(options)
        if "root" in given:
            given["root"] = self.folder / str(given["root"])
        try:
            return kind(**given)
        except ValueError as error:
            raise LookupError(str(error)) from None

    # -- inputs -------------------------------------------------------------------------------------------

    def _inputs(self, given: Any, fields: Fields) -> dict[str, Any]:
        """The default inputs; puts a model of the inputs into the crew's fields."""
        if given is None:
            return {}
        if not isinstance(given, dict):
            raise self.source.error(("inputs",), f"must be a mapping of names to defaults, got {type(given).__name__}")
        inputs = cast("dict[str, Any]", given)
        for name, value in inputs.items():
            try:
                as_text(name, value)
            except InputError as error:
                raise self.source.error(("inputs", name), str(error)) from None
        needed = self._placeholders(inputs)
        if fields.get("inputs_model") is None:
            required = [name for name, value in inputs.items() if value is None] + sorted(needed - inputs.keys())
            fields["inputs_model"] = _model(inputs, required)
        return {name: value for name, value in inputs.items() if value is not None}

    def _placeholders(self, inputs: Mapping[str, Any]) -> set[str]:
        """The names in the texts. One that looks like a declared input, but is none, is a mistake in writing."""
        needed: set[str] = set()
        for source, keys in self.texts:
            for place, name in placeholders_in(source, keys):
                close = difflib.get_close_matches(name, inputs, 1, 0.7)
                if name not in inputs and close:
                    hint = f"did you mean {{{close[0]}}}? If not, add {name} to inputs"
                    raise source.error(place, f"there is no input {{{name}}}; {hint}")
                needed.add(name)
        return needed


_TASK_TYPES: Mapping[str, type[Task]] = {"task": Task, "conditionaltask": ConditionalTask}
_NO_LIST = "must be a list or a mapping of names"


def _one(known: Mapping[str, Any], what: str, name: str) -> Any:
    if name not in known:
        raise LookupError(f"there is no {what} {name!r}{near(name, known)}")
    return known[name]


def _built_in() -> dict[str, type[BaseTool]]:
    """The built-in tools, by the names that models know and by those of the classes."""
    members = [getattr(quarterdeck.tools, name) for name in quarterdeck.tools.__all__]
    classes = [item for item in members if inspect.isclass(item) and issubclass(item, BaseTool)]
    named = {item.model_fields["name"].get_default(): item for item in classes}
    named |= {item.__name__: item for item in classes}
    return {name: item for name, item in named.items() if isinstance(item.model_fields["name"].get_default(), str)}


def custom_tool(path: Path) -> BaseTool:
    """The tool of a file: the one of the file's name, else the only one there.

    Raises:
        LookupError: There is no such file, or no tool in it, or there are several.
    """
    if not path.is_file():
        there = sorted(f"custom:{file.stem}" for file in path.parent.glob("*.py"))
        raise LookupError(f"there is no file {shown(path)}{near(f'custom:{path.stem}', there)}")
    module = import_file(path)
    own: dict[str, Any] = {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, BaseTool)
        or (inspect.isclass(value) and issubclass(value, BaseTool) and value.__module__ == module.__name__)
    }
    found = own.get(path.stem) or (next(iter(own.values())) if len(own) == 1 else None)
    if found is None:
        what = f"has {', '.join(own)}; name one {path.stem}" if own else "has no tool"
        raise LookupError(f"{shown(path)} {what}")
    return cast("BaseTool", found() if inspect.isclass(found) else found)


def _model(inputs: Mapping[str, Any], required: list[str]) -> type[BaseModel]:
    """A model of the inputs: a default for each, but the required ones; others are taken too.

    Each has the input's name as its alias, which may be any text.
    """
    fields: dict[str, Any] = {}
    for n, name in enumerate({**inputs, **dict.fromkeys(required)}):
        default = ... if name in required else inputs[name]
        fields[f"input_{n}"] = (Any, Field(default, alias=name))
    config = ConfigDict(extra="allow", serialize_by_alias=True, title="Inputs")
    return create_model("Inputs", __config__=config, **fields)
