"""The base of all events, and their form in JSON."""

from __future__ import annotations

import functools
import json
import math
import time
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Self, cast

VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened.

    Args:
        run_id: The run that it happened in; set by the run.
        seq: Its place in the run's journal, from 1; None for an event that the journal does not keep.
        time: When it happened, in seconds since 1970.
        path: The step, such as ``research/1/llm/2`` (task, attempt, kind, number); "" for the run itself.
    """

    type: ClassVar[str] = ""
    durable: ClassVar[bool] = True

    run_id: str = ""
    seq: int | None = None
    time: float = field(default_factory=time.time)
    path: str = ""

    def stamped(self, run_id: str, seq: int | None) -> Self:
        """This event as part of a run. It is stamped in place, before anybody else has seen it."""
        object.__setattr__(self, "run_id", run_id)
        object.__setattr__(self, "seq", seq)
        return self

    def moved(self, path: str) -> Self:
        """This event at another path: that which its step has in the run. As ``stamped``, before it is seen."""
        object.__setattr__(self, "path", path)
        return self

    def to_dict(self) -> dict[str, Any]:
        """The event as a plain dict, with ``v`` and ``type``; values are the event's own, not copies."""
        data: dict[str, Any] = {"v": VERSION, "type": self.type}
        for name in names_of(type(self)):
            data[name] = getattr(self, name)
        return data

    def to_json(self) -> str:
        """The event as one line of JSON, with ``v`` and ``type``: see ``json_of``."""
        return json_of(self.to_dict())


@functools.cache
def names_of(kind: type[Event]) -> tuple[str, ...]:
    """The fields of a kind of event, in order."""
    return tuple(f.name for f in fields(kind))


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def json_of(data: Any) -> str:
    """A value as one line of JSON.

    It is JSON for every reader (RFC 8259) and can be encoded as UTF-8: numbers that JSON does not have are
    written as their names (``"NaN"``, ``"Infinity"``, ``"-Infinity"``), and where a text holds an unpaired
    surrogate, all that is not ASCII is written as escapes.
    """
    try:
        text = _encode(data)
    except ValueError:
        text = _encode(_with_named_numbers(data))
    return text if text.isascii() or is_unicode(text) else json.dumps(json.loads(text), separators=(",", ":"))


def _with_named_numbers(value: Any) -> Any:
    """A copy in which each number that JSON does not have is its name."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: _with_named_numbers(item) for key, item in cast("dict[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_with_named_numbers(item) for item in cast("list[Any]", value)]
    return value


def is_unicode(text: str) -> bool:
    """Whether a text can be encoded: it holds no unpaired surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
