"""Checks that the definitions (Agent, Task, Crew) share."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, cast

from pydantic import BaseModel, ConfigDict, model_validator

from quarterdeck.tools import BaseTool


class Definition(BaseModel):
    """A definition: what a crew is made of. It holds no state of a run.

    An unknown field is an error that names the nearest one; a field of CrewAI that has no meaning here is named too.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid", validate_assignment=False)

    not_supported: ClassVar[Mapping[str, str]] = {}
    """Fields of CrewAI that are taken while they are unset (None, False, empty), and why they do nothing else."""

    @model_validator(mode="before")
    @classmethod
    def _check_names(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        values = dict(cast("dict[str, Any]", data))
        config = values.pop("config", None)
        if config:
            values = {**config, **{k: v for k, v in values.items() if v is not None}}
        for name in [n for n in values if n not in cls.model_fields]:
            if name in cls.not_supported:
                if values.pop(name):
                    raise ValueError(f"{cls.__name__} {name}: {cls.not_supported[name]}")
                continue
            near = difflib.get_close_matches(name, [*cls.model_fields, *cls.not_supported], 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; it takes {', '.join(sorted(cls.model_fields))}"
            raise ValueError(f"{cls.__name__} has no field {name!r}{hint}")
        return values


def as_tool(item: Any) -> BaseTool:
    """A tool from what a user put into ``tools=[...]``: a tool, or an object of another framework that looks like one.

    Raises:
        ValueError: It is neither; names the way out.
    """
    if isinstance(item, BaseTool):
        return item
    what = getattr(item, "__name__", repr(item))  # pyright: ignore[reportUnknownArgumentType]
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
