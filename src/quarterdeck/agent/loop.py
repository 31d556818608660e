"""The agent loop: the model is asked, its tool calls are made, until it has an answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel

from quarterdeck.agent import prompts
from quarterdeck.agent.steps import AgentAction, AgentFinish
from quarterdeck.concurrency import call, finish_all
from quarterdeck.errors import ContextTooLongError, MalformedResponseError, OutputFormatError, ToolExecutionFailedError
from quarterdeck.events import LimitReached, ToolFinished
from quarterdeck.llm import text_protocol
from quarterdeck.llm.base import BaseLLM
from quarterdeck.llm.structured import output_schema, parse
from quarterdeck.llm.types import LLMRequest, LLMResponse, Message, OutputSchema, ToolCall, ToolSpec
from quarterdeck.runtime.run import Run
from quarterdeck.runtime.steps import llm_step, raises, tool_step, unknown_tool_step
from quarterdeck.tools import BaseTool
from quarterdeck.tools.base import tool_spec
from quarterdeck.tools.failure import FailurePolicy
from quarterdeck.tools.names import name_tools

_JSON_REPAIRS = 2


@dataclass(frozen=True, slots=True)
class Answer:
    """An agent's answer: its text, the instance of the model asked for, and the conversation that led to it."""

    text: str
    parsed: BaseModel | None
    messages: list[Message]


