"""Finding a crew: ``module:attr``, ``file.py:attr``, a crew's YAML or JSON file, a project's folder."""

from __future__ import annotations

import inspect
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, cast, runtime_checkable

from quarterdeck.crew.contract import Contract
from quarterdeck.errors import ConfigError
from quarterdeck.project.folder import find_target
from quarterdeck.project.imports import import_file, import_module
from quarterdeck.project.load import load_crew


@runtime_checkable
class Runnable(Protocol):
    """What can be served and run by name: a Crew, a Flow.

    ``akickoff(inputs, **RunOptions)`` gives an output with ``raw``, ``status``, ``ended_by`` and ``reason``, also with
    ``stream=True`` where the option ``stream`` is False.
    """

    name: str

    @property
    def contract(self) -> Contract: ...

    @property
    def definition(self) -> str: ...

    @property
    def steps(self) -> list[str]: ...

    async def akickoff(self, inputs: Any = None, **options: Any) -> Any: ...


def load_target(target: str, base: Path | None = None) -> Runnable:
    """Imports a crew.

    Args:
        target: ``module:attr``, ``path/to/file.py:attr``, or either without ``:attr`` where there is just one crew.
            The attribute is a Crew, a Flow, a class of one, or a function without arguments that makes one. Or a
            crew's YAML or JSON file, or a project's folder (see ``find_target``).
        base: The folder that paths and modules are relative to; the current one by default.

    Raises:
        ConfigError: There is no such file, module or attribute, it is no crew, or its import failed.
    """
    base = base or Path.cwd()
    if (base / target).is_dir():
        target, base = find_target(base / target)
    if Path(target).suffix in (".yaml", ".yml", ".json", ".jsonc"):
        return cast("Runnable", load_crew(base / target)[0])
    place, _, attribute = target.rpartition(":") if ":" in target else (target, "", "")
    path = base / place
    if place.endswith(".py"):
        if not path.is_file():
            raise ConfigError(f"target {target!r}: there is no file {path}")
        module = import_file(path)
    else:
        module = import_module(place, base, target)
    if not attribute:
        return _only(module, target)
    value: Any = module
    for part in attribute.split("."):
        if not hasattr(value, part):
            raise ConfigError(f"target {target!r}: {place} has no {part!r}; it has {_names(module)}")
        value = getattr(value, part)
    return as_runnable(value, target)


def as_runnable(value: Any, target: str) -> Runnable:
    """The crew that a target names: the object itself, or what the class or function makes.

    Raises:
        ConfigError: It is no crew and makes none.
    """
    if _is_runnable(value):
        return value
    if callable(getattr(value, "crew", None)) and not isinstance(value, type):  # an object of a @CrewBase class
        value = value.crew
    if not callable(value):
        raise ConfigError(f"target {target!r} is a {type(value).__name__}; expected a Crew, a Flow, or what makes one")
    try:
        made: Any = value()
    except Exception as error:
        raise ConfigError(f"target {target!r}: {_name_of(value)}() failed: {type(error).__name__}: {error}") from error
    if not _is_runnable(made) and callable(getattr(made, "crew", None)):  # a @CrewBase class
        made = made.crew()
    if not _is_runnable(made):
        raise ConfigError(f"target {target!r}: {_name_of(value)}() made a {type(made).__name__}, no Crew and no Flow")
    return cast("Runnable", made)


def _is_runnable(value: Any) -> bool:
    return not isinstance(value, type) and isinstance(value, Runnable)


def _name_of(value: Any) -> str:
    return getattr(value, "__name__", type(value).__name__)


def _only(module: ModuleType, target: str) -> Runnable:
    """The one crew of a module: an object, else a class that makes one."""
    own = [(n, v) for n, v in vars(module).items() if not n.startswith("_")]
    found = [(n, v) for n, v in own if _is_runnable(v)]
    if not found:
        found = [(n, v) for n, v in own if inspect.isclass(v) and v.__module__ == module.__name__ and _makes(v)]
    if len(found) == 1:
        return as_runnable(found[0][1], target)
    what = f"has {', '.join(n for n, _ in found)}" if found else "has no crew"
    raise ConfigError(f"target {target!r}: the module {what}; name one, as in {target}:crew")


def _makes(value: type[Any]) -> bool:
    return callable(getattr(value, "akickoff", None)) or callable(getattr(value, "crew", None))


def _names(module: ModuleType) -> str:
    return ", ".join(sorted(n for n in vars(module) if not n.startswith("_"))[:20]) or "nothing"
