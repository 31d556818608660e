"""One tool call of a model: JSON text in, a ToolResult out, whatever happens."""

from __future__ import annotations

import asyncio
import functools
import time
import traceback
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from quarterdeck.concurrency import call
from quarterdeck.errors import (
    HookError,
    JournalError,
    ToolArgumentsError,
    ToolError,
    ToolTimeoutError,
    ToolUsageLimitError,
)
from quarterdeck.tools.arguments import parse_arguments
from quarterdeck.tools.base import BaseTool, plan_of, run_function
from quarterdeck.tools.cache import ToolCache
from quarterdeck.tools.context import StepContext, enter_step, leave_step
from quarterdeck.tools.failure import FailureReason, ToolFailure
from quarterdeck.tools.result import ToolResult
from quarterdeck.tools.usage import ToolUsage

_MAX_ERROR = 500
"""Characters of an exception's message that the model is told."""


async def call_tool(
    tool: BaseTool,
    arguments: str | Mapping[str, Any],
    *,
    step: StepContext,
    usage: ToolUsage | None = None,
    cache: ToolCache | None = None,
) -> ToolResult:
    """Makes one call of a tool. What goes wrong in it is told to the model, and not raised.

    Args:
        tool: The tool.
        arguments: The JSON text as the model wrote it, or a dict.
        step: The step that the call is; ``step_key()`` gives its key inside the tool.
        usage: The run's counter, which holds the tool to its ``max_usage_count``.
        cache: The run's cache of results.

    Raises:
        RunStopped: The tool, or something that it called, ended the run.
        JournalError: A step inside of the tool could not be kept.
        HookError: A hook stopped a step inside of the tool, or failed.
        asyncio.CancelledError: The caller was cancelled. A sync tool's thread runs on and its result is dropped.
    """
    started = time.perf_counter()
    given: dict[str, Any] = {}
    try:
        given = parse_arguments(arguments)
        values = plan_of(tool).values(given)
    except ToolArgumentsError as error:
        return _failed("invalid_input", str(error), error, given, started)
    except (Exception, SystemExit) as error:  # a validator of the user's, with an error of its own
        return _failed("invalid_input", f"Wrong arguments: {_one_line(error)}", error, given, started)
    execute = functools.partial(_execute, tool, values, given, step, usage, started)
    if cache is None:
        return await execute()
    return await cache.call(tool, given, execute)


async def _execute(
    tool: BaseTool,
    values: dict[str, Any],
    given: dict[str, Any],
    step: StepContext,
    usage: ToolUsage | None,
    started: float,
) -> ToolResult:
    token = enter_step(step)
    try:
        if usage is not None:
            usage.claim(tool)
        value = await _run(tool, values)
        if isinstance(value, ToolFailure):
            return _reported(value, given, started)
        if tool.result_schema is not None:
            value = _fitting(tool.result_schema, value)
        output = tool.format_output_for_agent(value)
    except ToolUsageLimitError as error:
        return _failed("usage_limit", str(error), error, given, started)
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        return _failed("exception", "The tool's own work was cancelled.", error, given, started)
    except (JournalError, HookError):  # of a step inside of the tool: no failure of the tool's own
        raise
    except ToolError as error:  # raised with words that are meant for the model
        return _failed("exception", str(error), error, given, started)
    except (Exception, SystemExit) as error:
        return _failed("exception", f"The tool failed: {_one_line(error)}", error, given, started)
    finally:
        leave_step(token)
    return ToolResult(
        output=output,
        value=value,
        arguments=given,
        seconds=time.perf_counter() - started,
        is_answer=tool.result_as_answer,
    )


async def _run(tool: BaseTool, values: dict[str, Any]) -> Any:
    if tool.timeout is None:
        return await call(run_function(tool), **values)
    limit = asyncio.timeout(tool.timeout)
    try:
        async with limit:
            return await call(run_function(tool), **values)
    except TimeoutError:
        if not limit.expired():  # the tool's own
            raise
        raise ToolTimeoutError(f"The tool took longer than its time limit of {tool.timeout:g} s.") from None


@functools.lru_cache(maxsize=256)
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _fitting(kind: Any, value: Any) -> Any:
    """The value as ``result_schema`` describes it; a text that is JSON is read as such."""
    try:
        if isinstance(value, str) and kind is not str:
            return _adapter(kind).validate_json(value)
        return _adapter(kind).validate_python(value)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in problem["loc"]) or "result"
        raise ToolError(
            f"The tool returned a result that does not fit its schema: {where}: {problem['msg']}."
        ) from error


def _reported(failure: ToolFailure, given: dict[str, Any], started: float) -> ToolResult:
    return ToolResult(
        output=failure.as_agent_message(),
        ok=False,
        error=f"{failure.reason}: {failure.message} code={failure.code} details={failure.details}",
        arguments=given,
        seconds=time.perf_counter() - started,
        failure=failure,
    )


def _failed(
    reason: FailureReason, message: str, error: BaseException, given: dict[str, Any], started: float
) -> ToolResult:
    return ToolResult(
        output=message,
        ok=False,
        error="".join(traceback.format_exception(error)),
        arguments=given,
        seconds=time.perf_counter() - started,
        failure=ToolFailure(message, reason=reason, code=type(error).__name__),
    )


def _one_line(error: BaseException) -> str:
    try:
        words = " ".join(str(error).split())
    except Exception:  # an exception whose own text fails
        words = ""
    if len(words) > _MAX_ERROR:
        words = f"{words[:_MAX_ERROR]}…"
    return f"{type(error).__name__}: {words}" if words else type(error).__name__
