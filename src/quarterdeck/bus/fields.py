"""The fields of CrewAI's events, made of ours: a function for each; None where our event is not that one."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

from quarterdeck.bus.types.llm_events import LLMCallType
from quarterdeck.crew.output import CrewOutput
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
    TaskFinished,
    ToolFinished,
    ToolIntended,
    ToolStarted,
)
from quarterdeck.llm.base import spec_to_openai
from quarterdeck.llm.structured import parse
from quarterdeck.llm.types import UsageMetrics
from quarterdeck.task.output import TaskOutput
from quarterdeck.tools.failure import ToolFailure

Fields = dict[str, Any]
_ASK = "/ask/"
"""In the path of a question of ``flow.ask``."""
COMPLETED = ("completed", "completed_with_issues")
Began = RunStarted | KickoffStarted
Ended = RunFinished | KickoffFinished


def crew(event: Event, here: Scope) -> Fields | None:
    return {"crew": here.crew, "crew_name": here.crew.name} if here.crew is not None else None


def crew_started(event: Began, here: Scope) -> Fields | None:
    common = crew(event, here)
    return common and common | {"inputs": event.inputs}


def crew_completed(event: Ended, here: Scope) -> Fields | None:
    common = crew(event, here)
    if common is None or event.status not in COMPLETED:
        return None
    output = CrewOutput(
        raw=event.output, run_id=event.run_id, cost_usd=event.cost_usd, token_usage=UsageMetrics(**event.usage)
    )
    return common | {"output": output, "total_tokens": event.usage.get("total_tokens", 0)}


def crew_failed(event: Ended, here: Scope) -> Fields | None:
    common = crew(event, here)
    return common | {"error": event.error or event.status} if common and event.status not in COMPLETED else None


def flow(event: Event, here: Scope) -> Fields | None:
    """Of a flow's own run, not of what its methods kick off."""
    within = here.crew is not None or here.task is not None or here.agent is not None
    return None if here.flow is None or within else {"flow_name": here.flow.name}


def flow_started(event: Began, here: Scope) -> Fields | None:
    common = flow(event, here)
    return common and common | {"inputs": event.inputs}


def flow_finished(event: Ended, here: Scope) -> Fields | None:
    common = flow(event, here)
    if common is None or event.status not in COMPLETED:
        return None
    return common | {"result": event.output, "state": here.flow.state}


def flow_paused(event: Ended, here: Scope) -> Fields | None:
    common = flow(event, here)
    if common is None or event.status != "pending_human_input":
        return None
    name = getattr(event, "ended_by", "").split("/")[0]
    return common | {"flow_id": event.run_id, "method_name": name, "message": event.error, "state": here.flow.state}


def flow_failed(event: Ended, here: Scope) -> Fields | None:
    common = flow(event, here)
    ended = event.status in (*COMPLETED, "pending_human_input")
    return None if common is None or ended else common | {"error": event.error or event.status}


def method(event: MethodStarted | MethodFinished | MethodFailed, here: Scope) -> Fields | None:
    common = flow(event, here)
    return common and common | {"method_name": event.method}


def method_finished(event: MethodFinished, here: Scope) -> Fields | None:
    common = method(event, here)
    return common and common | {"result": event.result, "state": event.state}


def method_failed(event: MethodFailed, here: Scope) -> Fields | None:
    common = method(event, here)
    return common and common | {"error": event.error}


def asked(event: HumanRequested, here: Scope) -> Fields | None:
    common = flow(event, here)
    if common is None or _ASK in event.path:
        return None
    question = {"output": event.output, "message": event.question, "request_id": event.path}
    return common | {"method_name": event.task} | question


def answered(event: FeedbackReceived, here: Scope) -> Fields | None:
    common = flow(event, here)
    said = {"method_name": event.method, "feedback": event.feedback, "outcome": event.outcome}
    return common and common | said


def input_asked(event: HumanRequested, here: Scope) -> Fields | None:
    common = flow(event, here)
    if common is None or _ASK not in event.path:
        return None
    return common | {"method_name": event.task, "message": event.question}


def input_received(event: HumanAnswered, here: Scope) -> Fields | None:
    common = flow(event, here)
    if common is None or _ASK not in event.path:
        return None
    return common | {"method_name": event.task, "response": event.feedback}


def alone(here: Scope) -> Fields | None:
    """What is told of an agent on its own."""
    agent = here.agent
    if here.crew is not None or here.task is not None or agent is None:
        return None
    tools = [tool.name for tool in agent.tools]
    return {"agent_info": {"id": agent.id, "role": here.role, "goal": agent.goal, "tools": tools}}


def alone_started(event: Began, here: Scope) -> Fields | None:
    common = alone(here)
    return common and common | {"tools": list(here.agent.tools), "messages": event.given.get("messages")}


def alone_completed(event: Ended, here: Scope) -> Fields | None:
    common = alone(here)
    return common | {"output": event.output} if common and event.status in COMPLETED else None


def alone_failed(event: Ended, here: Scope) -> Fields | None:
    common = alone(here)
    return common | {"error": event.error or event.status} if common and event.status not in COMPLETED else None


