"""A crew's plan (``planning=True``): one call before the tasks that says, for each, how to go about it."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from pydantic import BaseModel, Field, create_model

from quarterdeck.agent import prompts
from quarterdeck.agent.loop import Loop
from quarterdeck.errors import MalformedResponseError, OutputFormatError
from quarterdeck.llm import BaseLLM
from quarterdeck.llm.types import Message
from quarterdeck.runtime.run import Run
from quarterdeck.task.planned import PlannedTask

logger = logging.getLogger("quarterdeck")

PATH = "plan"
"""The path of the planning: its call is ``plan/llm/1``."""


async def with_plans(
    run: Run, tasks: Sequence[PlannedTask], llm: BaseLLM, wait: Callable[[], Awaitable[None]] | None
) -> list[PlannedTask]:
    """The tasks, each with its plan. An answer that cannot be used after two repairs leaves them without one.

    Args:
        run: The run.
        tasks: The tasks.
        llm: The model that plans.
        wait: Awaited before each call (a rate limit).

    Raises:
        LLMError: A call to the model failed.
    """
    model = _model(tasks)
    schema = None if llm.supports_output_schema() else model.model_json_schema()
    messages: list[Message] = [
        {"role": "system", "content": prompts.PLANNER},
        {"role": "user", "content": prompts.plan_tasks([_about(task) for task in tasks], schema)},
    ]
    loop = Loop(run=run, path=PATH, llm=llm, role=prompts.PLANNER_ROLE, messages=messages, model=model, wait=wait)
    try:
        parsed = (await loop.answer()).parsed
    except (OutputFormatError, MalformedResponseError) as error:
        logger.warning("run %s: the tasks go on without a plan: %s", run.id, error)
        return list(tasks)
    return [dataclasses.replace(task, plan=getattr(parsed, f"plan_{task.index}")) for task in tasks]


def _model(tasks: Sequence[PlannedTask]) -> type[BaseModel]:
    """A plan for each task, by its name: none can be left out."""
    fields: dict[str, Any] = {f"plan_{task.index}": (str, Field(alias=task.name)) for task in tasks}
    return create_model("Plans", **fields)


def _about(task: PlannedTask) -> str:
    who = f"{task.persona.role} ({task.persona.goal})"
    if task.coworkers:
        who += f", with the help of {', '.join(coworker.name for coworker in task.coworkers)}"
    tools = ", ".join(tool.name for tool in task.tools)
    lines = [f"{task.name}: {task.description}", f"Expected output: {task.expected_output}", f"By: {who}"]
    return "\n".join([*lines, f"Tools: {tools}"] if tools else lines)
