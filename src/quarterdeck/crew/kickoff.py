"""One run of a crew, from its inputs to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from quarterdeck.agent.rate import RateLimit, wait_for
from quarterdeck.concurrency import call
from quarterdeck.crew.execution import Execution
from quarterdeck.crew.hooked import intercept_output
from quarterdeck.crew.inputs import checked
from quarterdeck.crew.output import CrewOutput
from quarterdeck.crew.plan import plan
from quarterdeck.crew.planning import PATH, with_plans
from quarterdeck.crew.replay import Source
from quarterdeck.errors import JournalError, RunStopped, TaskError
from quarterdeck.events import RunStatus, scope
from quarterdeck.hooks import ExecutionStartContext, InputContext, InterceptionPoint
from quarterdeck.hooks.dispatch import dispatch, hooks_at
from quarterdeck.llm.types import UsageMetrics
from quarterdeck.runtime.options import RunOptions
from quarterdeck.runtime.place import kickoff_here
from quarterdeck.runtime.receipts import issues, tool_receipts
from quarterdeck.runtime.run import Run
from quarterdeck.runtime.verbose import is_shown, printer
from quarterdeck.runtime.watch import both
from quarterdeck.task.output import TaskOutput
from quarterdeck.task.planned import PlannedTask

if TYPE_CHECKING:
    from quarterdeck.crew.crew import Crew


async def run_crew(
    crew: Crew,
    inputs: Mapping[str, Any] | None,
    options: RunOptions,
    rate: RateLimit | None,
    note: Callable[[UsageMetrics], None],
    source: Source | None = None,
) -> CrewOutput:
    """Runs a crew: as a run of its own, or as a part of the one under way.

    Args:
        crew: The crew.
        inputs: The inputs as they were given.
        options: Those of the kickoff.
        rate: The crew's rate limit.
        note: Called with the run's usage at its end.
        source: The earlier run of a replay.
    """
    given = checked(inputs)
    verbose = crew.verbose or any(agent.verbose for agent in crew.staff.taking_part(crew.tasks))
    if verbose and not is_shown():
        options = {**options, "on_event": both(options.get("on_event"), printer())}

    def work(run: Run) -> Awaitable[CrewOutput]:
        return Kickoff(crew, run, rate, note).work(given, source)

    with scope(crew=crew, hooks=crew.hooks, task=None, task_name="", task_index=None, agent=None, role=""):
        return await kickoff_here(crew.name, options, work)


class Kickoff:
    """One run of a crew.

    Args:
        crew: The crew.
        run: The run; it is opened, and perhaps begun by a flow.
        rate: The crew's rate limit.
        note: Called with the run's usage at its end.
    """

    def __init__(self, crew: Crew, run: Run, rate: RateLimit | None, note: Callable[[UsageMetrics], None]) -> None:
        self.crew = crew
        self.run = run
        self.rate = rate
        self.note = note

    async def work(self, given: dict[str, Any], source: Source | None) -> CrewOutput:
        """Runs the crew.

        Args:
            given: The inputs as they were given.
            source: The earlier run of a replay.
        """
        run = self.run
        run.tool_failure_policy = self.crew.tool_failure_policy or run.tool_failure_policy
        planned: list[PlannedTask] = []

        async def prepare(given: dict[str, Any]) -> dict[str, Any]:
            inputs = self._fitting(source.inputs) if source else await self._prepare(given)
            planned.extend(self._plan(inputs))  # a missing input is found before anything is written
            return inputs

        reused: dict[str, Any] = {"replay_of": source.run_id, "reused": source.outputs} if source else {}
        inputs = await run.begin(self.crew.name, given, self.crew.definition, prepare, **reused)
        execution = Execution(
            run=run,
            plan=planned or self._plan(inputs),
            cache=self.crew.cache,
            rate=self.rate,
            step_callback=self.crew.step_callback,
            task_callback=self.crew.task_callback,
        )
        return await self._run(execution)

    def _plan(self, inputs: dict[str, Any]) -> list[PlannedTask]:
        return plan(self.crew.tasks, inputs, self.crew.staff)

    async def _prepare(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """The inputs that a run works with."""
        starting, ready = hooks_at(InterceptionPoint.EXECUTION_START), hooks_at(InterceptionPoint.INPUT)
        if self.crew.before_kickoff_callbacks or starting or ready:
            inputs = checked(inputs)  # a copy: it may be changed in place, and the given ones are kept too
        if starting:
            inputs = (await dispatch(starting, ExecutionStartContext(payload=inputs))).payload
        for function in self.crew.before_kickoff_callbacks:
            changed = await call(function, inputs)
            inputs = checked(changed) if changed is not None else inputs
        if ready:
            inputs = checked((await dispatch(ready, InputContext(payload=inputs))).payload)
        return self._fitting(inputs)

    def _fitting(self, inputs: dict[str, Any]) -> dict[str, Any]:
        return self.crew.contract.check(inputs) if self.crew.inputs_model else inputs

    async def _run(self, execution: Execution) -> CrewOutput:
        try:
            if self.crew.planning:
                llm = self.crew.planning_llm or execution.plan[0].agent.llm
                execution.plan = await with_plans(self.run, execution.plan, llm, wait_for(self.rate, self.run, PATH))
            await execution.sequential()
            return await self._complete(execution)
        except (RunStopped, asyncio.CancelledError) as error:
            return await self._stopped(execution, self.run.stop_behind(error))
        except JournalError:
            raise
        except Exception as error:
            await self.run.end("failed", self.run.last_text, error=f"{type(error).__name__}: {error}")
            raise

    async def _complete(self, execution: Execution) -> CrewOutput:
        last = next((item for item in reversed(execution.finished()) if item.raw.strip()), None)
        if last is None:
            raise TaskError("no task of the crew gave an output")
        output = self._output(execution, "completed", last)
        if self.run.ended:  # completed in an earlier segment
            return output.model_copy(update={"raw": self.run.ended.output})
        found = output.issues
        for function in self.crew.after_kickoff_callbacks:
            changed = await call(function, output)
            output = changed if isinstance(changed, CrewOutput) else output
        output = await intercept_output(output)
        await self.run.end("completed", output.raw, issues=found)
        return output

    async def _stopped(self, execution: Execution, stop: RunStopped) -> CrewOutput:
        finished = execution.finished()
        output = self._output(execution, stop.status, finished[-1] if finished else None)
        output.ended_by, output.reason = stop.ended_by, stop.reason
        await self.run.end(stop.status, output.raw, error=stop.reason, ended_by=stop.ended_by)
        return output

    def _output(self, execution: Execution, status: RunStatus, last: TaskOutput | None) -> CrewOutput:
        self.note(self.run.usage.model_copy())
        finished = execution.finished()
        if status == "completed":
            receipts = [receipt for output in finished for receipt in output.tool_receipts]
        else:  # those of tasks under way too
            receipts = tool_receipts(self.run.finished)
        found = issues(receipts) if status == "completed" else []
        return CrewOutput(
            raw=last.raw if last else self.run.last_text,
            pydantic=last.pydantic if last else None,
            json_dict=last.json_dict if last else None,
            tasks_output=finished,
            token_usage=self.run.usage.model_copy(),
            cost_usd=self.run.cost_usd,
            run_id=self.run.id,
            tool_receipts=receipts,
            issues=found,
            status="completed_with_issues" if found else status,
        )
