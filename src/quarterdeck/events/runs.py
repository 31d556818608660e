"""Events of what is run: runs and their parts, tasks, methods of flows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from quarterdeck.events.event import Event

RunStatus = Literal["completed", "failed", "limited", "cancelled", "in_doubt", "pending_human_input"]
"""How a run can end. ``limited``: a budget ended it; ``in_doubt``: a tool that must not be repeated was under way
when the process died, and a person has to say whether it happened."""


RunKind = Literal["crew", "flow", "agent"]
"""What runs: a crew or a task, a flow, an agent on its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(Event):
    """A run began, or (``segment`` > 1) went on after it had been interrupted.

    Args:
        crew: The crew's name.
        given: The inputs as they were given.
        inputs: The inputs that it works with: after ``before_kickoff``, with defaults put in.
        definition: Digest of the crew's definition.
        segment: 1 for the first start, then one more for each time that it goes on.
        replay_of: The run that this one replays from a task on, or "".
        reused: The outputs of the tasks before that one, by the task's name, as ``TaskFinished`` has them.
        kind: What runs.
    """

    type: ClassVar[str] = "run.started"
    crew: str
    given: dict[str, Any] = field(default_factory=dict[str, Any])
    inputs: dict[str, Any] = field(default_factory=dict[str, Any])
    definition: str = ""
    segment: int = 1
    replay_of: str = ""
    reused: dict[str, Any] = field(default_factory=dict[str, Any])
    kind: RunKind = "crew"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished(Event):
    """A run ended, in the way that ``status`` says.

    Args:
        status: How it ended.
        output: The final (or partial) output's text.
        error: What went wrong, in words.
        ended_by: The limit that ended it, or the path of the step in doubt.
        usage: Tokens and calls of the whole run, by ``UsageMetrics``' names.
        cost_usd: Cost of the whole run; None where a price is not known.
        seconds: Time that the run was under way.
        issues: Of a completed run: the failed tool calls that need attention, in words.
        kind: What runs.
    """

    type: ClassVar[str] = "run.finished"
    status: RunStatus
    output: str = ""
    error: str = ""
    ended_by: str = ""
    usage: dict[str, int] = field(default_factory=dict[str, int])
    cost_usd: float | None = None
    seconds: float = 0.0
    issues: list[str] = field(default_factory=list[str])
    kind: RunKind = "crew"


@dataclass(frozen=True, slots=True, kw_only=True)
class KickoffStarted(Event):
    """A crew, an agent or a flow began within a method of a flow, as a part of its run.

    Args:
        crew: Its name.
        given: The inputs as they were given.
        inputs: The inputs that it works with.
        definition: Digest of its definition.
        kind: What runs.
    """

    type: ClassVar[str] = "kickoff.started"
    crew: str
    given: dict[str, Any] = field(default_factory=dict[str, Any])
    inputs: dict[str, Any] = field(default_factory=dict[str, Any])
    definition: str = ""
    kind: RunKind = "crew"


@dataclass(frozen=True, slots=True, kw_only=True)
class KickoffFinished(Event):
    """A crew, an agent or a flow within a method ended. Its usage is part of the run's.

    Args:
        crew: Its name.
        status: ``completed`` or ``failed``; what ends it otherwise ends the run.
        output: Its output's text.
        error: What went wrong, in words.
        usage: Its tokens and calls, by ``UsageMetrics``' names.
        cost_usd: Its cost; None where a price is not known.
        seconds: Time from its start in this segment.
        issues: As in ``RunFinished``.
        kind: What runs.
    """

    type: ClassVar[str] = "kickoff.finished"
    crew: str
    status: RunStatus
    output: str = ""
    error: str = ""
    usage: dict[str, int] = field(default_factory=dict[str, int])
    cost_usd: float | None = None
    seconds: float = 0.0
    issues: list[str] = field(default_factory=list[str])
    kind: RunKind = "crew"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskStarted(Event):
    """A task began.

    Args:
        task: The task's name.
        agent: The role of the agent that does it.
        index: The task's place in the crew, from 0.
    """

    type: ClassVar[str] = "task.started"
    durable: ClassVar[bool] = False
    task: str
    agent: str = ""
    index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFinished(Event):
    """A task has its accepted output.

    Args:
        output: The ``TaskOutput`` as a dict.
        seconds: Time from the task's start in this segment.
    """

    type: ClassVar[str] = "task.finished"
    task: str
    agent: str = ""
    index: int = 0
    output: dict[str, Any] = field(default_factory=dict[str, Any])
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFailed(Event):
    """A task could not be done; the run fails."""

    type: ClassVar[str] = "task.failed"
    task: str
    agent: str = ""
    index: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodStarted(Event):
    """A call of a flow's method began.

    Args:
        method: The method's name.
        call: The call's number among those of the method, from 1.
        trigger: The method or label that led to it; "" at the flow's beginning.
    """

    type: ClassVar[str] = "method.started"
    durable: ClassVar[bool] = False
    method: str
    call: int = 1
    trigger: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodFinished(Event):
    """A flow's method has returned.

    Args:
        method: The method's name.
        call: The call's number among those of the method, from 1.
        result: What it returned, as JSON.
        label: Of a router: the label that it emitted; None: it went nowhere.
        state: The flow's state after it, without what methods still under way have changed.
        result_classes: Classes within the result, by their place, as ``module:name``.
        state_classes: Classes within the state.
        seconds: Time from the call's start in this segment.
    """

    type: ClassVar[str] = "method.finished"
    method: str
    call: int = 1
    result: Any = None
    label: str | None = None
    state: dict[str, Any] = field(default_factory=dict[str, Any])
    result_classes: dict[str, str] = field(default_factory=dict[str, str])
    state_classes: dict[str, str] = field(default_factory=dict[str, str])
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackReceived(Event):
    """A person's feedback on a method's result is there, and what it means: the flow goes on.

    Args:
        method: The method's name.
        call: The call's number among those of the method, from 1.
        feedback: What the person said.
        outcome: The outcome that it means; None where the method has none.
    """

    type: ClassVar[str] = "feedback.received"
    method: str
    call: int = 1
    feedback: str = ""
    outcome: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodFailed(Event):
    """A flow's method has raised an error; the run fails."""

    type: ClassVar[str] = "method.failed"
    method: str
    call: int = 1
    error: str = ""
