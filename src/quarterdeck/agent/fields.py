"""Checks that the definitions (Agent, Task, Crew) share."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, cast

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from quarterdeck.errors import ConfigError
from quarterdeck.tools import BaseTool


class Definition(BaseModel):
    """A definition: what a crew is made of. It holds no state of a run.

    An unknown field is an error that names the nearest one; a field of CrewAI that has no meaning here is named too.

    Raises:
        ConfigError: One or more arguments are missing, unknown or wrong.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid", validate_assignment=False)

    not_supported: ClassVar[Mapping[str, str]] = {}
    """Fields of CrewAI that are taken while they are unset (None, False, empty), and why they do nothing else."""

    def __init__(self, /, **data: Any) -> None:
        try:
            super().__init__(**data)
        except ValidationError as error:  # not kept as the cause: it shows the values, keys among them
            raise ConfigError(f"{type(self).__name__}: {_wrong(error)}") from None

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
            if name in cls.not_supported:
                if values.pop(name):
                    raise ValueError(f"{name}: {cls.not_supported[name]}")
                continue
            near = difflib.get_close_matches(name, [*cls.model_fields, *cls.not_supported], 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; it takes {', '.join(sorted(cls.model_fields))}"
            raise ValueError(f"there is no field {name!r}{hint}")
        return values


def _wrong(error: ValidationError) -> str:
    """What is wrong with the arguments, one after another."""
    parts: list[str] = []
    for problem in error.errors(include_url=False):
        name = ".".join(str(part) for part in problem["loc"])
        raised = problem.get("ctx", {}).get("error")
        if raised is not None:  # by a check of ours
            text = str(raised)
            parts.append(text if text.startswith(name) else f"{name}: {text}")
        elif problem["type"] == "missing":
            parts.append(f"{name} is missing")
        else:
            message = problem["msg"]
            parts.append(f"{name}: {message[:1].lower()}{message[1:]}, got {_shown(problem['input'])}")
    return "; ".join(parts)


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


def as_list(value: Callable[..., Any] | list[Callable[..., Any]] | None) -> list[Callable[..., Any]]:
    """One function, several or none, as a list."""
    if value is None:
        return []
    return [value] if callable(value) else value


def distinct(functions: Sequence[Callable[..., Any] | None]) -> list[Callable[..., Any]]:
    """The functions that are given, each once: one that is the task's and the crew's is called once."""
    found: list[Callable[..., Any]] = []
    for function in functions:
        if function is not None and function not in found:
            found.append(function)
    return found
