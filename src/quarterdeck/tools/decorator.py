"""@tool: a function as a tool."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal, ParamSpec, TypeVar, overload

from quarterdeck.errors import ConfigError
from quarterdeck.tools.base import MAX_RESULT_CHARS, EnvVar, Tool, function_fields
from quarterdeck.tools.failure import FailurePolicy

P = ParamSpec("P")
R = TypeVar("R")


@overload
def tool(function: Callable[P, R], /) -> Tool[P, R]: ...


@overload
def tool(
    name: str | None = None,
    /,
    *,
    result_as_answer: bool = False,
    max_usage_count: int | None = None,
    timeout: float | None = None,
    retry: Literal["safe", "never"] = "safe",
    cache_function: Callable[..., bool] | None = None,
    result_schema: Any = None,
    max_result_chars: int | None = MAX_RESULT_CHARS,
    env_vars: list[EnvVar] | None = None,
    tool_failure_policy: FailurePolicy | None = None,
) -> Callable[[Callable[P, R]], Tool[P, R]]: ...


def tool(target: Any = None, /, **fields: Any) -> Any:
    """Makes a tool from a sync or async function (CrewAI: ``crewai.tools.tool``).

    ``@tool``, ``@tool("Name")`` or ``@tool(timeout=5)``. The docstring is the description, and is needed; the
    arguments come from the type hints and defaults, their descriptions from ``Annotated[..., "text"]``,
    ``Field(description=...)`` or the docstring's ``Args:``. The tool can still be called like the function.

    Args:
        target: The function, or the tool's name; by default the function's.
        fields: As in ``BaseTool``.

    Raises:
        ConfigError: There is no docstring, or a parameter's type cannot be described to a model.
    """
    if callable(target):
        return _make(target, None, fields)
    if target is not None and not isinstance(target, str):
        raise ConfigError(f"@tool takes a function or a name, got {type(target).__name__} {target!r}")
    return functools.partial(_make, name=target, fields=fields)


def _make(function: Callable[..., Any], name: str | None, fields: dict[str, Any]) -> Tool[..., Any]:
    made: Tool[..., Any] = Tool(**function_fields(function, name), **fields)
    return made
