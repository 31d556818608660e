"""The steps of a run: a call to a model, a call of a tool, a question to a person.

Each has a path. One whose finish is in the journal is not done again; its result is taken from there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from quarterdeck.errors import LLMError, RunStopped
from quarterdeck.events import (
    LLMDelta,
    LLMFailed,
    LLMFinished,
    LLMRetried,
    LLMStarted,
    ToolFinished,
    ToolIntended,
    ToolStarted,
    scope,
)
from quarterdeck.hooks.dispatch import hooks_at
from quarterdeck.hooks.points import InterceptionPoint
from quarterdeck.llm.base import BaseLLM
from quarterdeck.llm.http import before_sending
from quarterdeck.llm.send import send
from quarterdeck.llm.types import LLMRequest, LLMResponse, ToolCall, UsageMetrics
from quarterdeck.runtime.hooked import after_llm, after_tool, arguments_of, before_llm, before_tool
from quarterdeck.runtime.human_step import human_step as human_step
from quarterdeck.runtime.run import Run
from quarterdeck.tools import BaseTool
from quarterdeck.tools.call import call_tool
from quarterdeck.tools.context import StepContext
from quarterdeck.tools.failure import FailurePolicy
from quarterdeck.tools.result import ToolResult


async def llm_step(
    run: Run,
    path: str,
    llm: BaseLLM,
    request: LLMRequest,
    *,
    agent: str = "",
    wait: Callable[[], Any] | None = None,
) -> LLMResponse:
    """One call to a model, or its result from the journal.

    Args:
        run: The run.
        path: The step's path.
        llm: The model.
        request: What is sent.
        agent: Role of the agent that calls, for the events.
        wait: Awaited before the call is sent (a rate limit).

    Raises:
        LLMError: The call failed for good.
        HookAborted: A hook stopped it.
        RunStopped: The run has been stopped, or a limit is reached.
    """
    done = run.finished.get(path)
    if isinstance(done, LLMFinished):
        return _response(done)
    run.check()
    if before := hooks_at(InterceptionPoint.PRE_MODEL_CALL):
        request = await before_llm(before, run, path, llm, request)
        run.check()
    if wait:
        await wait()
        run.check()
    chars = _chars(request)
    priced = run.meter.budget.max_cost_usd is None or llm.cost(UsageMetrics()) is not None
    try:
        cap = run.meter.before_llm(chars, priced=priced, model=llm.model)
    except RunStopped as stop:
        raise run.stop(stop) from None
    if cap is not None and (request.max_tokens is None or cap < request.max_tokens):
        request = replace(request, max_tokens=cap if llm.max_tokens is None else min(cap, llm.max_tokens))
    response, seconds = await _send(run, path, llm, request, agent, chars)
    if after := hooks_at(InterceptionPoint.POST_MODEL_CALL):
        response = await after_llm(after, run, path, llm, request, response)
    cost = llm.cost(response.usage)
    run.meter.after_llm(chars, response.usage.total_tokens, cost)
    run.count(response.usage, cost)
    run.hear(path, response.text)
    if run.watched:
        await run.record(_llm_finished(path, llm, request, response, agent, cost, seconds))
    return response


async def _send(
    run: Run, path: str, llm: BaseLLM, request: LLMRequest, agent: str, chars: int
) -> tuple[LLMResponse, float]:
    if run.watched:
        with scope(llm=llm, request=request):
            run.emit(LLMStarted(path=path, model=llm.model, agent=agent))

    def on_delta(text: str) -> None:
        run.emit(LLMDelta(path=path, text=text, agent=agent))

    def on_retry(error: LLMError, attempt: int, wait: float) -> None:
        run.emit(LLMRetried(path=path, model=llm.model, error=str(error), attempt=attempt, wait=wait))
        run.check()

    # Importing the client and connecting take a while, in which the process may have slept and lost the run.
    token = before_sending.set(run.check if run.before_step else None)
    started = time.perf_counter()
    try:
        keyed = replace(request, step_key=run.step_key(path))
        streams = run.stream or (run.watched and getattr(llm, "stream", False))
        response = await send(llm, keyed, on_delta if streams else None, on_retry)
    except BaseException as error:
        run.meter.after_llm(chars, 0, 0.0)
        if isinstance(error, Exception):
            kind = type(error).__name__
            run.emit(LLMFailed(path=path, model=llm.model, error=str(error), error_type=kind, agent=agent))
        raise
    finally:
        before_sending.reset(token)
    return response, time.perf_counter() - started


async def tool_step(
    run: Run,
    path: str,
    tool: BaseTool,
    call: ToolCall,
    *,
    agent: str = "",
    cache: bool = False,
    policy: FailurePolicy = "warn",
) -> ToolFinished:
    """One call of a tool, or its result from the journal. An error of the tool is a result too.

    Args:
        run: The run.
        path: The step's path.
        tool: The tool.
        call: What the model asked for.
        agent: Role of the agent that calls, for the events.
        cache: Whether an earlier result of the same call in this run may be used.
        policy: What a failure does to the task. A failed call that ended the run (``raise``) is made again when the
            run goes on.

    Raises:
        RunStopped: The run has been stopped, a limit is reached, or a call that must not be repeated is in doubt.
    """
    done = run.finished.get(path)
    if isinstance(done, ToolFinished) and not raises(done):
        _replay(run, tool, done, cache)
        return done
    run.check()
    if path in run.intended and tool.retry == "never":
        answered = await _resolve_doubt(run, path, tool, arguments_of(call), agent)
        if answered:
            return answered
    refused: ToolFinished | None = None
    if before := hooks_at(InterceptionPoint.PRE_TOOL_CALL):
        call, refused = await before_tool(before, run, path, tool, call, agent)
        run.check()
    try:
        run.meter.before_tool()
    except RunStopped as stop:
        raise run.stop(stop) from None
    if refused:
        await run.record(refused)
        return refused
    if tool.retry == "never":
        await run.record(ToolIntended(path=path, tool=tool.name, arguments=arguments_of(call), agent=agent))
    elif run.watched:
        run.emit(ToolStarted(path=path, tool=tool.name, arguments=arguments_of(call), agent=agent))
    step = StepContext(run_id=run.id, path=path, step_key=run.step_key(path), attempt=run.segment)
    result = await call_tool(tool, call.arguments, step=step, usage=run.tool_usage, cache=run.cache if cache else None)
    changed = False
    if after := hooks_at(InterceptionPoint.POST_TOOL_CALL):
        given = result.output
        result = await after_tool(after, run, path, tool, call, result)
        changed = result.output != given
    event = ToolFinished(
        path=path,
        tool=tool.name,
        arguments=result.arguments,
        agent=agent,
        output=result.output,
        ok=result.ok,
        error=result.error,
        reason=result.reason,
        cached=result.cached,
        seconds=round(result.seconds, 6),
        is_answer=result.is_answer,
        changed=changed,
        policy="" if result.ok else policy,
    )
    await run.record(event)
    return event


def raises(event: ToolFinished) -> bool:
    """Whether a call's failure ends the task. What the model got wrong, or was not allowed, does not: it is told."""
    told = ("invalid_input", "unknown_tool", "usage_limit", "blocked")
    return not event.ok and event.policy == "raise" and event.reason not in told


