"""The hooks around a whole run of a crew."""

from __future__ import annotations

from typing import Any

from quarterdeck.crew.output import CrewOutput
from quarterdeck.errors import HookError
from quarterdeck.hooks import ExecutionEndContext, InterceptionPoint, OutputContext
from quarterdeck.hooks.dispatch import dispatch, hooks_at


async def intercept_output(output: CrewOutput) -> CrewOutput:
    """The output as the hooks want it. A run that is killed before its end is kept calls them again."""
    if hooks := hooks_at(InterceptionPoint.OUTPUT):
        output = _checked((await dispatch(hooks, OutputContext(payload=output))).payload)
    if hooks := hooks_at(InterceptionPoint.EXECUTION_END):
        output = _checked((await dispatch(hooks, ExecutionEndContext(payload=output))).payload)
    return output


def _checked(value: Any) -> CrewOutput:
    if not isinstance(value, CrewOutput):
        raise HookError(f"a hook of the output returned {type(value).__name__}; expected a CrewOutput, a str or None")
    return value
