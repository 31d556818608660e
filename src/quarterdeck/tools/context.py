"""Which step a tool call belongs to, for code that runs inside a tool."""

from __future__ import annotations

from contextvars import ContextVar, Token
from dataclasses import dataclass

from quarterdeck.errors import UsageError


@dataclass(frozen=True, slots=True)
class StepContext:
    """The step that is being done.

    Args:
        run_id: The run.
        path: The step's path in the run, such as ``research/1/tool/3``.
        step_key: The same for every try of this step, after a crash too; differs between steps and runs.
        attempt: 1 at the run's first start, then one more for each time that the run goes on: above 1, the step may
            have been tried before.
    """

    run_id: str
    path: str
    step_key: str
    attempt: int = 1


_step: ContextVar[StepContext | None] = ContextVar("quarterdeck_step", default=None)


def current_step() -> StepContext | None:
    """The step that the calling tool is part of; None outside of a run."""
    return _step.get()


def step_key() -> str:
    """A text that is the same each time this step is tried: send it as an idempotency key.

    A tool call that was under way when the process died is done again with the same key, so a service that
    knows such keys does the work once.

    Raises:
        UsageError: The caller is not inside a tool that a run has called.
    """
    step = _step.get()
    if step is None:
        raise UsageError(
            "step_key() was called outside of a run: there is a step only inside a tool that an agent calls; "
            "where the code also runs on its own, ask current_step(), which is None there"
        )
    return step.step_key


def enter_step(step: StepContext) -> Token[StepContext | None]:
    """Makes ``step`` the current one, for the code that makes tool calls; ``leave_step`` undoes it."""
    return _step.set(step)


def leave_step(token: Token[StepContext | None]) -> None:
    """Undoes ``enter_step``."""
    _step.reset(token)
