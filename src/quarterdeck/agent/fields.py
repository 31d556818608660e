"""Checks that the definitions (Agent, Task, Crew) share."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol, Self, cast, runtime_checkable

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from quarterdeck.errors import ConfigError
from quarterdeck.tools import BaseTool


@runtime_checkable
class Located(Protocol):
    """A ``config`` that knows where its values stand: in which file and line."""

    def where(self, field: str = "") -> str:
        """Where a field stands; where it is not there, or is empty, where the whole stands."""
        ...


def digest(*texts: str) -> str:
    """CrewAI's ``key`` of a definition: the same texts, the same key."""
    return hashlib.md5("|".join(texts).encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()


class Definition(BaseModel):
    """A definition: what a crew is made of. It holds no state of a run.

    An unknown field is an error that names the nearest one; a field of CrewAI that has no meaning here is named too.

    Raises:
        ConfigError: One or more arguments are missing, unknown or wrong.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid", validate_assignment=False)

    not_supported: ClassVar[Mapping[str, str]] = {}
    """Fields of CrewAI that are taken while they are unset (None, False, empty), and why they do nothing else."""
    unset: ClassVar[Mapping[str, Any]] = {}
    """CrewAI's defaults of those fields, where they are something else than that."""

    def __init__(self, /, **data: Any) -> None:
        try:
            super().__init__(**data)
        except ValidationError as error:  # not kept as the cause: it shows the values, keys among them
            raise ConfigError(_wrong(error, type(self).__name__, data)) from None

    def again(self, **changes: Any) -> Self:
        """Another definition with the arguments that this one was given, and changes."""
        return type(self)(**{name: getattr(self, name) for name in self.model_fields_set} | changes)

    @model_validator(mode="before")
    @classmethod
    def _check_names(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        values = dict(cast("dict[str, Any]", data))
        config = values.pop("config", None)
        if config is not None and not isinstance(config, Mapping):
            raise ValueError(f"config must be a dict of arguments, got {type(config).__name__}")
        if config:
            values = {**cast("dict[str, Any]", config), **{k: v for k, v in values.items() if v is not None}}
        for name in [n for n in values if n not in cls.model_fields]:
            value = values.pop(name)
            if wrong := cls._refused(name, value):
                raise _NotTaken(name, wrong)
        return values

    @classmethod
    def _refused(cls, name: str, value: Any) -> str:
        """Why an argument that is no field is not taken; empty where it is CrewAI's and unset."""
        if name in cls.not_supported:
            return f"{name}: {cls.not_supported[name]}" if value and value != cls.unset.get(name) else ""
        near = difflib.get_close_matches(name, [*cls.model_fields, *cls.not_supported], 1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; it takes {', '.join(sorted(cls.model_fields))}"
        return f"there is no field {name!r}{hint}"


class _NotTaken(ValueError):
    """An argument that is no field."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def _wrong(error: ValidationError, kind: str, data: Mapping[str, Any]) -> str:
    """What is wrong with the arguments of a definition, one after another."""
    config = data.get("config")
    located = config if isinstance(config, Located) else None
    parts: list[str] = []
    for problem in error.errors(include_url=False):
        raised = problem.get("ctx", {}).get("error")
        field = raised.field if isinstance(raised, _NotTaken) else str(problem["loc"][0]) if problem["loc"] else ""
        name, text = ".".join(str(part) for part in problem["loc"]), _problem(problem)
        if located and data.get(field) is None:
            parts.append(f"{located.where(field)}: {text}")
        else:
            parts.append(text if text.startswith(name) else f"{name}: {text}")
    return "; ".join(parts) if located else f"{kind}: {'; '.join(parts)}"


def _problem(problem: Any) -> str:
    raised = problem.get("ctx", {}).get("error")
    if raised is not None:  # by a check of ours
        return str(raised)
    if problem["type"] == "missing":
        return f"{'.'.join(str(part) for part in problem['loc'])} is missing"
    message = problem["msg"]
    return f"{message[:1].lower()}{message[1:]}, got {_shown(problem['input'])}"


def _shown(value: Any) -> str:
    """A plain value, or the type of another, which may hold a key."""
    plain = value is None or isinstance(value, str | int | float | bool)
    return f"{type(value).__name__} {str(value)[:60]!r}" if plain else type(value).__name__


def as_tools(value: Any) -> list[BaseTool]:
    """The tools of ``tools=[...]``.

    Raises:
        ValueError: It is no list, or holds something that is no tool.
    """
    if value is None:
        return []
    if not isinstance(value, list | tuple):
        raise ValueError(f"tools must be a list of tools, got {type(value).__name__}")
    return [as_tool(item) for item in cast("list[Any]", value)]


def as_tool(item: Any) -> BaseTool:
    """A tool from what a user put into ``tools=[...]``: a tool, or an object of another framework that looks like one.

    Raises:
        ValueError: It is neither; names the way out.
    """
    if isinstance(item, BaseTool):
        return item
    what: str = getattr(item, "__name__", f"a {type(item).__name__}")  # not its value, which may hold a key
    if isinstance(item, type):
        raise ValueError(f"tools takes objects: write {what}(), not {what}")
    if hasattr(item, "name") and hasattr(item, "description"):
        return BaseTool.from_langchain(item)
    raise ValueError(f"{what} is no tool: decorate the function with @tool, or subclass BaseTool")


def distinct(functions: Sequence[Callable[..., Any] | None]) -> list[Callable[..., Any]]:
    """The functions that are given, each once: one that is the task's and the crew's is called once."""
    found: list[Callable[..., Any]] = []
    for function in functions:
        if function is not None and function not in found:
            found.append(function)
    return found
