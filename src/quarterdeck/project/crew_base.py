"""``@CrewBase`` and its decorators: a crew as a class beside its YAML files (CrewAI: ``crewai.project``)."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import BaseModel

from quarterdeck.agent import Agent
from quarterdeck.crew import Crew
from quarterdeck.crew.contract import TRIGGER
from quarterdeck.errors import ConfigError
from quarterdeck.hooks import hooks_of
from quarterdeck.project.definitions import AGENT_FIELDS, TASK_FIELDS, Fields, Kind, placeholders_in, read_fields
from quarterdeck.project.source import Source, near, read_source, shown
from quarterdeck.task import Task

F = TypeVar("F", bound=Callable[..., Any])
C = TypeVar("C", bound=type[Any])

_MARK = "__quarterdeck_kind__"
_STATE = "__quarterdeck_project__"


@dataclass(slots=True)
class _State:
    """What one instance has made so far."""

    lock: threading.RLock = field(default_factory=threading.RLock)
    made: dict[Any, Any] = field(default_factory=dict[Any, Any])
    making: list[Any] = field(default_factory=list[Any])

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy of an instance makes agents and tasks of its own."""
        return _State, ()


def _state(instance: Any) -> _State:
    return cast("dict[str, Any]", vars(instance)).setdefault(_STATE, _State())


def _once(instance: Any, key: Any, what: str, make: Callable[[], Any]) -> Any:
    """What an instance has under a key, made at most once.

    Raises:
        ConfigError: Making it needs the same thing.
    """
    state = _state(instance)
    with state.lock:
        if key not in state.made:
            if key in state.making:
                raise ConfigError(f"{type(instance).__name__}: {what} needs itself to be made")
            state.making.append(key)
            try:
                state.made[key] = make()
            finally:
                state.making.remove(key)
        return state.made[key]


# -- the decorators ---------------------------------------------------------------------------------------


def _factory(kind: str, method: F, finish: Callable[[Any, str, Any], Any]) -> F:
    """A method whose result is made once for each instance and arguments."""
    name = method.__name__

    @functools.wraps(method)
    def once(self: Any, *args: Any, **kwargs: Any) -> Any:
        key = (method, args, tuple(sorted(kwargs.items())))
        return _once(self, key, f"{name}()", lambda: finish(self, name, method(self, *args, **kwargs)))

    setattr(once, _MARK, kind)
    return cast("F", once)


def _as_made(instance: Any, name: str, made: Any) -> Any:
    del instance, name
    return made


def _of(kind: type[Any]) -> Callable[[Any, str, Any], Any]:
    def check(instance: Any, name: str, made: Any) -> Any:
        if not isinstance(made, kind):
            raise ConfigError(
                f"{type(instance).__name__}.{name}() must return a{'n' if kind is Agent else ''} {kind.__name__}, "
                f"it returned {type(made).__name__}"
            )
        return made

    return check


def _named(instance: Any, name: str, made: Any) -> Any:
    _of(Task)(instance, name, made)
    if made.name is None:
        made.name = name
    return made


def _hooked(instance: Any, name: str, made: Any) -> Any:
    """The crew with the class's name and hooks."""
    _of(Crew)(instance, name, made)
    before = [getattr(instance, hook) for hook in _marked(instance, "before_kickoff")]
    after = [getattr(instance, hook) for hook in _marked(instance, "after_kickoff")]
    changes: dict[str, Any] = {
        "before_kickoff_callbacks": [*made.before_kickoff_callbacks, *before],
        "after_kickoff_callbacks": [*made.after_kickoff_callbacks, *after],
    }
    if "name" not in made.model_fields_set:
        changes["name"] = type(instance).__name__
    _check_placeholders(instance, made)
    finished = made.model_copy(update=changes)
    finished.add_hooks(*hooks_of(instance))
    return finished


def _check_placeholders(instance: object, made: Crew) -> None:
    """Where the crew declares its inputs, another name in a text is a mistake in writing."""
    model = made.inputs_model
    if model is None or model.model_config.get("extra") == "allow":
        return
    undeclared = made.fetch_inputs() - model.model_fields.keys() - {TRIGGER}
    for entries in (getattr(instance, "agents_config", None), getattr(instance, "tasks_config", None)):
        if undeclared and isinstance(entries, Entries):
            entries.check_placeholders(undeclared, model)


