"""A run: one execution of a crew, a flow or an agent. All that happens in it goes through here.

Whatever costs money, takes time or touches the world is a step with a path. A step whose finish is in the journal is
not done again; its result is taken from there.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

from quarterdeck.budget import Budget, Meter
from quarterdeck.errors import JournalMismatchError, LLMError, RunStopped
from quarterdeck.events import (
    Event,
    GuardrailFinished,
    HumanAnswered,
    HumanRequested,
    LimitReached,
    LLMDelta,
    LLMFailed,
    LLMFinished,
    LLMRetried,
    LLMStarted,
    RunFinished,
    RunStarted,
    RunStatus,
    Subscriber,
    TaskFinished,
    ToolFinished,
    ToolIntended,
    ToolStarted,
    subscribers,
)
from quarterdeck.llm.base import BaseLLM
from quarterdeck.llm.send import send
from quarterdeck.llm.types import LLMRequest, LLMResponse, ToolCall, UsageMetrics
from quarterdeck.runtime.human import HumanAnswer, HumanInput, HumanRequest, current_human_input
from quarterdeck.runtime.journal import Journal, OpenRun, open_journal
from quarterdeck.tools import BaseTool
from quarterdeck.tools.cache import ToolCache
from quarterdeck.tools.call import call_tool
from quarterdeck.tools.context import StepContext
from quarterdeck.tools.large import ResultStore
from quarterdeck.tools.result import ToolResult
from quarterdeck.tools.usage import ToolUsage

logger = logging.getLogger("quarterdeck")

Finish = LLMFinished | ToolFinished | TaskFinished | GuardrailFinished | HumanAnswered


class Run:
    """The state of one run. It belongs to one event loop.

    Args:
        run_id: The run's id.
        opened: The run's place in a journal; None keeps nothing.
        budget: Limits; None: none.
        on_event: Called with each event of this run.
        stream: Whether models are asked to stream, for ``LLMDelta`` events.
        resolve: Answers for tool calls in doubt, by path: the result of a call that happened, or None for one
            that did not and is to be made.
        human: Whom to ask where a person is asked; None: whoever is set for this context, else the terminal.
        answers: Answers of persons that came while the run was not under way, by the question's path.
    """

    def __init__(
        self,
        run_id: str,
        *,
        opened: OpenRun | None = None,
        budget: Budget | None = None,
        on_event: Subscriber | None = None,
        stream: bool = False,
        resolve: Mapping[str, str | None] | None = None,
        human: HumanInput | None = None,
        answers: Mapping[str, HumanAnswer] | None = None,
    ) -> None:
        self.id = run_id
        self.meter = Meter(budget or Budget())
        self.usage = UsageMetrics()
        self.stream = stream
        self.results = ResultStore()
        self.cache = ToolCache()
        self.tool_usage = ToolUsage()
        self.finished: dict[str, Finish] = {}
        self.ended: RunFinished | None = None
        self.stopped: RunStopped | None = None
        self.last_text = ""
        self._opened = opened
        self._on_event = on_event
        self._resolve = dict(resolve or {})
        self._human = human or current_human_input()
        self._answers = dict(answers or {})
        self._intended: set[str] = set()
        self._asked: set[str] = set()
        self._seq = 0
        self._segment = 0
        self._segment_began = 0.0
        self._first = RunStarted(crew="")
        self._earlier_seconds = 0.0
        self._began = time.monotonic()
        self._task: asyncio.Task[Any] | None = None
        self._timer: asyncio.TimerHandle | None = None
        for event in opened.events if opened else ():
            self._take_over(event)

    # -- beginning and end --------------------------------------------------------------------------------

    def _take_over(self, event: Event) -> None:
        """Puts an event of an earlier segment back into the run's state."""
        self._seq = event.seq or self._seq
        match event:
            case RunStarted():
                self._segment = event.segment
                self._segment_began = event.time
                self._first = event if event.segment == 1 else self._first
            case RunFinished():
                self.ended = event
            case LLMFinished():
                usage = UsageMetrics(**event.usage)
                self.meter.llm_calls += 1
                self.meter.book(usage.total_tokens, event.cost_usd)
                self.usage.add_usage_metrics(usage)
                self.last_text = event.text or self.last_text
                self.finished[event.path] = event
            case ToolFinished():
                self.meter.tool_calls += 1
                self.finished[event.path] = event
            case ToolIntended():
                self._intended.add(event.path)
            case HumanRequested():
                self._asked.add(event.path)
            case TaskFinished() | GuardrailFinished() | HumanAnswered():
                self.finished[event.path] = event
            case _:
                pass
        if not isinstance(event, RunStarted) and self._segment:
            self._earlier_seconds += max(0.0, event.time - self._segment_began)
            self._segment_began = event.time

    @property
    def began(self) -> bool:
        """Whether the run was started before: the journal has its beginning."""
        return self._segment > 0

    async def begin(self, crew: str, inputs: dict[str, Any], definition: str) -> dict[str, Any]:
        """Starts the run, or goes on with it.

        Args:
            crew: The crew's name.
            inputs: The inputs of this call.
            definition: Digest of the crew's definition.

        Returns:
            The inputs that the run works with: those of its first start.

        Raises:
            JournalMismatchError: The journaled run began with other inputs or another crew.
        """
        if self._segment:
            self._check_same(crew, inputs, definition)
            inputs = self._first.inputs
        self._task = asyncio.current_task()
        if self.ended and self.ended.status == "completed":
            return inputs
        self.ended = None
        started = RunStarted(crew=crew, inputs=inputs, definition=definition, segment=self._segment + 1)
        await self.record(started)
        limit = self.meter.budget.max_seconds
        if limit is not None:
            reason = f"the budget's max_seconds of {limit:g} is reached"
            stop = RunStopped("limited", reason, "max_seconds")
            left = max(0.0, limit - self._earlier_seconds)
            self._timer = asyncio.get_running_loop().call_later(left, self.interrupt, stop)
        return inputs

    def _check_same(self, crew: str, inputs: dict[str, Any], definition: str) -> None:
        first = self._first
        if first.definition != definition:
            raise JournalMismatchError(
                f"run {self.id!r} was started by another definition of crew {first.crew!r} than this one "
                f"({crew!r}): its finished steps do not fit; use the old code, or another run_id"
            )
        if inputs and _canonical(inputs) != _canonical(first.inputs):
            raise JournalMismatchError(
                f"run {self.id!r} was started with inputs {_short(first.inputs)}, now got {_short(inputs)}; "
                "give the same inputs or none, or another run_id"
            )

    async def end(self, status: RunStatus, output: str = "", error: str = "", ended_by: str = "") -> None:
        """Records how the run ended. A run that is taken up again after this goes on from its steps."""
        if self._timer:
            self._timer.cancel()
        if self.ended:
            return
        event = RunFinished(
            status=status,
            output=output,
            error=error,
            ended_by=ended_by,
            usage=self.usage.model_dump(),
            cost_usd=self.cost_usd,
            seconds=round(self._earlier_seconds + time.monotonic() - self._began, 6),
        )
        await self.record(event)
        self.ended = event

    @property
    def cost_usd(self) -> float | None:
        """Cost of all calls so far; None where a price is not known."""
        return self.meter.cost_usd if self.meter.cost_known else None

    # -- stopping -----------------------------------------------------------------------------------------

    def stop(self, stop: RunStopped) -> RunStopped:
        """Lets no new step begin; those under way are finished. Returns the first stop, to be raised."""
        if self.stopped is None:
            self.stopped = stop
            if stop.status == "limited":
                allowed, used = self._limit(stop.ended_by)
                self.emit(LimitReached(limit=stop.ended_by, allowed=allowed, used=used))
        return self.stopped

    def interrupt(self, stop: RunStopped) -> None:
        """Stops the run and interrupts the steps under way."""
        self.stop(stop)
        if self._task and not self._task.done():
            self._task.cancel()

    def _limit(self, name: str) -> tuple[float, float]:
        allowed = getattr(self.meter.budget, name, None) or 0.0
        used = {
            "max_tokens": self.meter.tokens,
            "max_cost_usd": self.meter.cost_usd,
            "max_llm_calls": self.meter.llm_calls,
            "max_tool_calls": self.meter.tool_calls,
        }
        return float(allowed), float(used.get(name, allowed))

    def check(self) -> None:
        """Raises RunStopped where the run has been stopped."""
        if self.stopped is not None:
            raise self.stopped

    # -- events -------------------------------------------------------------------------------------------

    def emit(self, event: Event) -> None:
        """Shows an event that the journal does not keep."""
        self._show(event.stamped(self.id, None))

    async def record(self, event: Event) -> None:
        """Keeps a durable event, and shows it when it is safe in the journal."""
        self._seq += 1
        event.stamped(self.id, self._seq)
        if self._opened:
            await self._opened.append(event)
        if event.path and isinstance(event, Finish):
            self.finished[event.path] = event
        self._show(event)

    def _show(self, event: Event) -> None:
        if self._on_event:
            self._call_subscriber(self._on_event, event)
        for function, kinds in subscribers():
            if isinstance(event, kinds):
                self._call_subscriber(function, event)

    def _call_subscriber(self, function: Subscriber, event: Event) -> None:
        try:
            function(event)
        except Exception:
            logger.exception("run %s: a subscriber failed on %s", self.id, event.type)

    def step_key(self, path: str) -> str:
        """The same for every try of one step, and for no other: for use as an idempotency key."""
        return f"{self.id}:{path}"

    # -- steps --------------------------------------------------------------------------------------------

    async def llm(
        self,
        path: str,
        llm: BaseLLM,
        request: LLMRequest,
        *,
        agent: str = "",
        wait: Callable[[], Any] | None = None,
    ) -> LLMResponse:
        """One call to a model, or its result from the journal.

        Args:
            path: The step's path.
            llm: The model.
            request: What is sent.
            agent: Role of the agent that calls, for the events.
            wait: Awaited before the call is sent (a rate limit).

        Raises:
            LLMError: The call failed for good.
            RunStopped: The run has been stopped, or a limit is reached.
        """
        done = self.finished.get(path)
        if isinstance(done, LLMFinished):
            return _response(done)
        self.check()
        if wait:
            await wait()
            self.check()
        chars = _chars(request)
        priced = self.meter.budget.max_cost_usd is None or llm.cost(UsageMetrics()) is not None
        try:
            cap = self.meter.before_llm(chars, priced=priced, model=llm.model)
        except RunStopped as stop:
            raise self.stop(stop) from None
        if cap is not None and (request.max_tokens is None or cap < request.max_tokens):
            request = replace(request, max_tokens=cap if llm.max_tokens is None else min(cap, llm.max_tokens))
        response, seconds = await self._send(path, llm, request, agent, chars)
        cost = llm.cost(response.usage)
        self.meter.after_llm(chars, response.usage.total_tokens, cost)
        self.usage.add_usage_metrics(response.usage)
        self.last_text = response.text or self.last_text
        await self.record(_llm_finished(path, llm, request, response, agent, cost, seconds))
        return response

    async def _send(
        self, path: str, llm: BaseLLM, request: LLMRequest, agent: str, chars: int
    ) -> tuple[LLMResponse, float]:
        self.emit(LLMStarted(path=path, model=llm.model, agent=agent))

        def on_delta(text: str) -> None:
            self.emit(LLMDelta(path=path, text=text, agent=agent))

        def on_retry(error: LLMError, attempt: int, wait: float) -> None:
            self.emit(LLMRetried(path=path, model=llm.model, error=str(error), attempt=attempt, wait=wait))

        started = time.perf_counter()
        try:
            keyed = replace(request, step_key=self.step_key(path))
            response = await send(llm, keyed, on_delta if self.stream else None, on_retry)
        except BaseException as error:
            self.meter.after_llm(chars, 0, 0.0)
            if isinstance(error, Exception):
                kind = type(error).__name__
                self.emit(LLMFailed(path=path, model=llm.model, error=str(error), error_type=kind, agent=agent))
            raise
        return response, time.perf_counter() - started

    async def tool(
        self, path: str, tool: BaseTool, call: ToolCall, *, agent: str = "", cache: bool = False
    ) -> ToolFinished:
        """One call of a tool, or its result from the journal. An error of the tool is a result too.

        Args:
            path: The step's path.
            tool: The tool.
            call: What the model asked for.
            agent: Role of the agent that calls, for the events.
            cache: Whether an earlier result of the same call in this run may be used.

        Raises:
            RunStopped: The run has been stopped, a limit is reached, or a call that must not be repeated is in doubt.
        """
        done = self.finished.get(path)
        if isinstance(done, ToolFinished):
            self._replay(tool, done, cache)
            return done
        self.check()
        arguments = _arguments(call)
        if path in self._intended and tool.retry == "never":
            answered = await self._resolve_doubt(path, tool, arguments, agent)
            if answered:
                return answered
        try:
            self.meter.before_tool()
        except RunStopped as stop:
            raise self.stop(stop) from None
        if tool.retry == "never":
            await self.record(ToolIntended(path=path, tool=tool.name, arguments=arguments, agent=agent))
        else:
            self.emit(ToolStarted(path=path, tool=tool.name, arguments=arguments, agent=agent))
        step = StepContext(run_id=self.id, path=path, step_key=self.step_key(path), attempt=self._segment or 1)
        result = await call_tool(
            tool, call.arguments, step=step, usage=self.tool_usage, cache=self.cache if cache else None
        )
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
        )
        await self.record(event)
        return event

    def _replay(self, tool: BaseTool, done: ToolFinished, cache: bool) -> None:
        """Counts a finished call, and lets the cache have its result, as if it had been made now."""
        self.tool_usage.replay(tool, reason=done.reason, cached=done.cached)
        if cache and done.ok:
            self.cache.put(tool, done.arguments, ToolResult(done.output, arguments=done.arguments))

    async def _resolve_doubt(
        self, path: str, tool: BaseTool, arguments: dict[str, Any], agent: str
    ) -> ToolFinished | None:
        """A call that may have happened: the given answer, None to make it now, or the end of the run."""
        if path not in self._resolve:
            raise self.stop(
                RunStopped(
                    "in_doubt",
                    f"the tool {tool.name!r} must not be repeated (retry='never') and was under way at {path!r} when "
                    f"the run was interrupted. Find out whether it happened, then go on with the same run_id and "
                    f"resolve={{{path!r}: 'its result'}}, or resolve={{{path!r}: None}} to do it again",
                    path,
                )
            )
        answer = self._resolve[path]
        if answer is None:
            return None
        event = ToolFinished(path=path, tool=tool.name, arguments=arguments, agent=agent, output=answer)
        await self.record(event)
        return event

    async def ask_human(self, path: str, task: str, agent: str, output: str, question: str) -> HumanAnswered:
        """Asks a person about an output, or takes the answer from the journal.

        Raises:
            RunStopped: The answer is not there yet.
        """
        done = self.finished.get(path)
        if isinstance(done, HumanAnswered):
            return done
        self.check()
        if path not in self._asked:
            await self.record(HumanRequested(path=path, task=task, agent=agent, output=output, question=question))
        answer = self._answers.get(path)
        if answer is None:
            answer = await self._human.ask(HumanRequest(self.id, path, task, agent, output, question))
        if answer is None:
            reason = f"task {task!r} waits for a person: go on with answers={{{path!r}: HumanAnswer(...)}}"
            raise self.stop(RunStopped("pending_human_input", reason, path))
        event = HumanAnswered(path=path, task=task, approved=answer.approved, feedback=answer.feedback)
        await self.record(event)
        return event


