"""CrewAI AMP's forms of what happens in a run: of a step, a task and a crew's end. Made from the journal's events.

Source: AMP's OpenAPI document and its guide to webhooks; ``docs/http-api.md`` says where the two disagree.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from quarterdeck.events import Event, HumanRequested, LLMFinished, RunFinished, TaskFinished, ToolFinished
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


def task(event: TaskFinished) -> dict[str, Any]:
    """A finished task (AMP: the task webhook, ``last_executed_task``)."""
    output = event.output
    description = str(output.get("description", ""))
    return {
        "description": description,
        "name": event.task,
        "expected_output": output.get("expected_output"),
        "summary": " ".join(description.split()[:10]) + "...",
        "agent": event.agent,
        "output": output.get("raw", ""),
        "output_json": structured(event),
    }


def structured(event: TaskFinished) -> dict[str, Any] | None:
    """A task's structured output, where it has one."""
    return event.output.get("json_dict") or event.output.get("pydantic")


def crew(event: RunFinished, state: str, last: TaskFinished | None) -> dict[str, Any]:
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
        "error": event.error,
    }


def asks(event: HumanRequested | RunFinished) -> bool:
    """Whether a person is asked: about a task's output, or, at a run's end, about a tool call in doubt."""
    return isinstance(event, HumanRequested) or event.status == "in_doubt"


def human_input(event: HumanRequested | RunFinished) -> dict[str, Any]:
    """A question to a person (AMP: the human input webhook, whose fields it does not document)."""
    if isinstance(event, RunFinished):
        task_id = event.ended_by.partition("/")[0]
        return {"execution_id": event.run_id, "task_id": task_id, "agent": "", "output": "", "question": event.error}
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


def event_name(event: Event) -> str:
    """AMP's name of an event; our own where it has none: of a run that waits."""
    if isinstance(event, ToolFinished) and not event.ok:
        return "tool_usage_error"
    if isinstance(event, RunFinished) and event.status in ("failed", "cancelled"):
        return "crew_kickoff_failed"
    if isinstance(event, RunFinished) and event.status in ("pending_human_input", "in_doubt"):
        return event.type
    return EVENT_NAMES.get(event.type, event.type)


def task_result(event: TaskFinished) -> dict[str, Any]:
    """A finished task in a status answer (AMP: ``TaskResult``)."""
    return {
        "task_id": event.task,
        "output": event.output.get("raw", ""),
        "agent": event.agent,
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
