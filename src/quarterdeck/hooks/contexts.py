"""What a hook is given: one class for each kind of point, with CrewAI's names."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, cast

from pydantic import BaseModel

from quarterdeck.errors import HookError, UsageError
from quarterdeck.llm.base import BaseLLM
from quarterdeck.llm.types import Message, ToolCall
from quarterdeck.tools.base import BaseTool

Ask = Callable[[str, str], Awaitable[str]]
"""Asks a person: given what it is about and the question, awaits the answer's text."""


@dataclass(slots=True, kw_only=True)
class InterceptionContext:
    """What is intercepted, and where. ``payload`` may be changed in place, or replaced by returning another.

    Args:
        payload: What the point is about: see the point's class.
        agent: The Agent that works, where one does.
        agent_role: Its role, with the inputs put in.
        task: The Task, where there is one.
        crew: The Crew, where there is one.
        flow: The Flow, where there is one.
    """

    payload: Any = None
    agent: Any = None
    agent_role: str | None = None
    task: Any = None
    crew: Any = None
    flow: Any = None

    def replace(self, value: Any) -> None:
        """Puts what a hook returned in the payload's place.

        Raises:
            HookError: It is of another type than the point can use.
        """
        self.payload = value


@dataclass(slots=True, kw_only=True)
class ExecutionStartContext(InterceptionContext):
    """``EXECUTION_START``: ``payload`` is the dict of inputs as they were given."""

    @property
    def inputs(self) -> dict[str, Any]:
        """The payload."""
        return self.payload

    def replace(self, value: Any) -> None:
        """Takes other inputs; they must be a dict."""
        if not isinstance(value, dict):
            raise HookError(f"a hook of the inputs returned {type(value).__name__}; expected a dict, or None")
        self.payload = cast("dict[str, Any]", value)


@dataclass(slots=True, kw_only=True)
class InputContext(ExecutionStartContext):
    """``INPUT``: ``payload`` is the dict of inputs after the ``before_kickoff`` callbacks."""


def _with_text(output: Any, value: Any) -> Any:
    """What a hook returned in place of an output; a text alone is put into a copy of it."""
    if isinstance(value, str) and isinstance(output, BaseModel) and "raw" in type(output).model_fields:
        return output.model_copy(update={"raw": value})
    return value


@dataclass(slots=True, kw_only=True)
class OutputContext(InterceptionContext):
    """``OUTPUT``: ``payload`` is the ``CrewOutput``, or a flow's result."""

    @property
    def output(self) -> Any:
        """The payload."""
        return self.payload

    def replace(self, value: Any) -> None:
        """Takes another output, or another text for it."""
        self.payload = _with_text(self.payload, value)


@dataclass(slots=True, kw_only=True)
class ExecutionEndContext(OutputContext):
    """``EXECUTION_END``: ``payload`` is the output after the ``OUTPUT`` hooks."""


@dataclass(slots=True, kw_only=True)
class StepContext(InterceptionContext):
    """``PRE_STEP``, ``POST_STEP``: around a task or a flow's method.

    ``payload`` of a task is the context (the text of earlier outputs) before it, the ``TaskOutput`` after it; of a
    flow's method the dict of its parameters before it, its result after it.

    Args:
        kind: ``task`` or ``flow_method``.
        step_name: The task's or the method's name.
    """

    kind: str = "task"
    step_name: str = ""

    @property
    def output(self) -> Any:
        """The payload, after the step."""
        return self.payload

    def replace(self, value: Any) -> None:
        """Takes another payload, or another text for a ``TaskOutput``."""
        self.payload = _with_text(self.payload, value)


@dataclass(slots=True, kw_only=True)
class _CallContext(InterceptionContext):
    """Shared by calls of models and tools: a person can be asked."""

    ask: Ask
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)

    def request_human_input(
        self, prompt: str, default_message: str = "Press Enter to go on, or say what should be done."
    ) -> str:
        """Asks a person, from a sync hook, as ``human_input`` does: on the terminal, or whom the run was given.

        The answer is kept in the journal: a run that goes on does not ask again. In an async hook, await
        ``ask_human``.

        Args:
            prompt: What it is about.
            default_message: The question.

        Returns:
            What the person said; "" where they just accepted.

        Raises:
            UsageError: Called on the event loop itself.
            RunStopped: The answer comes later: the run ends as ``pending_human_input``.
        """
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is self.loop:
            raise UsageError("request_human_input() would block the loop: in an async hook, await ctx.ask_human(...)")
        return asyncio.run_coroutine_threadsafe(self.ask_human(prompt, default_message), self.loop).result()

    async def ask_human(self, prompt: str, default_message: str = "") -> str:
        """The async form of ``request_human_input``."""
        return await self.ask(prompt, default_message)


@dataclass(slots=True, kw_only=True)
class LLMCallHookContext(_CallContext):
    """``PRE_MODEL_CALL``, ``POST_MODEL_CALL``: one call to a model.

    Args:
        messages: The conversation that is sent; before the call it may be changed.
        llm: The model.
        iterations: Calls made before this one in the same try of the task.
        response: The answer's text, after the call; "" where the model only calls tools.
        tool_calls: The tool calls of the answer.
        executor: Taken for compatibility; None.
    """

    messages: list[Message]
    llm: BaseLLM
    iterations: int = 0
    response: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    executor: Any = None

    def replace(self, value: Any) -> None:
        """Takes other messages before the call, another text after it."""
        if self.response is None and isinstance(value, list):
            self.messages = cast("list[Message]", value)
        elif self.response is not None and isinstance(value, str):
            self.response = value
        else:
            expected = "a list of messages" if self.response is None else "a str"
            raise HookError(f"a hook of a model call returned {type(value).__name__}; expected {expected}, or None")
        self.payload = value


@dataclass(slots=True, kw_only=True)
class ToolCallHookContext(_CallContext):
    """``PRE_TOOL_CALL``, ``POST_TOOL_CALL``: one call of a tool.

    Args:
        tool_name: The tool's name.
        tool_input: The arguments as the model wrote them; before the call they may be changed.
        tool: The tool.
        tool_result: What the model is told, after the call.
        raw_tool_result: What the tool returned, after the call; None where it failed.
    """

    tool_name: str
    tool_input: dict[str, Any]
    tool: BaseTool
    tool_result: str | None = None
    raw_tool_result: Any = None

    def replace(self, value: Any) -> None:
        """Takes other arguments before the call, another result after it."""
        if self.tool_result is None and isinstance(value, dict):
            self.tool_input = cast("dict[str, Any]", value)
        elif self.tool_result is not None and isinstance(value, str):
            self.tool_result = value
        else:
            expected = "a dict of arguments" if self.tool_result is None else "a str"
            raise HookError(f"a hook of a tool call returned {type(value).__name__}; expected {expected}, or None")
        self.payload = value