def agent(method: F) -> F:
    """Marks a method that makes an Agent, once for each instance; YAML names it by the method's name."""
    return _factory("agent", method, _of(Agent))


def task(method: F) -> F:
    """Marks a method that makes a Task, once for each instance; the task is named after it."""
    return _factory("task", method, _named)


def crew(method: F) -> F:
    """Marks the method that makes the Crew: from ``self.agents`` and ``self.tasks``, with the class's hooks."""
    return _factory("crew", method, _hooked)


def llm(method: F) -> F:
    """Marks a method that makes a model, for ``llm: its_name`` in YAML."""
    return _factory("llm", method, _as_made)


def tool(method: F) -> F:
    """Marks a method that makes a tool, for ``tools: [its_name]`` in YAML."""
    return _factory("tool", method, _as_made)


def cache_handler(method: F) -> F:
    """Marks a method that makes a cache handler (CrewAI). Here results are kept by the run: ``Crew(cache=True)``."""
    return _factory("cache_handler", method, _as_made)


def callback(method: F) -> F:
    """Marks a callback for YAML: a method that takes the output or step, or one without arguments that makes one."""
    return _marking("callback", method)


def before_kickoff(method: F) -> F:
    """Marks a method that is given the inputs before a run, and may return others."""
    return _marking("before_kickoff", method)


def after_kickoff(method: F) -> F:
    """Marks a method that is given the ``CrewOutput`` after a run, and may return another."""
    return _marking("after_kickoff", method)


def output_pydantic(of: F) -> F:
    """Marks a pydantic class, or a method that gives one, for ``output_pydantic: its_name`` in YAML."""
    return _marking("model", of)


def output_json(of: F) -> F:
    """Marks a pydantic class, or a method that gives one, for ``output_json: its_name`` in YAML."""
    return _marking("model", of)


def _marking(kind: str, value: F) -> F:
    setattr(value, _MARK, kind)
    return value


def _marked(instance: object, kind: str) -> list[str]:
    """Names of its class's members of a kind, in the order of their definition, the base classes' first."""
    cls = type(instance)
    names = dict.fromkeys(name for base in reversed(cls.__mro__) for name in vars(base))
    return [n for n in names if getattr(inspect.getattr_static(cls, n, None), _MARK, None) == kind]


# -- the class --------------------------------------------------------------------------------------------


def CrewBase(cls: C) -> C:
    """Makes a class a crew: its ``@agent``, ``@task`` and ``@crew`` methods, with YAML files beside it.

    ``agents_config`` and ``tasks_config`` are paths relative to the class's file, or dicts; by default
    ``config/agents.yaml`` and ``config/tasks.yaml``. On an instance they give, by name, the ``config=`` of an Agent or
    a Task, in which names of ``@llm``, ``@tool``, ``@agent``, ``@task``, ``@callback`` and ``@output_pydantic``
    members are replaced by what these make. ``self.agents`` and ``self.tasks`` are all of them, in order.

    Any number of instances can be made; each makes its own agents and tasks, once.
    """
    for name, default in (("agents_config", "config/agents.yaml"), ("tasks_config", "config/tasks.yaml")):
        given = inspect.getattr_static(cls, name, None)
        if not isinstance(given, _Config):  # else a base class has it, with its own folder
            setattr(cls, name, _Config(name, given, default, cls))
    setattr(cls, "agents", _Members(_agents))  # noqa: B010
    setattr(cls, "tasks", _Members(_tasks))  # noqa: B010
    return cls


class _Members:
    """``self.agents`` and ``self.tasks``; an instance may set its own."""

    def __init__(self, make: Callable[[Any], list[Any]]) -> None:
        self._make = make

    def __get__(self, instance: Any, owner: type[Any]) -> Any:
        return self if instance is None else self._make(instance)


def _tasks(instance: Any) -> list[Task]:
    return [getattr(instance, name)() for name in _marked(instance, "task")]


def _agents(instance: Any) -> list[Agent]:
    """The tasks' agents, then the others."""
    found = [made.agent for made in _tasks(instance) if made.agent]
    found += [getattr(instance, name)() for name in _marked(instance, "agent")]
    return list({id(item): item for item in found}.values())


