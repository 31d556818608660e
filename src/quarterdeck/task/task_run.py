"""One task in one run: tries, guardrails, structured output, the file, the callbacks."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from quarterdeck.agent import framing, prompts
from quarterdeck.agent.delegation import Coworker, Delegation
from quarterdeck.agent.fields import distinct
from quarterdeck.agent.guardrail import Review
from quarterdeck.agent.loop import Answer
from quarterdeck.agent.rate import RateLimit
from quarterdeck.agent.verdict import Hearing, tool_results
from quarterdeck.concurrency import call, call_in_thread
from quarterdeck.errors import (
    GuardrailError,
    HookError,
    JournalError,
    LLMError,
    MalformedResponseError,
    OutputFormatError,
    TaskError,
    TaskTimeoutError,
    UsageError,
)
from quarterdeck.events import GuardrailFinished, TaskFailed, TaskFinished, TaskStarted, scope
from quarterdeck.llm.structured import output_schema, parse
from quarterdeck.runtime.receipts import tool_receipts
from quarterdeck.runtime.run import Run
from quarterdeck.runtime.steps import human_step
from quarterdeck.task.condition import wanted
from quarterdeck.task.hooked import after_task, before_task
from quarterdeck.task.output import TaskOutput
from quarterdeck.task.planned import PlannedTask
from quarterdeck.tools import BaseTool


class TaskRun:
    """One task in one run.

    Args:
        run: The run.
        planned: The task.
        context: Outputs that it is given, joined.
        cache: Whether the crew caches tool results.
        rate: The crew's rate limit.
        step_callback: The crew's.
        task_callback: The crew's.
        before: The output of the task before it in the crew, for a condition.
    """

    def __init__(
        self,
        run: Run,
        planned: PlannedTask,
        context: str,
        *,
        cache: bool = False,
        rate: RateLimit | None = None,
        step_callback: Callable[..., Any] | None = None,
        task_callback: Callable[..., Any] | None = None,
        before: TaskOutput | None = None,
    ) -> None:
        self.run = run
        self.planned = planned
        self.task = planned.task
        self.context = context
        self.cache = cache
        self.rate = rate
        self.step_callback = step_callback
        self.task_callback = task_callback
        self.before = before
        self._attempt = 0
        self._plan: str | None = None

    async def execute(self) -> TaskOutput:
        """Does the task, or takes its output from the journal.

        Raises:
            TaskError: There is no acceptable output.
            LLMError: A call to the model failed.
            RunStopped: The run was stopped.
        """
        planned = self.planned
        with scope(
            task=self.task,
            task_name=planned.name,
            task_index=planned.index,
            agent=planned.agent,
            role=planned.persona.role,
        ):
            return await self._execute()

    async def _execute(self) -> TaskOutput:
        planned, role = self.planned, self.planned.persona.role
        done = self.run.finished.get(planned.name)
        if isinstance(done, TaskFinished):
            output = self._receipted(_restore(done.output, self.task.answer_model))
            self.task.set_latest(output)
            return output
        self.run.check()
        self.run.emit(TaskStarted(path=planned.name, task=planned.name, agent=role, index=planned.index))
        started = time.perf_counter()
        try:
            output = await self._done() if await wanted(self.run, planned, self.before) else self._skipped()
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            event = TaskFailed(path=planned.name, task=planned.name, agent=role, index=planned.index, error=text)
            if not isinstance(error, JournalError):
                await self.run.record(event)
            raise
        finished = TaskFinished(
            path=planned.name,
            task=planned.name,
            agent=role,
            index=planned.index,
            output=output.model_dump(mode="json", exclude={"messages", "tool_receipts"}),
            seconds=round(time.perf_counter() - started, 6),
        )
        await self.run.record(finished)
        self.task.set_latest(output)
        return output

    async def _done(self) -> TaskOutput:
        self.context = await before_task(self.planned, self.context)
        output = await (self._approved() if self.task.human_input else self._guarded(""))
        output = self._receipted(await after_task(self.planned, output))
        await self._deliver(output)
        return output

    def _receipted(self, output: TaskOutput) -> TaskOutput:
        """The output with the tool calls that it took: they are read from the run's steps, and kept there alone."""
        output.tool_receipts = tool_receipts(self.run.finished, self.planned.name)
        return output

    def _skipped(self) -> TaskOutput:
        planned = self.planned
        return TaskOutput(
            description=planned.description,
            name=planned.name,
            expected_output=planned.expected_output,
            agent=planned.persona.role,
        )

    # -- tries --------------------------------------------------------------------------------------------

    async def _approved(self) -> TaskOutput:
        """Works until a person accepts the output."""
        planned, feedback = self.planned, ""
        while True:
            output = await self._guarded(feedback)
            path = f"{planned.name}/{self._attempt}/human/1"
            answer = await human_step(
                self.run, path, planned.name, planned.persona.role, output.raw, prompts.HUMAN_QUESTION
            )
            if answer.approved:
                return output
            feedback = prompts.human_feedback(answer.feedback, output.raw)

    async def _guarded(self, feedback: str) -> TaskOutput:
        """Works until every guardrail lets the output pass."""
        output, guardrails = await self._tried(feedback), self.task.all_guardrails()
        if not guardrails:
            return output
        review = Review(f"task {self.planned.name!r}", guardrails, self.task.guardrail_max_retries)

        async def again(verdict: GuardrailFinished, refused: TaskOutput) -> TaskOutput:
            return await self._tried(prompts.guardrail_feedback(verdict.feedback, refused.raw))

        def replaced(text: str, before: TaskOutput) -> TaskOutput:
            return self._output(Answer(text, None, before.messages))

        return await review.accept(output, hearing=self._hearing, again=again, replaced=replaced)

    def _hearing(self, number: int) -> Hearing:
        planned, run = self.planned, self.run
        path = f"{planned.name}/{self._attempt}/guardrail/{number}"
        return Hearing(
            run,
            path,
            llm=planned.agent.llm,
            role=planned.persona.role,
            sources=lambda: [planned.description, self.context, *tool_results(run, planned.name)],
            wait=planned.agent.waiter(run, path, self.rate),
        )

    async def _tried(self, feedback: str) -> TaskOutput:
        """Works until the model gives a usable answer, ``max_retry_limit`` times more at most."""
        for retry in range(self.planned.agent.max_retry_limit + 1):
            self._attempt += 1
            try:
                return self._output(await self._work(feedback))
            except MalformedResponseError as error:
                if retry < self.planned.agent.max_retry_limit:
                    continue
                if self.planned.managed:
                    raise self._named(TaskError, f"the manager gave no answer in {retry + 1} tries: {error}") from error
                raise
            except (OutputFormatError, TaskTimeoutError) as error:
                raise self._named(type(error), str(error)) from error
            except (LLMError, TaskError, UsageError, HookError, JournalError, AssertionError):
                raise  # trying again would fail again, or has been done already
            except Exception:
                if retry == self.planned.agent.max_retry_limit:
                    raise
        raise AssertionError("unreachable: the last try returns or raises")

    def _named(self, kind: type[TaskError], said: str) -> TaskError:
        return kind(f"task {self.planned.name!r}: {said}")

    async def _work(self, feedback: str) -> Answer:
        planned, agent, task = self.planned, self.planned.agent, self.task
        path, model = f"{planned.name}/{self._attempt}", task.answer_model
        tools = [*planned.tools, *self._coworker_tools(path)]
        schema = output_schema(model).schema if model and agent.needs_schema_text(tools) else None
        description = prompts.triggered(planned.description, planned.trigger)
        expected = planned.expected_output + (f"\n{prompts.MARKDOWN}" if task.markdown else "")
        if self._plan is None:  # once for all tries
            self._plan = planned.plan
            if agent.plans:
                prompt = prompts.task(description, expected, self.context, "", None, planned.plan)
                own = await agent.plan(self.run, f"{planned.name}/plan", planned.persona, prompt, tools, self.rate)
                self._plan = "\n\n".join(part for part in (planned.plan, own) if part)
        prompt = prompts.task(description, expected, self.context, feedback, schema, self._plan)
        return await agent.work(
            self.run,
            path,
            planned.persona,
            framing.first_messages(agent, planned.persona, prompt),
            tools=tools,
            model=model,
            cache=self.cache,
            rate=self.rate,
            step_callback=self.step_callback,
            policy=task.tool_failure_policy,
        )

    def _coworker_tools(self, path: str) -> list[BaseTool]:
        planned = self.planned
        if planned.team is None:
            return []
        delegation = Delegation(
            self.run,
            path,
            planned.team,
            cache=self.cache,
            rate=self.rate,
            step_callback=self.step_callback,
            policy=self.task.tool_failure_policy,
        )
        first = Coworker(planned.persona.role, planned.agent, planned.persona)
        return delegation.tools(planned.coworkers, (first,))

    # -- the output ---------------------------------------------------------------------------------------

    def _output(self, answer: Answer) -> TaskOutput:
        task, model = self.task, self.task.answer_model
        parsed = answer.parsed
        if model and parsed is None:  # a guardrail's own text
            try:
                parsed = parse(answer.text, model)
            except ValueError as error:
                raise GuardrailError(
                    f"task {self.planned.name!r}: the guardrail's output does not fit {model.__name__}: {error}"
                ) from None
        return TaskOutput(
            description=self.planned.description,
            name=self.planned.name,
            expected_output=self.planned.expected_output,
            raw=answer.text,
            pydantic=parsed if parsed is not None and task.output_json is None else None,
            json_dict=parsed.model_dump(mode="json") if parsed is not None and task.output_json else None,
            agent=self.planned.persona.role,
            output_format="raw" if model is None else "json" if task.output_json else "pydantic",
            messages=answer.messages,
        )

    async def _deliver(self, output: TaskOutput) -> None:
        """Writes the file and calls the callbacks: before the task counts as finished, so at least once."""
        if self.planned.output_file:
            await self._write(Path(self.planned.output_file), output)
        for function in distinct([self.task.callback, self.task_callback]):
            await call(function, output)

    async def _write(self, path: Path, output: TaskOutput) -> None:
        try:
            await call_in_thread(_write, path, output, self.task.create_directory)
        except OSError as error:
            raise TaskError(
                f"task {self.planned.name!r}: output_file {str(path)!r} cannot be written: {error.strerror or error}"
            ) from error


def _write(path: Path, output: TaskOutput, create_directory: bool) -> None:
    if create_directory:
        path.parent.mkdir(parents=True, exist_ok=True)
    if output.json_dict is not None:
        text = json.dumps(output.json_dict, indent=2, ensure_ascii=False)
    else:
        text = output.pydantic.model_dump_json(indent=2) if output.pydantic else output.raw
    path.write_text(text, encoding="utf-8")


def _restore(data: dict[str, Any], model: type[BaseModel] | None) -> TaskOutput:
    """A task's output from its event: the instance is read from the text again, as it was the first time."""
    instance = parse(data["raw"], model) if model and data["output_format"] == "pydantic" else None
    fields: dict[str, Any] = {**data, "pydantic": instance}
    return TaskOutput(**fields)
