"""CrewAI's events made of ours: a table with a row for each."""

from __future__ import annotations

import datetime
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from quarterdeck.bus import fields
from quarterdeck.bus.base_events import BaseEvent
from quarterdeck.bus.fields import Fields
from quarterdeck.bus.types import (
    agent_events,
    crew_events,
    flow_events,
    llm_events,
    llm_guardrail_events,
    logging_events,
    reasoning_events,
    task_events,
    tool_usage_events,
)
from quarterdeck.events import (
    AgentFinished,
    AgentStarted,
    Event,
    FeedbackReceived,
    GuardrailFinished,
    GuardrailStarted,
    HumanAnswered,
    HumanRequested,
    KickoffFinished,
    KickoffStarted,
    LLMDelta,
    LLMFailed,
    LLMFinished,
    LLMStarted,
    MethodFailed,
    MethodFinished,
    MethodStarted,
    PlanFinished,
    PlanStarted,
    RunFinished,
    RunStarted,
    Scope,
    TaskFailed,
    TaskFinished,
    TaskStarted,
    ToolFinished,
    ToolIntended,
    ToolStarted,
    current_scope,
)

_NAMESPACE = uuid.UUID("6f1d9ce4-6c1f-4c57-9b0f-51b7a0f7b1d2")
_OUTER = re.compile(r"(.*/tool/\d+)/")


@dataclass(frozen=True, slots=True)
class _Row:
    """One of CrewAI's events.

    Args:
        kind: Its class.
        of: What it is about: ``run``, ``task``, ``agent``, ``plan``, ``method``, ``llm``, ``tool``, ``guardrail`` or
            ``human``.
        fields: Its own fields; None where our event is not this one.
        begins: Whether it is the beginning of what it is about.
        ends: Whether it is its end.
    """

    kind: type[BaseEvent]
    of: str
    fields: Callable[[Any, Scope], Fields | None]
    begins: bool = False
    ends: bool = False


def events_for(event: Event, wanted: Callable[[type[BaseEvent]], bool]) -> Iterator[tuple[Any, BaseEvent]]:
    """CrewAI's events that an event of a run is, with their sources; called where it happens.

    Args:
        event: The event of a run.
        wanted: Whether somebody wants a class.
    """
    here = current_scope()
    for row in _ROWS.get(type(event), ()):
        if wanted(row.kind):
            own = row.fields(event, here)
            if own is not None:
                yield _source(row, here), row.kind(**_common(row, event, here), **own)


def _source(row: _Row, here: Scope) -> Any:
    match row.of:
        case "run":
            return here.crew or here.flow or here.agent
        case "task":
            return here.task
        case "method" | "human":
            return here.flow or here.task
        case "llm":
            return here.llm or getattr(here.agent, "llm", None)
        case _:
            return here.agent or here.task


def _common(row: _Row, event: Event, here: Scope) -> Fields:
    common: Fields = {
        "run_id": event.run_id,
        "path": event.path,
        "timestamp": datetime.datetime.fromtimestamp(event.time, datetime.UTC),
        "parent_event_id": _parent(row, event, here),
    }
    if here.task is not None:
        common |= {"task_id": here.task.id, "task_name": here.task_name}
    if here.agent is not None:
        common |= {"agent_id": here.agent.id, "agent_role": here.role}
    began = _id(event.run_id, row.of, event.path)
    if row.begins:
        common["event_id"] = began
    if row.ends:
        common["started_event_id"] = began
    return common


def _id(run_id: str, of: str, path: str) -> str:
    """The id of a beginning: known from what it is about, so that nothing has to be kept."""
    return str(uuid.uuid5(_NAMESPACE, f"{run_id}\n{of}\n{path}"))


def _parent(row: _Row, event: Event, here: Scope) -> str | None:
    """The id of the beginning of what an event is part of."""
    path = event.path
    above = path.rpartition("/")[0]
    two_above = above.rpartition("/")[0]
    if row.of == "run" or not path:  # of a part of a run: the method that kicked it off
        return _id(event.run_id, "method", two_above) if path else None
    if row.of == "task":
        return _id(event.run_id, "run", above)
    if row.of == "method":
        return _id(event.run_id, "run", two_above)
    plan = two_above.rpartition("/")[0]  # its attempts are below it: survey/plan/1/llm/1
    if row.of == "llm" and plan.endswith("/plan") and here.task_name != "plan":
        return _id(event.run_id, "plan", plan)
    if row.of not in ("agent", "plan"):
        return _id(event.run_id, "agent", two_above)
    outer = _OUTER.match(path)
    if outer:  # work that was handed to it by a tool call
        return _id(event.run_id, "tool", outer[1])
    return _id(event.run_id, "task", above) if here.task is not None else _id(event.run_id, "run", two_above)


