"""What can happen in a run: one frozen, typed event for each thing, to JSON and back.

An event is *durable* when the journal keeps it: it then has a ``seq``, its place in the run. The others (a step that
begins, a piece of text) are only shown to whoever watches. The JSON form carries ``v``, the version of this
module's format; fields may be added within a version, never renamed or removed.
"""

from __future__ import annotations

from quarterdeck.events.event import VERSION, Event, is_unicode, json_of
from quarterdeck.events.kinds import EVENT_TYPES, AnyEvent
from quarterdeck.events.read import event_from_dict, event_from_json
from quarterdeck.events.runs import (
    FeedbackReceived,
    KickoffFinished,
    KickoffStarted,
    MethodFailed,
    MethodFinished,
    MethodStarted,
    RunFinished,
    RunKind,
    RunStarted,
    RunStatus,
    TaskFailed,
    TaskFinished,
    TaskStarted,
)
from quarterdeck.events.scope import Scope, current_scope, scope
from quarterdeck.events.steps import (
    AgentFinished,
    AgentStarted,
    ConditionDecided,
    GuardrailFinished,
    GuardrailStarted,
    HumanAnswered,
    HumanRequested,
    LimitReached,
    LLMDelta,
    LLMFailed,
    LLMFinished,
    LLMRetried,
    LLMStarted,
    PlanFinished,
    PlanStarted,
    ToolFinished,
    ToolIntended,
    ToolStarted,
)
from quarterdeck.events.subscribe import Subscriber, subscribe, subscribers

__all__ = [
    "EVENT_TYPES",
    "VERSION",
    "AgentFinished",
    "AgentStarted",
    "AnyEvent",
    "ConditionDecided",
    "Event",
    "FeedbackReceived",
    "GuardrailFinished",
    "GuardrailStarted",
    "HumanAnswered",
    "HumanRequested",
    "KickoffFinished",
    "KickoffStarted",
    "LLMDelta",
    "LLMFailed",
    "LLMFinished",
    "LLMRetried",
    "LLMStarted",
    "LimitReached",
    "MethodFailed",
    "MethodFinished",
    "MethodStarted",
    "PlanFinished",
    "PlanStarted",
    "RunFinished",
    "RunKind",
    "RunStarted",
    "RunStatus",
    "Scope",
    "Subscriber",
    "TaskFailed",
    "TaskFinished",
    "TaskStarted",
    "ToolFinished",
    "ToolIntended",
    "ToolStarted",
    "current_scope",
    "event_from_dict",
    "event_from_json",
    "is_unicode",
    "json_of",
    "scope",
    "subscribe",
    "subscribers",
]
