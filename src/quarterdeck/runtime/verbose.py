"""``verbose=True``: one line on stderr for each thing that happens."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TextIO

from quarterdeck.events import (
    ConditionDecided,
    Event,
    FeedbackReceived,
    GuardrailFinished,
    LimitReached,
    LLMFinished,
    LLMRetried,
    MethodFailed,
    MethodFinished,
    MethodStarted,
    RunFinished,
    Subscriber,
    TaskFailed,
    TaskFinished,
    TaskStarted,
    ToolFinished,
)


def line(event: Event) -> str | None:
    """An event in one line; None for those that are not worth one."""
    match event:
        case TaskStarted():
            return f"{event.task}: begun by {event.agent}"
        case TaskFinished():
            return f"{event.task}: done in {event.seconds:.1f} s"
        case MethodStarted():
            return f"{event.path}: begun{f' by {event.trigger}' if event.trigger else ''}"
        case MethodFinished():
            label = f", {event.label!r}" if event.label is not None else ""
            return f"{event.path}: done in {event.seconds:.1f} s{label}"
        case FeedbackReceived():
            said = " ".join(event.feedback.split())[:100]
            return f"{event.path}: {event.outcome or 'said'}: {said}"
        case MethodFailed():
            return f"{event.path}: failed: {event.error}"
        case TaskFailed():
            return f"{event.task}: failed: {event.error}"
        case LLMFinished():
            what = ", ".join(c["function"]["name"] for c in event.tool_calls) or " ".join(event.text.split())[:100]
            tokens = event.usage.get("total_tokens", 0)
            return f"{event.path}: {event.model}, {tokens} tokens, {event.seconds:.1f} s: {what}"
        case LLMRetried():
            return f"{event.path}: try {event.attempt} failed ({event.error}); again in {event.wait:.1f} s"
        case ToolFinished():
            return f"{event.path}: {event.tool}, {event.seconds:.1f} s: {' '.join(event.output.split())[:100]}"
        case GuardrailFinished():
            return f"{event.path}: {event.guardrail}: {'passed' if event.ok else event.feedback}"
        case ConditionDecided():
            return None if event.met else f"{event.task}: skipped, its condition says so"
        case LimitReached():
            return f"{event.path or 'run'}: limit {event.limit} of {event.allowed:g} reached"
        case RunFinished():
            tokens = event.usage.get("total_tokens", 0)
            noted = "".join(f"\n  issue: {issue}" for issue in event.issues)
            return f"run {event.run_id}: {event.status}, {tokens} tokens, {event.seconds:.1f} s{noted}"
        case _:
            return None


_shown: ContextVar[bool] = ContextVar("quarterdeck_shown", default=False)


@contextmanager
def shown() -> Generator[Subscriber]:
    """A printer for runs of a ``with`` block, as the only one: what is ``verbose`` there prints nothing beside it."""
    token = _shown.set(True)
    try:
        yield printer()
    finally:
        _shown.reset(token)


def is_shown() -> bool:
    """Whether somebody else says what is printed of the runs of this context."""
    return _shown.get()


def printer(to: TextIO | None = None) -> Subscriber:
    """A subscriber that prints, to stderr by default."""

    def show(event: Event) -> None:
        text = line(event)
        if text is not None:
            print(text, file=to or sys.stderr, flush=True)

    return show
