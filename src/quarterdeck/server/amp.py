"""CrewAI AMP's forms of what happens in a run: of a step, a task and a crew's end. Made from the journal's events.

Source: AMP's OpenAPI document and its guide to webhooks; ``docs/http-api.md`` says where the two disagree.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, cast

from quarterdeck.events import (
    Event,
    HumanRequested,
    KickoffFinished,
    KickoffStarted,
    LLMFinished,
    MethodFinished,
    RunFinished,
    RunKind,
    RunStarted,
    TaskFinished,
    ToolFinished,
)
from quarterdeck.llm.types import UsageMetrics


def step(event: LLMFinished | ToolFinished) -> dict[str, Any]:
    """A thought of an agent, or a tool call (AMP: the step webhook, ``last_step``)."""
    if isinstance(event, ToolFinished):
        return {
            "prompt": "",
            "thought": "",
            "tool": event.tool,
            "tool_input": json.dumps(event.arguments, ensure_ascii=False),
            "result": event.output,
        }
    return {
        "prompt": _prompt(event),
        "thought": event.reasoning or "",
        "tool": "",
        "tool_input": "",
        "result": event.text,
    }


def is_step(event: Event) -> bool:
    """Whether AMP counts an event as a step: a tool call, or an answer of a model that is more than tool calls."""
    return isinstance(event, ToolFinished) or (isinstance(event, LLMFinished) and bool(event.text))


def _prompt(event: LLMFinished) -> str:
    """What the model was last told by a person or by us."""
    for message in reversed(event.messages):
        if message.get("role") == "user" and isinstance(message.get("content"), str):
            return message["content"]
    return ""


Done = TaskFinished | MethodFinished
"""What a run's progress is made of: a crew's tasks, a flow's methods."""


def done(events: Iterable[Event], is_flow: bool) -> list[Done]:
    """The finished tasks of a crew's run, the finished calls of a flow's methods; not those of what is in them."""
    if is_flow:
        found = [event for event in events if isinstance(event, MethodFinished)]
        return [event for event in found if event.path == f"{event.method}/{event.call}"]
    return [event for event in events if isinstance(event, TaskFinished)]


def name_of(event: Done) -> str:
    """The task's or method's name."""
    return event.task if isinstance(event, TaskFinished) else event.method


def text_of(event: Done) -> str:
    """Its output as text."""
    if isinstance(event, TaskFinished):
        return str(event.output.get("raw", ""))
    result: Any = event.result
    raw = cast("dict[str, Any]", result).get("raw", result) if isinstance(result, dict) else result
    return "" if raw is None else raw if isinstance(raw, str) else json.dumps(raw, ensure_ascii=False)


def task(event: Done) -> dict[str, Any]:
    """A finished task or method (AMP: the task webhook, ``last_executed_task``)."""
    output = event.output if isinstance(event, TaskFinished) else dict[str, Any]()
    description = str(output.get("description", ""))
    return {
        "description": description,
        "name": name_of(event),
        "expected_output": output.get("expected_output"),
        "summary": " ".join(description.split()[:10]) + "...",
        "agent": event.agent if isinstance(event, TaskFinished) else "",
        "output": text_of(event),
        "output_json": structured(event),
    }


def structured(event: Done) -> dict[str, Any] | None:
    """The structured output of a task or method, where it has one."""
    output: Any = event.output if isinstance(event, TaskFinished) else event.result
    if not isinstance(output, dict):
        return None
    data = cast("dict[str, Any]", output)
    is_plain = isinstance(event, MethodFinished) and "raw" not in data
    return data if is_plain else data.get("json_dict") or data.get("pydantic")


def crew(event: RunFinished, state: str, last: Done | None) -> dict[str, Any]:
    """A run's end (AMP: the crew webhook); ``status`` and ``error`` are ours: AMP's tells only of success.

    Args:
        event: The end.
        state: The run's state now.
        last: Its last finished task.
    """
    counts = ("total_tokens", "prompt_tokens", "completion_tokens")
    return {
        "result": event.output,
        "result_json": structured(last) if last else None,
        "token_usage": {name: event.usage.get(name, 0) for name in counts},
        "status": state,
        "error": reason(event),
    }


