"""The hooks around a flow's run and its methods. Those of a method that has finished are not called again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

from quarterdeck.errors import HookError
from quarterdeck.hooks import (
    ExecutionEndContext,
    ExecutionStartContext,
    InputContext,
    InterceptionPoint,
    OutputContext,
    StepContext,
)
from quarterdeck.hooks.dispatch import dispatch, hooks_at


async def before_flow(values: dict[str, Any]) -> dict[str, Any]:
    """The inputs as the hooks want them: at the run's first start only, for the journal keeps them."""
    starting, ready = hooks_at(InterceptionPoint.EXECUTION_START), hooks_at(InterceptionPoint.INPUT)
    if starting or ready:
        values = dict(values)
    if starting:
        values = (await dispatch(starting, ExecutionStartContext(payload=values))).payload
    if ready:
        values = (await dispatch(ready, InputContext(payload=values))).payload
    return values


async def after_flow(result: Any) -> Any:
    """The result as the hooks want it. A completed run whose result is asked for again calls them again."""
    if hooks := hooks_at(InterceptionPoint.OUTPUT):
        result = (await dispatch(hooks, OutputContext(payload=result))).payload
    if hooks := hooks_at(InterceptionPoint.EXECUTION_END):
        result = (await dispatch(hooks, ExecutionEndContext(payload=result))).payload
    return result


async def call_hooked(
    call: Callable[..., Awaitable[Any]], name: str, function: Callable[..., Any], *arguments: Any, **named: Any
) -> Any:
    """Calls a method, with the parameters and the result that the hooks want.

    Args:
        call: Calls a user's function.
        name: The method's name.
        function: The method.
        arguments: Its parameters by place: ``_0``, ``_1``, … in the hooks' payload.
        named: Those by name.
    """
    if hooks := hooks_at(InterceptionPoint.PRE_STEP):
        payload = {f"_{n}": value for n, value in enumerate(arguments)} | named
        ctx = StepContext(payload=payload, kind="flow_method", step_name=name)
        given: Any = (await dispatch(hooks, ctx)).payload
        if not isinstance(given, dict) or not payload.keys() <= given.keys():
            raise HookError(f"a hook before method {name!r} must leave the parameters {', '.join(payload) or 'none'}")
        values = cast("dict[str, Any]", given)
        arguments = tuple(values[f"_{n}"] for n in range(len(arguments)))
        named = {key: values[key] for key in named}
    result = await call(function, *arguments, **named)
    if hooks := hooks_at(InterceptionPoint.POST_STEP):
        result = (await dispatch(hooks, StepContext(payload=result, kind="flow_method", step_name=name))).payload
    return result