async def open_run(
    run_id: str | None,
    journal: str | Any | None,
    *,
    budget: Budget | None = None,
    on_event: Subscriber | None = None,
    stream: bool = False,
    resolve: Mapping[str, str | None] | None = None,
    human: HumanInput | None = None,
    answers: Mapping[str, HumanAnswer] | None = None,
) -> Run:
    """A run: a new one, or the one that the journal has under this id.

    Args:
        run_id: The run's id; None makes one.
        journal: Path of a SQLite file, URL of a database, or a ``Journal``; None keeps nothing.
        budget: The run's limits.
        on_event: Called with each event of the run.
        stream: Whether models are asked to stream.
        resolve: Answers for tool calls in doubt, by path.
        human: Whom to ask where a person is asked.
        answers: Answers of persons, by the question's path.
    """
    run_id = run_id or str(uuid.uuid4())
    opened: OpenRun | None = None
    if journal is not None:
        store: Journal = open_journal(journal)
        opened = await store.open_run(run_id)
    return Run(
        run_id,
        opened=opened,
        budget=budget,
        on_event=on_event,
        stream=stream,
        resolve=resolve,
        human=human,
        answers=answers,
    )


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _short(value: Any) -> str:
    text = _canonical(value)
    return text if len(text) <= 200 else text[:200] + "…"


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


def _arguments(call: ToolCall) -> dict[str, Any]:
    """The call's arguments for the events, before they are checked."""
    try:
        value: Any = json.loads(call.arguments or "{}")
    except ValueError:
        return {"": call.arguments}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {"": value}


def _response(event: LLMFinished) -> LLMResponse:
    calls = [ToolCall(c["id"], c["function"]["name"], c["function"]["arguments"]) for c in event.tool_calls]
    return LLMResponse(
        text=event.text,
        tool_calls=tuple(calls),
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
        usage=dict(response.usage),
        cost_usd=cost,
        seconds=round(seconds, 6),
        response_id=response.response_id,
    )
