"""Where each public name of CrewAI lives here. The modules and names are those that its documentation imports."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping
from typing import Any

_EVENT_MODULES = (
    "base_event_listener",
    "base_events",
    "event_bus",
    "types",
    *(
        f"types.{kind}_events"
        for kind in (
            *("agent", "crew", "flow", "knowledge", "llm", "llm_guardrail", "logging", "memory", "reasoning", "task"),
            "tool_usage",
        )
    ),
)

SAME: Mapping[str, str] = {
    "crewai.agent": "agent",
    "crewai.crew": "crew",
    "crewai.flow": "flow",
    "crewai.flow.flow": "flow.flow",
    "crewai.flow.flow_config": "flow.flow_config",
    "crewai.flow.human_feedback": "flow.human_feedback",
    "crewai.hooks": "hooks",
    "crewai.llm": "llm",
    "crewai.project": "project",
    "crewai.task": "task",
    "crewai.tools": "tools",
    "crewai.events": "bus",
    **{f"crewai.events.{name}": f"bus.{name}" for name in _EVENT_MODULES},
}
"""CrewAI's modules that are one of ours, under another name."""


def _all(home: str, *names: str) -> dict[str, str]:
    return dict.fromkeys(names, home)


FACADES: Mapping[str, Mapping[str, str]] = {
    "crewai": {
        **_all("agent", "Agent", "PlanningConfig"),
        **_all("crew", "Crew", "CrewOutput", "Process"),
        **_all("flow", "Flow"),
        **_all("llm", "LLM", "BaseLLM"),
        **_all("task", "LLMGuardrail", "Task", "TaskOutput"),
        "__version__": "",
    },
    "crewai.agent.core": _all("agent", "Agent"),
    "crewai.agent.planning_config": _all("agent", "PlanningConfig"),
    "crewai.agents": _all("agent", "AgentAction", "AgentFinish"),
    "crewai.agents.agent_builder": {},
    "crewai.agents.agent_builder.base_agent": {"BaseAgent": "agent:Agent"},
    "crewai.agents.parser": _all("agent", "AgentAction", "AgentFinish"),
    "crewai.crews": _all("crew", "CrewOutput"),
    "crewai.crews.crew_output": _all("crew", "CrewOutput"),
    "crewai.flow.async_feedback": _all(
        "flow", "HumanFeedbackPending", "HumanFeedbackProvider", "PendingFeedbackContext"
    ),
    "crewai.flow.async_feedback.types": _all(
        "flow", "HumanFeedbackPending", "HumanFeedbackProvider", "PendingFeedbackContext"
    ),
    "crewai.flow.input_provider": _all("flow", "InputProvider"),
    "crewai.flow.persistence": _all(
        "flow", "FlowPersistence", "SQLiteFlowPersistence", "persist", "set_flow_persistence_factory"
    ),
    "crewai.flow.persistence.base": _all("flow", "FlowPersistence"),
    "crewai.flow.persistence.decorators": _all("flow", "persist"),
    "crewai.flow.persistence.sqlite": _all("flow", "SQLiteFlowPersistence"),
    "crewai.hooks.contexts": _all(
        "hooks", "ExecutionEndContext", "ExecutionStartContext", "InputContext", "OutputContext"
    ),
    "crewai.hooks.decorators": _all(
        "hooks", "after_llm_call", "after_tool_call", "before_llm_call", "before_tool_call"
    ),
    "crewai.hooks.llm_hooks": _all(
        "hooks", "LLMCallHookContext", "register_after_llm_call_hook", "register_before_llm_call_hook"
    ),
    "crewai.hooks.tool_hooks": _all(
        "hooks", "ToolCallHookContext", "register_after_tool_call_hook", "register_before_tool_call_hook"
    ),
    "crewai.lite_agent": _all("agent", "LiteAgentOutput"),
    "crewai.lite_agent_output": _all("agent", "LiteAgentOutput"),
    "crewai.llms": _all("llm", "BaseLLM"),
    "crewai.llms.base_llm": _all("llm", "BaseLLM"),
    "crewai.process": _all("crew", "Process"),
    "crewai.tasks": _all("task", "OutputFormat", "TaskOutput"),
    "crewai.tasks.conditional_task": _all("task", "ConditionalTask"),
    "crewai.tasks.hallucination_guardrail": _all("task", "HallucinationGuardrail"),
    "crewai.tasks.llm_guardrail": _all("task", "LLMGuardrail"),
    "crewai.tasks.output_format": _all("task", "OutputFormat"),
    "crewai.tasks.task_output": _all("task", "TaskOutput"),
    "crewai.project.annotations": _all(
        "project",
        "after_kickoff",
        "agent",
        "before_kickoff",
        "cache_handler",
        "callback",
        "crew",
        "llm",
        "output_json",
        "output_pydantic",
        "task",
        "tool",
    ),
    "crewai.project.crew_base": _all("project", "CrewBase"),
    "crewai.tools.base_tool": _all("tools", "BaseTool", "EnvVar", "Tool", "tool"),
    "crewai.tools.structured_tool": _all("tools", "CrewStructuredTool"),
    "crewai.tools.tool_failure": {
        "ToolExecutionFailedError": "errors:ToolExecutionFailedError",
        "ToolFailure": "tools:ToolFailure",
    },
    "crewai.types": {},
    "crewai.types.streaming": _all(
        "streaming",
        "AsyncStreamSession",
        "CrewStreamingOutput",
        "FlowStreamingOutput",
        "StreamChunk",
        "StreamChunkType",
        "StreamFrame",
        "StreamSession",
        "ToolCallChunk",
    ),
    "crewai.types.usage_metrics": _all("llm", "UsageMetrics"),
    "crewai.utilities": {},
    "crewai.utilities.llm_utils": _all("llm", "create_llm"),
    "crewai_tools": {
        "DirectoryReadTool": "tools:ListFiles",
        "FileReadTool": "tools:ReadFile",
        "FileWriterTool": "tools:WriteFile",
        "ScrapeWebsiteTool": "tools:FetchURL",
    },
}
"""CrewAI's other modules: each name's home here, as ``module`` or, where it is called otherwise, ``module:name``."""