async def unknown_tool_step(
    run: Run, path: str, call: ToolCall, known: Iterable[str], *, agent: str = ""
) -> ToolFinished:
    """The answer to a call of a tool that is not there; it counts as a tool call.

    Args:
        run: The run.
        path: The step's path.
        call: What the model asked for.
        known: Names of the tools that are there.
        agent: Role of the agent that calls, for the events.

    Raises:
        RunStopped: The run has been stopped, or a limit is reached.
    """
    done = run.finished.get(path)
    if isinstance(done, ToolFinished):
        return done
    run.check()
    try:
        run.meter.before_tool()
    except RunStopped as stop:
        raise run.stop(stop) from None
    text = f"There is no tool {call.name!r}. The tools are: {', '.join(known) or 'none'}."
    event = ToolFinished(
        path=path,
        tool=call.name,
        arguments=arguments_of(call),
        agent=agent,
        output=text,
        ok=False,
        error=text,
        reason="unknown_tool",
    )
    await run.record(event)
    return event


def _replay(run: Run, tool: BaseTool, done: ToolFinished, cache: bool) -> None:
    """Counts a finished call, and lets the cache have its result, as if it had been made now."""
    run.tool_usage.replay(tool, reason=done.reason, cached=done.cached)
    if cache and done.ok and not done.changed:
        run.cache.put(tool, done.arguments, ToolResult(done.output, arguments=done.arguments))


async def _resolve_doubt(
    run: Run, path: str, tool: BaseTool, arguments: dict[str, Any], agent: str
) -> ToolFinished | None:
    """A call that may have happened: the given answer, None to make it now, or the end of the run."""
    if path not in run.resolve:
        raise run.stop(
            RunStopped(
                "in_doubt",
                f"the tool {tool.name!r} must not be repeated (retry='never') and was under way at {path!r} when "
                f"the run was interrupted. Find out whether it happened, then go on with the same run_id and "
                f"resolve={{{path!r}: 'its result'}}, or resolve={{{path!r}: None}} to do it again",
                path,
            )
        )
    answer = run.resolve[path]
    if answer is None:
        return None
    event = ToolFinished(
        path=path,
        tool=tool.name,
        arguments=arguments,
        agent=agent,
        output=answer,
        is_answer=tool.result_as_answer,
    )
    run.meter.tool_calls += 1
    run.tool_usage.replay(tool)
    await run.record(event)
    return event


def _chars(request: LLMRequest) -> int:
    """Characters of a prompt: texts, and the arguments of tool calls."""
    count = 0
    for message in request.messages:
        content = message.get("content")
        if isinstance(content, str):
            count += len(content)
        elif content:
            count += sum(len(part.get("text", "")) for part in content)
        for call in message.get("tool_calls") or ():
            count += len(call["function"]["arguments"])
    return count


def _response(event: LLMFinished) -> LLMResponse:
    return LLMResponse(
        text=event.text,
        tool_calls=tuple(ToolCall.from_message_part(part) for part in event.tool_calls),
        usage=UsageMetrics(**event.usage),
        finish_reason=event.finish_reason,
        model=event.model,
        response_id=event.response_id,
        reasoning=event.reasoning,
    )


def _llm_finished(
    path: str,
    llm: BaseLLM,
    request: LLMRequest,
    response: LLMResponse,
    agent: str,
    cost: float | None,
    seconds: float,
) -> LLMFinished:
    return LLMFinished(
        path=path,
        model=llm.model,
        agent=agent,
        messages=list(request.messages),
        tools=[tool.name for tool in request.tools],
        text=response.text,
        tool_calls=[call.to_message_part() for call in response.tool_calls],
        finish_reason=response.finish_reason,
        reasoning=response.reasoning,
        usage=response.usage.model_dump(),
        cost_usd=cost,
        seconds=round(seconds, 6),
        response_id=response.response_id,
    )
