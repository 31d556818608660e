"""The hooks around calls of models and tools.

They are part of the step: what the journal keeps is what was sent and what the program was given. A finished step
does not call its hooks again; one that was under way calls them again.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, cast

from quarterdeck.errors import HookAborted
from quarterdeck.events import ToolFinished, current_scope
from quarterdeck.hooks.contexts import LLMCallHookContext, ToolCallHookContext
from quarterdeck.hooks.dispatch import dispatch
from quarterdeck.hooks.registry import Hook
from quarterdeck.llm.base import BaseLLM
from quarterdeck.llm.types import LLMRequest, LLMResponse, Message, ToolCall
from quarterdeck.runtime.human_step import human_step
from quarterdeck.runtime.run import Run
from quarterdeck.tools import BaseTool
from quarterdeck.tools.failure import ToolFailure
from quarterdeck.tools.result import ToolResult


async def before_llm(hooks: tuple[Hook, ...], run: Run, path: str, llm: BaseLLM, request: LLMRequest) -> LLMRequest:
    """The request as the hooks want it sent. A change holds for this one call."""
    messages: list[Message] = [dict(message) for message in request.messages]
    ctx = LLMCallHookContext(
        payload=messages, messages=messages, llm=llm, iterations=_iterations(path), ask=_asker(run, f"{path}/before")
    )
    await dispatch(hooks, ctx)
    return request if ctx.messages == list(request.messages) else replace(request, messages=tuple(ctx.messages))


async def after_llm(
    hooks: tuple[Hook, ...], run: Run, path: str, llm: BaseLLM, request: LLMRequest, response: LLMResponse
) -> LLMResponse:
    """The response as the hooks want it taken."""
    ctx = LLMCallHookContext(
        payload=response.text,
        messages=[dict(message) for message in request.messages],
        llm=llm,
        iterations=_iterations(path),
        response=response.text,
        tool_calls=response.tool_calls,
        ask=_asker(run, f"{path}/after"),
    )
    await dispatch(hooks, ctx)
    return response if ctx.response == response.text else replace(response, text=ctx.response or "")


async def before_tool(
    hooks: tuple[Hook, ...], run: Run, path: str, tool: BaseTool, call: ToolCall, agent: str
) -> tuple[ToolCall, ToolFinished | None]:
    """The call as the hooks want it made, and its end where one of them blocks it."""
    given, text = arguments_of(call), call.arguments
    ctx = ToolCallHookContext(
        payload=given, tool_name=call.name, tool_input=given, tool=tool, ask=_asker(run, f"{path}/before")
    )
    before = json.dumps(given, sort_keys=True)
    try:
        await dispatch(hooks, ctx, tool=tool.name)
    except HookAborted as error:
        return call, ToolFinished(
            path=path,
            tool=tool.name,
            arguments=given,
            agent=agent,
            output=_blocked(tool, error),
            ok=False,
            error=f"{error}",
            reason="blocked",
        )
    if json.dumps(ctx.tool_input, sort_keys=True, default=str) != before:
        text = json.dumps(ctx.tool_input, ensure_ascii=False, default=str)
    return replace(call, arguments=text), None


async def after_tool(
    hooks: tuple[Hook, ...], run: Run, path: str, tool: BaseTool, call: ToolCall, result: ToolResult
) -> ToolResult:
    """The result as the hooks want it told. One that aborts keeps it from the model."""
    ctx = ToolCallHookContext(
        payload=result.output,
        tool_name=call.name,
        tool_input=dict(result.arguments),
        tool=tool,
        tool_result=result.output,
        raw_tool_result=result.value,
        ask=_asker(run, f"{path}/after"),
    )
    try:
        await dispatch(hooks, ctx, tool=tool.name)
    except HookAborted as error:
        failure = ToolFailure(error.reason, reason="blocked")
        return replace(
            result, output=_blocked(tool, error), ok=False, error=f"{error}", is_answer=False, failure=failure
        )
    return result if ctx.tool_result == result.output else replace(result, output=ctx.tool_result or "")


def _blocked(tool: BaseTool, error: HookAborted) -> str:
    """What the model is told of a call that was blocked."""
    reason = f": {error.reason}" if error.reason else ""
    return f"The call of {tool.name!r} was blocked{reason}. Do not repeat it; go on without it."


def _asker(run: Run, path: str) -> Callable[[str, str], Awaitable[str]]:
    """Asks a person, each question at a path of its own."""
    count = 0

    async def ask(prompt: str, question: str) -> str:
        nonlocal count
        count += 1
        here = current_scope()
        answer = await human_step(run, f"{path}/human/{count}", here.task_name, here.role, prompt, question)
        return answer.feedback

    return ask


def _iterations(path: str) -> int:
    """Calls to the model before this one: its path ends in its number."""
    number = path.rpartition("/")[2]
    return int(number) - 1 if number.isdigit() else 0


def arguments_of(call: ToolCall) -> dict[str, Any]:
    """The call's arguments for the events, before they are checked."""
    try:
        value: Any = json.loads(call.arguments or "{}")
    except ValueError:
        return {"": call.arguments}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {"": value}
