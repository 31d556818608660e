"""All kinds of events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from quarterdeck.events.event import Event
from quarterdeck.events.runs import (
    FeedbackReceived,
    KickoffFinished,
    KickoffStarted,
    MethodFailed,
    MethodFinished,
    MethodStarted,
    RunFinished,
    RunStarted,
    TaskFailed,
    TaskFinished,
    TaskStarted,
)
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

AnyEvent = (
    RunStarted
    | RunFinished
    | KickoffStarted
    | KickoffFinished
    | TaskStarted
    | TaskFinished
    | TaskFailed
    | MethodStarted
    | MethodFinished
    | FeedbackReceived
    | MethodFailed
    | AgentStarted
    | AgentFinished
    | PlanStarted
    | PlanFinished
    | LLMStarted
    | LLMDelta
    | LLMRetried
    | LLMFinished
    | LLMFailed
    | ToolStarted
    | ToolIntended
    | ToolFinished
    | GuardrailStarted
    | GuardrailFinished
    | ConditionDecided
    | HumanRequested
    | HumanAnswered
    | LimitReached
)
EVENT_TYPES: Mapping[str, type[Event]] = {kind.type: kind for kind in get_args(AnyEvent)}