class _Config:
    """``agents_config`` or ``tasks_config`` of a class; on an instance, its entries."""

    def __init__(self, name: str, given: Any, default: str, cls: type[Any]) -> None:
        self.name = name
        self.given = given
        self.default = default
        self.cls = cls

    def __get__(self, instance: Any, owner: type[Any]) -> Any:
        if instance is None:
            return self.given or self.default
        return _once(instance, self.name, self.name, lambda: Entries(instance, self.name, self._source()))

    def _source(self) -> Source:
        given = self.given
        if isinstance(given, Mapping):
            return Source(f"{self.cls.__name__}.{self.name}", dict(cast("Mapping[str, Any]", given)))
        if given is not None and not isinstance(given, str | Path):
            raise ConfigError(
                f"{self.cls.__name__}.{self.name} must be the path of a YAML file or a dict, got {type(given).__name__}"
            )
        path = _folder(self.cls) / (given or self.default)
        if given is None and not path.is_file():
            return Source(f"{shown(path)} (no such file)", {})
        return read_source(path)


def _folder(cls: type[Any]) -> Path:
    try:
        return Path(inspect.getfile(cls)).resolve().parent
    except (OSError, TypeError):  # typed in at a prompt or a notebook
        return Path.cwd()


class Entries(Mapping[str, Fields]):
    """The definitions of one file, by name. Each is resolved when it is first asked for, as one may need another."""

    def __init__(self, instance: Any, name: str, source: Source) -> None:
        self._instance = instance
        self._name = name
        self._source = source
        self._fields = AGENT_FIELDS if name == "agents_config" else TASK_FIELDS

    def __getitem__(self, key: str) -> Fields:
        if key not in self._source.data:
            raise ConfigError(f"{self._source.label} has no {key!r}{near(key, self._source.data)}")

        def make() -> Fields:
            return read_fields(self._source, (key,), self._fields, functools.partial(_resolve, self._instance))

        return _once(self._instance, (self._name, key), f"{self._name}[{key!r}]", make)

    def check_placeholders(self, undeclared: Collection[str], model: type[BaseModel]) -> None:
        """Finds a text that needs an input which is not declared.

        Raises:
            ConfigError: There is one.
        """
        for key, value in self._source.data.items():
            for place, name in placeholders_in(self._source, (key,)) if isinstance(value, dict) else ():
                if name in undeclared:
                    hint = near(name, model.model_fields)
                    raise self._source.error(place, f"there is no input {{{name}}} in {model.__name__}{hint}")

    def __contains__(self, key: object) -> bool:
        return key in self._source.data

    def __iter__(self) -> Iterator[str]:
        return iter(self._source.data)

    def __len__(self) -> int:
        return len(self._source.data)


def _resolve(instance: object, kind: Kind, name: str, options: Mapping[str, Any]) -> Any:
    """What a name in a YAML file stands for: what the class's member of that name makes.

    Raises:
        LookupError: There is no such member.
    """
    cls = type(instance).__name__
    names = _marked(instance, kind)
    if options:
        raise LookupError(f"{name!r} is made by a method of {cls}, and takes no options here")
    if name in names:
        member = getattr(instance, name)
        if inspect.isclass(member):
            return member
        return member if kind == "callback" and _takes_argument(member) else member()
    if kind == "guardrail":
        return _guardrail(instance, name)
    if kind == "llm":
        if name.isidentifier() and ", " not in near(name, names) and "did you mean" in near(name, names):
            raise LookupError(f"there is no @llm method {name!r} in {cls}{near(name, names)}")
        return name  # a model's
    decorator = "output_pydantic" if kind == "model" else kind
    raise LookupError(f"there is no @{decorator} {name!r} in {cls}{near(name, names)}")


def _guardrail(instance: Any, name: str) -> Any:
    """A method of that name; else the text itself, which a model is to check."""
    found = getattr(instance, name, None) if name.isidentifier() else None
    if found is None and name.isidentifier():
        raise LookupError(f"{type(instance).__name__} has no method {name!r} to be the guardrail")
    return name if found is None else found


def _takes_argument(function: Callable[..., Any]) -> bool:
    parameters = inspect.signature(function).parameters.values()
    return any(p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)
