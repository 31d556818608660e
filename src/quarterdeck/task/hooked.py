"""The hooks around a task. Those of a task that is finished are not called again when the run goes on."""

from __future__ import annotations

import json
from typing import Any

from quarterdeck.errors import HookError
from quarterdeck.hooks.contexts import StepContext
from quarterdeck.hooks.dispatch import dispatch, hooks_at
from quarterdeck.hooks.points import InterceptionPoint
from quarterdeck.llm.structured import parse
from quarterdeck.task.output import TaskOutput
from quarterdeck.task.planned import PlannedTask


async def before_task(planned: PlannedTask, context: str) -> str:
    """The context that the task is given."""
    hooks = hooks_at(InterceptionPoint.PRE_STEP)
    if not hooks:
        return context
    ctx = StepContext(payload=context, step_name=planned.name)
    await dispatch(hooks, ctx)
    return str(ctx.payload)


async def after_task(planned: PlannedTask, output: TaskOutput) -> TaskOutput:
    """The output that is kept, delivered and given to later tasks."""
    hooks = hooks_at(InterceptionPoint.POST_STEP)
    if not hooks:
        return output
    raw, structured = output.raw, _structured(output)
    ctx = StepContext(payload=output, step_name=planned.name)
    await dispatch(hooks, ctx)
    if not isinstance(ctx.payload, TaskOutput):
        kind = type(ctx.payload).__name__
        raise HookError(f"a hook after task {planned.name!r} returned {kind}; expected a TaskOutput, a str or None")
    return _consistent(planned, ctx.payload, raw, structured)


def _structured(output: TaskOutput) -> Any:
    return output.pydantic.model_dump(mode="json") if output.pydantic else json.loads(json.dumps(output.json_dict))


def _consistent(planned: PlannedTask, output: TaskOutput, raw: str, structured: Any) -> TaskOutput:
    """Text and instance say the same: the one that a hook did not change follows the other."""
    model = planned.task.answer_model
    if output.raw == raw and _structured(output) != structured:
        text = output.pydantic.model_dump_json(by_alias=True) if output.pydantic else json.dumps(output.json_dict)
        return output.model_copy(update={"raw": text})
    if output.raw == raw or model is None:
        return output
    try:
        parsed = parse(output.raw, model)
    except ValueError as error:
        raise HookError(
            f"a hook changed the output of task {planned.name!r}, which no longer fits {model.__name__}: {error}"
        ) from None
    if output.json_dict is not None:
        return output.model_copy(update={"json_dict": parsed.model_dump(mode="json")})
    return output.model_copy(update={"pydantic": parsed})