def reason(event: RunFinished) -> str:
    """Why a run has ended, or waits, for whoever asks over HTTP: without what a Python program is told to do."""
    if event.status == "pending_human_input":
        return ""  # the question says it
    if event.status == "in_doubt":
        what = event.error.partition(", then go on with the same run_id and ")[0]
        return f"{what}: approve with its result as the feedback; or do not approve, to have it called again"
    return event.error


def asks(event: HumanRequested | RunFinished) -> bool:
    """Whether a person is asked: about a task's output, or, at a run's end, about a tool call in doubt."""
    return isinstance(event, HumanRequested) or event.status == "in_doubt"


def human_input(event: HumanRequested | RunFinished) -> dict[str, Any]:
    """A question to a person (AMP: the human input webhook, whose fields it does not document)."""
    if isinstance(event, RunFinished):
        task_id = event.ended_by.partition("/")[0]
        return {"execution_id": event.run_id, "task_id": task_id, "agent": "", "output": "", "question": reason(event)}
    return {
        "execution_id": event.run_id,
        "task_id": event.task,
        "agent": event.agent,
        "output": event.output,
        "question": event.question,
    }


EVENT_NAMES: Mapping[str, str] = {
    "run.started": "crew_kickoff_started",
    "run.finished": "crew_kickoff_completed",
    "kickoff.started": "crew_kickoff_started",
    "kickoff.finished": "crew_kickoff_completed",
    "task.finished": "task_completed",
    "task.failed": "task_failed",
    "method.finished": "method_execution_finished",
    "feedback.received": "human_feedback_received",
    "method.failed": "method_execution_failed",
    "llm.finished": "llm_call_completed",
    "tool.intended": "tool_usage_started",
    "tool.finished": "tool_usage_finished",
    "guardrail.finished": "llm_guardrail_completed",
    "human.requested": "human_feedback_requested",
    "human.answered": "human_feedback_received",
}
"""AMP's names of our events. ``event_name`` tells the two apart that AMP names by how they ended."""


_RUN_NAMES: Mapping[RunKind, tuple[str, str, str]] = {
    "crew": ("crew_kickoff_started", "crew_kickoff_completed", "crew_kickoff_failed"),
    "flow": ("flow_started", "flow_finished", "flow_failed"),
    "agent": ("lite_agent_execution_started", "lite_agent_execution_completed", "lite_agent_execution_error"),
}
"""AMP's names of how a run of each kind begins, ends and fails."""


def event_name(event: Event) -> str:
    """AMP's name of an event; our own where it has none: of a run that waits."""
    if isinstance(event, ToolFinished) and not event.ok:
        return "tool_usage_error"
    if isinstance(event, RunFinished) and event.status in ("pending_human_input", "in_doubt"):
        return event.type
    if isinstance(event, RunStarted | KickoffStarted):
        return _RUN_NAMES[event.kind][0]
    if isinstance(event, RunFinished | KickoffFinished):
        return _RUN_NAMES[event.kind][2 if event.status in ("failed", "cancelled") else 1]
    return EVENT_NAMES.get(event.type, event.type)


def task_result(event: Done) -> dict[str, Any]:
    """A finished task or method in a status answer (AMP: ``TaskResult``)."""
    return {
        "task_id": name_of(event),
        "output": text_of(event),
        "agent": event.agent if isinstance(event, TaskFinished) else "",
        "execution_time": round(event.seconds, 3),
    }


def usage(events: Iterable[Event]) -> dict[str, Any]:
    """Tokens, cost and calls of a run so far; ``cost_usd`` is None where a price is not known."""
    total, cost, known = UsageMetrics(), 0.0, True
    calls = tools = 0
    for event in events:
        if isinstance(event, LLMFinished):
            calls += 1
            total.add_usage_metrics(UsageMetrics(**event.usage))
            cost, known = cost + (event.cost_usd or 0.0), known and event.cost_usd is not None
        elif isinstance(event, ToolFinished):
            tools += 1
    return {
        **total.model_dump(),
        "cost_usd": round(cost, 8) if known else None,
        "llm_calls": calls,
        "tool_calls": tools,
    }