@dataclass(slots=True)
class Loop:
    """One conversation of an agent with its model about one task.

    Args:
        run: The run that it is part of.
        path: The path of this try, such as ``research/1``.
        llm: The model.
        role: The agent's role, for the events.
        messages: The conversation; grows.
        tools: The tools by the names that the model knows.
        model: The class that the answer must fit, or None.
        max_iter: Calls to the model before it must answer.
        max_tokens: Upper limit of each of the model's answers, or None.
        stop: Texts that end an answer.
        shrink: Whether a conversation that is too long is cut and sent again.
        cache: Whether results of equal tool calls are used again.
        wait: Awaited before each call to the model.
        on_step: Functions that are given each AgentAction and the AgentFinish.
        policy: What a failed call does to the task, where the tool does not say.
        last: Names of the tools whose ``usage_limit`` means that the model has to answer now.
    """

    run: Run
    path: str
    llm: BaseLLM
    role: str
    messages: list[Message]
    tools: dict[str, BaseTool] = field(default_factory=dict[str, BaseTool])
    model: type[BaseModel] | None = None
    max_iter: int = 25
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    shrink: bool = True
    cache: bool = False
    wait: Callable[[], Awaitable[None]] | None = None
    on_step: Sequence[Callable[..., Any]] = ()
    policy: FailurePolicy = "warn"
    last: frozenset[str] = frozenset()
    specs: tuple[ToolSpec, ...] = field(init=False)
    _schema: OutputSchema | None = field(init=False, default=None)
    _calls: int = 0
    _tool_calls: int = 0
    _reasoning: str = ""
    _used_up: bool = False

    def __post_init__(self) -> None:
        self.specs = tuple(tool_spec(item, name) for name, item in self.tools.items())
        if self.model and self.llm.supports_output_schema():
            self._schema = output_schema(self.model)

    async def answer(self) -> Answer:
        """Works until there is an answer that fits.

        Raises:
            LLMError: A call to the model failed.
            OutputFormatError: The answer still does not fit the model after the repairs.
            RunStopped: The run was stopped.
        """
        text = await self._work()
        parsed = await self._parsed(text) if self.model else None
        if parsed is not None:
            text = str(self.messages[-1]["content"])
        await self._tell(AgentFinish(self._reasoning, text, text))
        return Answer(text, parsed, self.messages)

    async def _work(self) -> str:
        for _ in range(self.max_iter):
            response = await self._ask()
            if not response.tool_calls:
                return self._finish(response)
            self.messages.append(response.to_message())
            answer = await self._use_tools(response)
            if answer is not None:
                self.messages.append({"role": "assistant", "content": answer})
                return answer
            if self._used_up:
                break
        else:
            self.run.emit(
                LimitReached(path=self.path, limit="max_iter", allowed=float(self.max_iter), used=float(self.max_iter))
            )
        self.messages.append({"role": "user", "content": prompts.FORCE_ANSWER})
        return self._finish(await self._ask(tool_choice="none"))

    def _finish(self, response: LLMResponse) -> str:
        if not response.text.strip():
            raise MalformedResponseError(f"{self.llm.model} gave an empty answer", model=self.llm.model)
        self.messages.append({"role": "assistant", "content": response.text})
        self._reasoning = response.reasoning or ""
        return response.text

    async def _tell(self, step: AgentAction | AgentFinish) -> None:
        for function in self.on_step:
            await call(function, step)

    # -- the model ----------------------------------------------------------------------------------------

    async def _ask(self, tool_choice: Literal["auto", "none"] = "auto") -> LLMResponse:
        if self.specs and not self.llm.supports_function_calling():
            return await self._ask_in_text(tool_choice)
        return await self._call(lambda: self._request(tool_choice))

    def _request(self, tool_choice: Literal["auto", "none"]) -> LLMRequest:
        specs, schema = self.specs, self._schema
        if specs and schema and not self.llm.supports_schema_with_tools():
            if tool_choice == "none":
                specs = ()  # the schema is worth more than tools that may not be called
            else:
                schema = None
        choice = tool_choice if specs else "auto"
        return LLMRequest(tuple(self.messages), specs, choice, schema, self.stop, self.max_tokens)

    async def _ask_in_text(self, tool_choice: Literal["auto", "none"]) -> LLMResponse:
        """For a model without tool calls: they are described in the prompt, and read from the text."""
        constrained = self.llm.supports_output_schema()

        def build() -> LLMRequest:
            return text_protocol.encode(self._request(tool_choice), schema=constrained)

        response = await self._call(build)
        try:
            return text_protocol.decode(response, self._request(tool_choice), schema=constrained)
        except MalformedResponseError as error:
            self.messages.append({"role": "assistant", "content": response.text})
            self.messages.append(text_protocol.repair_message(error))
        response = await self._call(build)
        return text_protocol.decode(response, self._request(tool_choice), schema=constrained)

    async def _call(self, build: Callable[[], LLMRequest]) -> LLMResponse:
        path = f"{self.path}/llm/{self._calls + 1}"
        while True:
            try:
                response = await llm_step(self.run, path, self.llm, build(), agent=self.role, wait=self.wait)
            except ContextTooLongError:
                if not self.shrink or not shorten(self.messages):
                    raise
                continue
            self._calls += 1
            return response

    async def _parsed(self, text: str) -> BaseModel:
        assert self.model
        for _ in range(_JSON_REPAIRS):
            try:
                return parse(text, self.model)
            except ValueError as error:
                self.messages.append({"role": "user", "content": prompts.repair_json(str(error))})
            response = await self._ask(tool_choice="none")
            text = response.text
            self.messages.append({"role": "assistant", "content": text})
        try:
            return parse(text, self.model)
        except ValueError as error:
            raise OutputFormatError(
                f"{self.role}: the answer does not fit {self.model.__name__} after {_JSON_REPAIRS} repairs: {error}"
            ) from None

    # -- the tools ----------------------------------------------------------------------------------------

    async def _use_tools(self, response: LLMResponse) -> str | None:
        """Makes the calls, side by side, and adds their results to the conversation in the model's order.

        Returns:
            The answer, where a tool with ``result_as_answer`` gave it.
        """
        base, calls = self._tool_calls, response.tool_calls
        self._tool_calls += len(calls)
        known = {f"{self.path}/tool/{base + n}" for n in range(1, len(calls) + 1)} & self.run.finished.keys()
        work = [self._use_tool(f"{self.path}/tool/{base + n}", item) for n, item in enumerate(calls, 1)]
        # When one stops the run, the others are finished first: no finished step is lost.
        results = [await work[0]] if len(work) == 1 else await finish_all(work)
        answer: str | None = None
        for item, (event, text) in zip(calls, results, strict=True):
            self.messages.append({"role": "tool", "tool_call_id": item.id, "name": item.name, "content": text})
            if event.is_answer and answer is None:
                answer = event.output
            if event.reason == "usage_limit" and item.name in self.last:
                self._used_up = True
            if event.path not in known:
                await self._tell(AgentAction(response.text, item.name, event.arguments, response.text, text))
        return answer

    async def _use_tool(self, path: str, item: ToolCall) -> tuple[ToolFinished, str]:
        tool = self.tools.get(item.name)
        if tool is None:
            event = await unknown_tool_step(self.run, path, item, self.tools, agent=self.role)
            return event, event.output
        policy = tool.tool_failure_policy or self.policy
        event = await tool_step(self.run, path, tool, item, agent=self.role, cache=self.cache, policy=policy)
        if raises(event):
            raise ToolExecutionFailedError(
                f"{self.role}: the tool {event.tool!r} failed ({event.reason}), its policy is raise: {event.output}",
                tool=event.tool,
                reason=event.reason,
                path=path,
            )
        text = self.run.results.cut(path, event.output, tool.max_result_chars)
        if text != event.output:
            self._offer(self.run.results.tool())
        return event, text

    def _offer(self, tool: BaseTool) -> None:
        """Gives the model one more tool from now on."""
        if tool not in self.tools.values():
            self.tools = name_tools([*self.tools.values(), tool])
            self.specs = tuple(tool_spec(item, name) for name, item in self.tools.items())


_KEEP = 200


def shorten(messages: list[Message]) -> bool:
    """Makes a conversation that is too long shorter, in place: old tool results first, then the longest text.

    Messages are replaced, not changed: others may hold them.

    Returns:
        False when there is nothing left to cut.
    """
    results = [n for n, m in enumerate(messages) if m["role"] == "tool" and _length(m) > _KEEP * 3]
    if results:
        for n in results[: max(1, len(results) // 2)]:
            messages[n] = messages[n] | {"content": _cut(str(messages[n]["content"]), _KEEP)}
        return True
    longest = max(range(len(messages)), key=lambda n: _length(messages[n]))
    if _length(messages[longest]) <= _KEEP * 5:
        return False
    text = str(messages[longest]["content"])
    messages[longest] = messages[longest] | {"content": _cut(text, len(text) // 4)}
    return True


def _length(message: Message) -> int:
    content = message.get("content")
    return len(content) if isinstance(content, str) else 0


def _cut(text: str, keep: int) -> str:
    return f"{text[:keep]}\n[… {len(text) - 2 * keep} characters left out …]\n{text[-keep:]}"