_SERVICE = "left out: it belongs to CrewAI's hosted service"
_NOT_YET = "not in this version of Quarterdeck"

LEFT_OUT: Mapping[str, str] = {
    "crewai.a2a": f"{_NOT_YET}: the agent-to-agent protocol",
    "crewai.agents.cache": "left out: Crew(cache=True) keeps tool results within a run",
    "crewai.agents.crew_agent_executor": "left out: Quarterdeck has one agent loop; an Agent has its settings",
    "crewai.auth": _SERVICE,
    "crewai.cli": "left out: the commands are those of quarterdeck, see 'quarterdeck --help'",
    "crewai.core": "left out: kickoff(human=...) and set_human_input take an object with an async ask()",
    "crewai.events.event_listener": "left out: derive from crewai.events.BaseEventListener",
    "crewai.events.types.a2a_events": f"{_NOT_YET}: the agent-to-agent protocol",
    "crewai.events.types.mcp_events": f"{_NOT_YET}: MCP servers as tools",
    "crewai.experimental": "left out: experiments of CrewAI's own",
    "crewai.knowledge": f"{_NOT_YET}: knowledge sources; give the agent a tool that reads them",
    "crewai.mcp": f"{_NOT_YET}: MCP servers as tools",
    "crewai.memory": f"{_NOT_YET}: memory",
    "crewai.plus_api": _SERVICE,
    "crewai.rag": f"{_NOT_YET}: give the agent a tool that searches",
    "crewai.security": "left out: fingerprints; a run has an id, a crew has a definition digest",
    "crewai.skills": f"{_NOT_YET}: skills",
    "crewai.state": "left out: kickoff(journal=..., run_id=...) keeps every step, no checkpoint is needed",
    "crewai.telemetry": "left out: Quarterdeck sends no telemetry",
    "crewai.translations": "left out: prompts are Quarterdeck's own",
}
"""Modules, with all below them, that Quarterdeck does not have, and why."""

_NAMES: Mapping[str, Mapping[str, str]] = {
    "crewai": {
        "CheckpointConfig": LEFT_OUT["crewai.state"],
        "Entity": _SERVICE,
        "ExecutionContext": _SERVICE,
        "Knowledge": LEFT_OUT["crewai.knowledge"],
        "Memory": LEFT_OUT["crewai.memory"],
        "RuntimeState": LEFT_OUT["crewai.state"],
    },
}
_NO_SUCH_TOOL = (
    "Quarterdeck has no tool of this name; it takes tools of CrewAI's package, of LangChain and functions with @tool"
)


def left_out(module: str, name: str) -> str:
    """Why a name of CrewAI is not there; "" where it is, or was never known."""
    if module == "crewai_tools" and name.endswith("Tool") and name not in FACADES[module]:
        return _NO_SUCH_TOOL
    return _NAMES.get(module, {}).get(name, "")


def home(module: str, name: str) -> str | None:
    """Where a name of one of CrewAI's modules lives: ``module:name`` below ``quarterdeck``; None: nowhere."""
    if module in SAME:
        return f"{SAME[module]}:{name}"
    target = FACADES.get(module, {}).get(name)
    if target is None:
        return None
    return target if ":" in target else f"{target}:{name}"


@functools.cache
def resolve(target: str) -> Any:
    """The object at ``module:name`` below ``quarterdeck``."""
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(f"quarterdeck.{module}" if module else "quarterdeck"), name)
