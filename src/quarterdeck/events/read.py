"""Events from their JSON form."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

from quarterdeck.errors import ConfigError
from quarterdeck.events.event import VERSION, Event, names_of
from quarterdeck.events.kinds import EVENT_TYPES


@functools.cache
def _adapter(kind: type[Event]) -> Any:
    from pydantic import TypeAdapter  # not needed to make events, only to read them

    return TypeAdapter(kind)


def event_from_dict(data: Mapping[str, Any]) -> Event:
    """An event from its dict form, checked.

    Raises:
        ConfigError: The version is newer than this one knows, the type is unknown, or a field does not fit.
    """
    version = data.get("v", VERSION)
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ConfigError(f"event 'v' must be a whole number from 1, got {version!r}")
    if version > VERSION:
        raise ConfigError(f"event format {version} is newer than this version's {VERSION}: upgrade quarterdeck")
    kind = EVENT_TYPES.get(str(data.get("type")))
    if kind is None:
        raise ConfigError(f"event type {data.get('type')!r} is not known; known are {sorted(EVENT_TYPES)}")
    known = {name: data[name] for name in names_of(kind) if name in data}
    try:
        return _adapter(kind).validate_python(known)
    except ValueError as error:
        raise ConfigError(f"event {kind.type} cannot be read: {error}") from None


def event_from_json(text: str) -> Event:
    """An event from its JSON form; raises as ``event_from_dict`` does."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"an event must be a JSON object: {error}") from None
    if not isinstance(data, dict):
        raise ConfigError(f"an event must be a JSON object, got {text[:60]!r}")
    return event_from_dict(data)  # pyright: ignore[reportUnknownArgumentType]
