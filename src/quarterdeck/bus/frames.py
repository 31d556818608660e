"""Frames of a stream, made of the bus's events."""

from __future__ import annotations

from typing import Any

from quarterdeck.bus.base_events import BaseEvent
from quarterdeck.streaming import StreamFrame
from quarterdeck.streaming.frames import Channel

_CHANNELS: dict[str, Channel] = {"llm_events": "llm", "tool_usage_events": "tools", "flow_events": "flow"}
_OBJECTS = frozenset({"crew", "agent", "task"})
"""Fields that hold definitions: a frame names them by role, name and id."""


def frame_of(event: BaseEvent, last: StreamFrame | None) -> StreamFrame:
    """An event as a frame.

    Args:
        event: The event.
        last: The frame before it.
    """
    return StreamFrame(
        type=event.type,
        channel=_channel(event),
        data=_data(event),
        seq=last.seq + 1 if last else 1,
        id=event.event_id,
        namespace=tuple(event.path.split("/")) if event.path else (),
        timestamp=event.timestamp.timestamp(),
        parent_id=event.parent_event_id,
        previous_id=last.id if last else None,
    )


def _channel(event: BaseEvent) -> Channel:
    if event.type.startswith("conversation_"):
        return "messages"
    module = type(event).__module__
    if not module.startswith("quarterdeck.bus."):
        return "custom"
    return _CHANNELS.get(module.rpartition(".")[2], "lifecycle")


def _data(event: BaseEvent) -> dict[str, Any]:
    data = {name: getattr(event, name) for name in type(event).model_fields if name not in _OBJECTS}
    if data.get("tools"):
        data["tools"] = [item if isinstance(item, dict) else item.name for item in data["tools"]]
    return data
