"""The pieces of a crew's or a flow's stream."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from quarterdeck.events import Event, LLMDelta, LLMFinished, current_scope


class StreamChunkType(StrEnum):
    """What a chunk is: a piece of text, or a tool call."""

    TEXT = "text"
    TOOL_CALL = "tool_call"


@dataclass(frozen=True, slots=True)
class ToolCallChunk:
    """A tool call that the model wants made.

    Args:
        tool_id: The model's id of the call.
        tool_name: The tool.
        arguments: The arguments' JSON text, whole.
        index: Its place among the calls of one answer, from 0.
    """

    tool_id: str
    tool_name: str
    arguments: str
    index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamChunk:
    """A piece of what the agents write (CrewAI: ``StreamChunk``).

    Args:
        content: The text; "" for a tool call.
        chunk_type: ``text`` or ``tool_call``.
        task_index: The task's place in the crew, from 0.
        task_name: Its name.
        task_id: Its object's id.
        agent_role: The agent's role.
        agent_id: Its object's id.
        tool_call: The call, where it is one.
        run_id: The run, where several are in one stream.
    """

    content: str = ""
    chunk_type: StreamChunkType = StreamChunkType.TEXT
    task_index: int = 0
    task_name: str = ""
    task_id: str = ""
    agent_role: str = ""
    agent_id: str = ""
    tool_call: ToolCallChunk | None = None
    run_id: str = ""

    def __str__(self) -> str:
        return self.content


def chunks_of(event: Event) -> list[StreamChunk]:
    """The chunks that an event is, seen where it happens."""
    match event:
        case LLMDelta() if event.text:
            return [StreamChunk(content=event.text, **_place(event, event.agent))]
        case LLMFinished() if event.tool_calls:
            place = _place(event, event.agent)
            calls = [
                ToolCallChunk(part["id"], part["function"]["name"], part["function"]["arguments"], index)
                for index, part in enumerate(event.tool_calls)
            ]
            return [StreamChunk(chunk_type=StreamChunkType.TOOL_CALL, tool_call=item, **place) for item in calls]
        case _:
            return []


def _place(event: Event, role: str) -> dict[str, Any]:
    here = current_scope()
    return {
        "task_index": here.task_index or 0,
        "task_name": here.task_name,
        "task_id": getattr(here.task, "id", ""),
        "agent_role": role,
        "agent_id": getattr(here.agent, "id", ""),
        "run_id": event.run_id,
    }
