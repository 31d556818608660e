"""Results of a run's earlier tool calls, used again where the same call is made twice."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

from quarterdeck.tools.base import BaseTool
from quarterdeck.tools.result import ToolResult

_log = logging.getLogger(__name__)

Key = tuple[int, str]

_under_way: ContextVar[frozenset[Key]] = ContextVar("quarterdeck_cached_calls", default=frozenset())
"""The calls that the current one is inside of: it must not wait for one of them."""


class ToolCache:
    """The results of one run, by tool object and arguments; the run owns it.

    Only good results are kept, and only those that the tool's ``cache_function`` lets be kept. Results of tools
    with ``retry="never"`` are not: they act on the world, so each call is meant. Use it on one event loop.
    """

    def __init__(self) -> None:
        self._results: dict[Key, ToolResult] = {}
        self._running: dict[Key, asyncio.Event] = {}
        self._tools: dict[int, BaseTool] = {}  # kept, so that a tool's id stays its own

    async def call(
        self, tool: BaseTool, arguments: Mapping[str, Any], execute: Callable[[], Awaitable[ToolResult]]
    ) -> ToolResult:
        """The earlier result of the same call, or that of ``execute``; equal calls at once share one execution."""
        key = self._key(tool, arguments)
        if tool.retry == "never" or key is None or key in _under_way.get():
            return await execute()
        while key in self._running:
            await self._running[key].wait()
        if found := self._results.get(key):
            return replace(found, cached=True, seconds=0.0)
        ended = self._running[key] = asyncio.Event()
        token = _under_way.set(_under_way.get() | {key})
        try:
            result = await execute()
            self._keep(key, tool, arguments, result)
        finally:
            _under_way.reset(token)
            del self._running[key]
            ended.set()
        return result

    def put(self, tool: BaseTool, arguments: Mapping[str, Any], result: ToolResult) -> None:
        """Keeps a result, where it may be kept; also called for the finished steps of a run that goes on."""
        key = self._key(tool, arguments)
        if key is not None and tool.retry != "never":
            self._keep(key, tool, arguments, result)

    def _keep(self, key: Key, tool: BaseTool, arguments: Mapping[str, Any], result: ToolResult) -> None:
        if result.ok and _may_keep(tool, arguments, result):
            self._tools[id(tool)] = tool
            self._results[key] = result

    def _key(self, tool: BaseTool, arguments: Mapping[str, Any]) -> Key | None:
        try:
            return id(tool), json.dumps(arguments, sort_keys=True)
        except (TypeError, ValueError):  # arguments given from Python that are not JSON
            return None


def _may_keep(tool: BaseTool, arguments: Mapping[str, Any], result: ToolResult) -> bool:
    value = result.output if result.value is None else result.value
    try:
        return bool(tool.cache_function(dict(arguments), value))
    except Exception:  # the call itself was good, and its result must not be lost
        _log.warning("cache_function of tool %r failed; the result is not kept", tool.name, exc_info=True)
        return False