def task_finished(event: TaskFinished, here: Scope) -> Fields:
    model = getattr(here.task, "answer_model", None)
    data: Fields = dict(event.output)
    data["pydantic"] = parse(data["raw"], model) if model and data.get("output_format") == "pydantic" else None
    return {"output": TaskOutput(**data), "task": here.task}


def agent(here: Scope) -> Fields:
    return {"agent": here.agent, "task": here.task}


def agent_started(event: AgentStarted, here: Scope) -> Fields:
    tools = getattr(here.task, "tools", None) or here.agent.tools
    return agent(here) | {"tools": list(tools), "task_prompt": event.prompt}


def agent_finished(event: AgentFinished, here: Scope) -> Fields | None:
    return None if event.error else agent(here) | {"output": event.output}


def agent_failed(event: AgentFinished, here: Scope) -> Fields | None:
    return agent(here) | {"error": event.error} if event.error else None


def planning(event: PlanStarted, here: Scope) -> Fields:
    return {}


def planned(event: PlanFinished, here: Scope) -> Fields | None:
    return {"plan": event.plan, "ready": event.ready, "attempt": event.attempts} if event.plan else None


def not_planned(event: PlanFinished, here: Scope) -> Fields | None:
    return None if event.plan else {"error": event.error, "attempt": event.attempts}


def logs_started(event: AgentStarted, here: Scope) -> Fields:
    return {"task_description": event.prompt, "verbose": here.agent.verbose}


def logs_ended(event: AgentFinished, here: Scope) -> Fields | None:
    return None if event.error else {"formatted_answer": event.output, "verbose": here.agent.verbose}


def logs_tool(event: ToolFinished, here: Scope) -> Fields:
    return {"formatted_answer": f"{event.tool}: {event.output}", "verbose": getattr(here.agent, "verbose", False)}


def call(event: Event, here: Scope) -> Fields:
    return {"model": getattr(event, "model", None), "call_id": f"{event.run_id}:{event.path}"}


def llm_started(event: LLMStarted, here: Scope) -> Fields:
    request, llm = here.request, here.llm
    sent: Fields = {
        "messages": list(request.messages),
        "tools": [spec_to_openai(tool) for tool in request.tools] or None,
    }
    sent |= {"temperature": llm.temperature, "max_tokens": request.max_tokens, "stop_sequences": list(request.stop)}
    return call(event, here) | sent


def llm_finished(event: LLMFinished, here: Scope) -> Fields:
    return call(event, here) | {
        "messages": event.messages,
        "response": event.tool_calls or event.text,
        "call_type": LLMCallType.TOOL_CALL if event.tool_calls else LLMCallType.LLM_CALL,
        "usage": event.usage,
        "finish_reason": event.finish_reason,
        "response_id": event.response_id,
    }


def llm_delta(event: LLMDelta, here: Scope) -> Fields:
    model = getattr(getattr(here.agent, "llm", None), "model", None)
    return call(event, here) | {"model": model, "chunk": event.text, "call_type": LLMCallType.LLM_CALL}


def thought(event: LLMFinished, here: Scope) -> Fields | None:
    return call(event, here) | {"chunk": event.reasoning} if event.reasoning else None


def llm_failed(event: LLMFailed, here: Scope) -> Fields:
    return call(event, here) | {"error": event.error}


def tool(event: ToolStarted | ToolIntended | ToolFinished, here: Scope) -> Fields:
    return {"tool_name": event.tool, "tool_args": event.arguments, "agent": here.agent}


def tool_finished(event: ToolFinished, here: Scope) -> Fields | None:
    if not event.ok:
        return None
    end = datetime.datetime.fromtimestamp(event.time, datetime.UTC)
    times = {"started_at": end - datetime.timedelta(seconds=event.seconds), "finished_at": end}
    return tool(event, here) | times | {"from_cache": event.cached, "output": event.output}


def failed(*reasons: str) -> Callable[[ToolFinished, Scope], Fields | None]:
    """A failed call, for some of its reasons or for all."""

    def fields(event: ToolFinished, here: Scope) -> Fields | None:
        if event.ok or (reasons and event.reason not in reasons):
            return None
        return tool(event, here) | {"error": event.output}

    return fields


def failure(event: ToolFinished, here: Scope) -> Fields | None:
    if event.ok:
        return None
    reason: Any = event.reason or "exception"
    return tool(event, here) | {"failure": ToolFailure(event.output, reason=reason)}


def judging(event: GuardrailStarted | GuardrailFinished, here: Scope) -> Fields:
    tries = event.path.split("/")[-3:-2]  # the try that is judged: research/2/guardrail/1
    count = int(tries[0]) - 1 if tries and tries[0].isdigit() else 0
    return {"guardrail_name": event.guardrail, "retry_count": count}


def judged(event: GuardrailFinished, here: Scope) -> Fields:
    result = event.output["raw"] if event.output else None
    return judging(event, here) | {"success": event.ok, "result": result, "error": event.feedback or None}
