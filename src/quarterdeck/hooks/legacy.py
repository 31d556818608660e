"""CrewAI's older names: a decorator for each of the four points of calls, on the same registry as ``on``.

A hook before a call returns False to block it; one after a call returns the text that replaces the result.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from quarterdeck.concurrency import call
from quarterdeck.errors import HookAborted
from quarterdeck.hooks.points import InterceptionPoint
from quarterdeck.hooks.registry import (
    clear_all_hooks,
    clear_hooks,
    declare,
    get_hooks,
    make_hook,
    unregister_hook,
)

_PRE_MODEL, _POST_MODEL = InterceptionPoint.PRE_MODEL_CALL, InterceptionPoint.POST_MODEL_CALL
_PRE_TOOL, _POST_TOOL = InterceptionPoint.PRE_TOOL_CALL, InterceptionPoint.POST_TOOL_CALL


class Before:
    """A hook before a call, in the older form: False blocks, anything else lets it pass."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    async def __call__(self, context: Any) -> None:
        """Calls the hook."""
        if await call(self.function, context) is False:
            raise HookAborted(f"blocked by {getattr(self.function, '__name__', 'a hook')}")


class After:
    """A hook after a call, in the older form: a text replaces the result, anything else leaves it."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    async def __call__(self, context: Any) -> str | None:
        """Calls the hook."""
        answer = await call(self.function, context)
        return answer if isinstance(answer, str) else None


def _decorator(
    point: InterceptionPoint,
    wrap: type[Before | After],
    function: Callable[..., Any] | None = None,
    *,
    agents: Sequence[str] | None = None,
    tools: Sequence[str] | None = None,
) -> Any:
    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        declare(make_hook(point, function, agents=agents, tools=tools, wrap=wrap))
        return function

    return decorate(function) if function is not None else decorate


before_llm_call = functools.partial(_decorator, _PRE_MODEL, Before)
after_llm_call = functools.partial(_decorator, _POST_MODEL, After)
before_tool_call = functools.partial(_decorator, _PRE_TOOL, Before)
after_tool_call = functools.partial(_decorator, _POST_TOOL, After)

register_before_llm_call_hook = before_llm_call
register_after_llm_call_hook = after_llm_call
register_before_tool_call_hook = before_tool_call
register_after_tool_call_hook = after_tool_call

unregister_before_llm_call_hook = functools.partial(unregister_hook, _PRE_MODEL)
unregister_after_llm_call_hook = functools.partial(unregister_hook, _POST_MODEL)
unregister_before_tool_call_hook = functools.partial(unregister_hook, _PRE_TOOL)
unregister_after_tool_call_hook = functools.partial(unregister_hook, _POST_TOOL)

get_before_llm_call_hooks = functools.partial(get_hooks, _PRE_MODEL)
get_after_llm_call_hooks = functools.partial(get_hooks, _POST_MODEL)
get_before_tool_call_hooks = functools.partial(get_hooks, _PRE_TOOL)
get_after_tool_call_hooks = functools.partial(get_hooks, _POST_TOOL)

clear_before_llm_call_hooks = functools.partial(clear_hooks, _PRE_MODEL)
clear_after_llm_call_hooks = functools.partial(clear_hooks, _POST_MODEL)
clear_before_tool_call_hooks = functools.partial(clear_hooks, _PRE_TOOL)
clear_after_tool_call_hooks = functools.partial(clear_hooks, _POST_TOOL)


def clear_all_llm_call_hooks() -> tuple[int, int]:
    """Ends all registrations around calls to models; returns how many there were, before and after."""
    return clear_before_llm_call_hooks(), clear_after_llm_call_hooks()


def clear_all_tool_call_hooks() -> tuple[int, int]:
    """Ends all registrations around calls of tools; returns how many there were, before and after."""
    return clear_before_tool_call_hooks(), clear_after_tool_call_hooks()


clear_all_global_hooks = clear_all_hooks