_BEGINNINGS = (
    _Row(crew_events.CrewKickoffStartedEvent, "run", fields.crew_started, begins=True),
    _Row(flow_events.FlowStartedEvent, "run", fields.flow_started, begins=True),
    _Row(agent_events.LiteAgentExecutionStartedEvent, "run", fields.alone_started, begins=True),
)
_ENDS = (
    _Row(crew_events.CrewKickoffCompletedEvent, "run", fields.crew_completed, ends=True),
    _Row(crew_events.CrewKickoffFailedEvent, "run", fields.crew_failed, ends=True),
    _Row(flow_events.FlowFinishedEvent, "run", fields.flow_finished, ends=True),
    _Row(flow_events.FlowFailedEvent, "run", fields.flow_failed, ends=True),
    _Row(flow_events.FlowPausedEvent, "run", fields.flow_paused, ends=True),
    _Row(agent_events.LiteAgentExecutionCompletedEvent, "run", fields.alone_completed, ends=True),
    _Row(agent_events.LiteAgentExecutionErrorEvent, "run", fields.alone_failed, ends=True),
)
_ROWS: Mapping[type[Event], tuple[_Row, ...]] = {
    RunStarted: _BEGINNINGS,
    KickoffStarted: _BEGINNINGS,
    RunFinished: _ENDS,
    KickoffFinished: _ENDS,
    TaskStarted: (_Row(task_events.TaskStartedEvent, "task", lambda event, here: {"task": here.task}, begins=True),),
    TaskFinished: (_Row(task_events.TaskCompletedEvent, "task", fields.task_finished, ends=True),),
    TaskFailed: (
        _Row(
            task_events.TaskFailedEvent,
            "task",
            lambda event, here: {"task": here.task, "error": event.error},
            ends=True,
        ),
    ),
    AgentStarted: (
        _Row(agent_events.AgentExecutionStartedEvent, "agent", fields.agent_started, begins=True),
        _Row(logging_events.AgentLogsStartedEvent, "agent", fields.logs_started),
    ),
    AgentFinished: (
        _Row(agent_events.AgentExecutionCompletedEvent, "agent", fields.agent_finished, ends=True),
        _Row(agent_events.AgentExecutionErrorEvent, "agent", fields.agent_failed, ends=True),
        _Row(logging_events.AgentLogsExecutionEvent, "agent", fields.logs_ended),
    ),
    PlanStarted: (_Row(reasoning_events.AgentReasoningStartedEvent, "plan", fields.planning, begins=True),),
    PlanFinished: (
        _Row(reasoning_events.AgentReasoningCompletedEvent, "plan", fields.planned, ends=True),
        _Row(reasoning_events.AgentReasoningFailedEvent, "plan", fields.not_planned, ends=True),
    ),
    MethodStarted: (_Row(flow_events.MethodExecutionStartedEvent, "method", fields.method, begins=True),),
    MethodFinished: (_Row(flow_events.MethodExecutionFinishedEvent, "method", fields.method_finished, ends=True),),
    MethodFailed: (_Row(flow_events.MethodExecutionFailedEvent, "method", fields.method_failed, ends=True),),
    LLMStarted: (_Row(llm_events.LLMCallStartedEvent, "llm", fields.llm_started, begins=True),),
    LLMDelta: (_Row(llm_events.LLMStreamChunkEvent, "llm", fields.llm_delta),),
    LLMFinished: (
        _Row(llm_events.LLMThinkingChunkEvent, "llm", fields.thought),
        _Row(llm_events.LLMCallCompletedEvent, "llm", fields.llm_finished, ends=True),
    ),
    LLMFailed: (_Row(llm_events.LLMCallFailedEvent, "llm", fields.llm_failed, ends=True),),
    ToolStarted: (_Row(tool_usage_events.ToolUsageStartedEvent, "tool", fields.tool, begins=True),),
    ToolIntended: (_Row(tool_usage_events.ToolUsageStartedEvent, "tool", fields.tool, begins=True),),
    ToolFinished: (
        _Row(tool_usage_events.ToolUsageFinishedEvent, "tool", fields.tool_finished, ends=True),
        _Row(tool_usage_events.ToolValidateInputErrorEvent, "tool", fields.failed("invalid_input")),
        _Row(tool_usage_events.ToolSelectionErrorEvent, "tool", fields.failed("unknown_tool")),
        _Row(tool_usage_events.ToolExecutionErrorEvent, "tool", fields.failed("exception")),
        _Row(tool_usage_events.ToolFailureDetectedEvent, "tool", fields.failure),
        _Row(tool_usage_events.ToolUsageErrorEvent, "tool", fields.failed(), ends=True),
        _Row(logging_events.AgentLogsExecutionEvent, "tool", fields.logs_tool),
    ),
    GuardrailStarted: (_Row(llm_guardrail_events.LLMGuardrailStartedEvent, "guardrail", fields.judging, begins=True),),
    GuardrailFinished: (_Row(llm_guardrail_events.LLMGuardrailCompletedEvent, "guardrail", fields.judged, ends=True),),
    HumanRequested: (
        _Row(flow_events.HumanFeedbackRequestedEvent, "human", fields.asked),
        _Row(flow_events.FlowInputRequestedEvent, "human", fields.input_asked, begins=True),
    ),
    HumanAnswered: (_Row(flow_events.FlowInputReceivedEvent, "human", fields.input_received, ends=True),),
    FeedbackReceived: (_Row(flow_events.HumanFeedbackReceivedEvent, "human", fields.answered),),
}

CLASSES: Mapping[type[Event], tuple[type[BaseEvent], ...]] = {
    kind: tuple(row.kind for row in rows) for kind, rows in _ROWS.items()
}
"""For each kind of event of a run, CrewAI's classes that are made of it."""
