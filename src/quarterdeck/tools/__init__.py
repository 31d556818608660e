"""Tools: what agents can call. Each name is loaded when it is first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from quarterdeck.errors import ToolExecutionFailedError as ToolExecutionFailedError

if TYPE_CHECKING:
    from quarterdeck.tools.base import BaseTool as BaseTool
    from quarterdeck.tools.base import CrewStructuredTool as CrewStructuredTool
    from quarterdeck.tools.base import EnvVar as EnvVar
    from quarterdeck.tools.base import Tool as Tool
    from quarterdeck.tools.builtin.calculator import Calculator as Calculator
    from quarterdeck.tools.builtin.data import QueryData as QueryData
    from quarterdeck.tools.builtin.fetch import FetchURL as FetchURL
    from quarterdeck.tools.builtin.files import ListFiles as ListFiles
    from quarterdeck.tools.builtin.files import ReadFile as ReadFile
    from quarterdeck.tools.builtin.files import WriteFile as WriteFile
    from quarterdeck.tools.context import current_step as current_step
    from quarterdeck.tools.context import step_key as step_key
    from quarterdeck.tools.decorator import tool as tool
    from quarterdeck.tools.failure import ToolFailure as ToolFailure

_HOMES = {
    "BaseTool": "base",
    "Calculator": "builtin.calculator",
    "CrewStructuredTool": "base",
    "EnvVar": "base",
    "FetchURL": "builtin.fetch",
    "ListFiles": "builtin.files",
    "QueryData": "builtin.data",
    "ReadFile": "builtin.files",
    "Tool": "base",
    "ToolFailure": "failure",
    "WriteFile": "builtin.files",
    "current_step": "context",
    "step_key": "context",
    "tool": "decorator",
}

__all__ = ["ToolExecutionFailedError", *_HOMES]  # pyright: ignore[reportUnsupportedDunderAll] - the names are those imported above


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
