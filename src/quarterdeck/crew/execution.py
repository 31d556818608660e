"""One run of a crew: its tasks in order, those marked ``async_execution`` side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any

from quarterdeck.agent.prompts import CONTEXT_DIVIDER
from quarterdeck.agent.rate import RateLimit
from quarterdeck.errors import RunStopped
from quarterdeck.runtime.run import Run
from quarterdeck.task.conditional import ConditionalTask
from quarterdeck.task.output import TaskOutput
from quarterdeck.task.planned import PlannedTask
from quarterdeck.task.task_run import TaskRun


@dataclass(slots=True)
class Execution:
    """The tasks of one run under way.

    Args:
        run: The run.
        plan: The tasks.
        cache: Whether the crew caches tool results.
        rate: The crew's rate limit.
        step_callback: The crew's.
        task_callback: The crew's.
    """

    run: Run
    plan: list[PlannedTask]
    cache: bool = False
    rate: RateLimit | None = None
    step_callback: Callable[..., Any] | None = None
    task_callback: Callable[..., Any] | None = None
    outputs: dict[int, TaskOutput] = field(default_factory=dict[int, TaskOutput])
    _running: dict[int, asyncio.Task[TaskOutput]] = field(default_factory=dict[int, "asyncio.Task[TaskOutput]"])

    def finished(self) -> list[TaskOutput]:
        """The outputs so far, in the crew's order."""
        return [self.outputs[n] for n in sorted(self.outputs)]

    async def sequential(self) -> None:
        """Does all tasks. When one fails or the run is stopped, no new step begins; those under way are finished."""
        try:
            for planned in self.plan:
                if planned.task.async_execution:
                    self._running[planned.index] = asyncio.create_task(self._aside(planned))
                else:
                    await self._join(self._needed(planned))
                    self.outputs[planned.index] = await self._task(planned)
            await self._join(list(self._running))
        except asyncio.CancelledError:
            for task in self._running.values():
                task.cancel()
            await self._settle()
            raise
        except Exception as error:
            self._failed(error)
            await self._settle()
            raise
        except RunStopped:
            failures = await self._settle()
            if self.run.stopped and self.run.stopped.status == "failed" and failures:
                raise failures[0] from None  # it is why the run was stopped
            raise

    async def _aside(self, planned: PlannedTask) -> TaskOutput:
        """A task at the side: it waits for what it needs, and when it fails, the others must not go on."""
        needed = {n: self._running[n] for n in planned.context or () if n in self._running}
        if needed:
            await asyncio.wait(needed.values())
            self.run.check()  # one that failed has stopped the run
            self.outputs.update({n: task.result() for n, task in needed.items()})
        try:
            return await self._task(planned)
        except Exception as error:
            self._failed(error)
            raise

    def _failed(self, error: Exception) -> None:
        self.run.stop(RunStopped("failed", f"another task failed: {error}"))

    def _needed(self, planned: PlannedTask) -> list[int]:
        """The running tasks that this one has to wait for: those it is given, and the one its condition looks at."""
        looked_at = planned.index - 1 if isinstance(planned.task, ConditionalTask) else None
        return [n for n in self._running if planned.context is None or n in planned.context or n == looked_at]

    def _task(self, planned: PlannedTask) -> Coroutine[Any, Any, TaskOutput]:
        return TaskRun(
            self.run,
            planned,
            self._context(planned),
            cache=self.cache,
            rate=self.rate,
            step_callback=self.step_callback,
            task_callback=self.task_callback,
            before=self.outputs.get(planned.index - 1),
        ).execute()

    def _context(self, planned: PlannedTask) -> str:
        if planned.context is not None:
            indices: Iterable[int] = planned.context
        elif planned.task.async_execution:  # the last finished one alone, as in CrewAI: others may still be running
            indices = [n for n in range(planned.index) if not self.plan[n].task.async_execution][-1:]
        else:
            indices = range(planned.index)
        texts = (self.outputs[n].raw for n in indices if n in self.outputs)
        return CONTEXT_DIVIDER.join(text for text in texts if text)  # a skipped task has none

    async def _join(self, indices: list[int]) -> None:
        if not indices:
            return
        tasks = [self._running[n] for n in indices]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        failed = [task for task in tasks if task.done() and (task.cancelled() or task.exception())]
        for task in failed:
            task.result()  # raises
        for n in indices:
            self.outputs[n] = await self._running.pop(n)

    async def _settle(self) -> list[Exception]:
        """Waits for the tasks under way, keeps what they have, and returns how the others failed."""
        running, self._running = self._running, {}
        results = await asyncio.gather(*running.values(), return_exceptions=True)
        for n, result in zip(running, results, strict=True):
            if isinstance(result, TaskOutput):
                self.outputs[n] = result
        return [result for result in results if isinstance(result, Exception)]
