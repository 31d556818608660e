"""How an event becomes a row, small: what is long is stored once, and a conversation only by what is new in it.

* A text of more than ``INLINE`` characters becomes ``{"$ref": hash}``, and its UTF-8 a payload of the run.
* The prompt of a model call (``LLMFinished.messages``) becomes ``{"$base": seq, "keep": k, "add": [...]}``: the first
  k messages are those of the event ``seq``, the call before it in the same conversation.
* A key of the user's own that begins with ``$`` gets one ``$`` more, so that it is not taken for one of these.

Reading puts everything back exactly, unpaired surrogates and NUL characters included.
"""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any, NamedTuple, cast

from quarterdeck.errors import JournalError
from quarterdeck.events import Event, LLMFinished, event_from_dict, is_unicode

INLINE = 256
"""Texts up to this many characters stay in the event."""

_CONVERSATIONS = 64
"""So many conversations of a run are remembered as bases for their next call."""

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
# The quotes of a user's text are escaped in JSON, and the user's own "$ref" is "$$ref": these match only ours.
_REF = re.compile(r'\{"\$ref":"([0-9a-f]{32})"\}')
_BASE = re.compile(r'"messages":\{"\$base":(\d+),')


class EventRow(NamedTuple):
    """An event as the table ``qd_events`` keeps it, without run and epoch."""

    seq: int
    type: str
    path: str
    time: float
    body: str


class Packed(NamedTuple):
    """A packed event, and the payloads that its run does not have yet, by hash."""

    row: EventRow
    payloads: dict[str, bytes]


class _Base(NamedTuple):
    seq: int
    messages: list[tuple[dict[str, Any], Any]]  # each with the content it had, in case it is changed in place

    def common(self, messages: list[dict[str, Any]]) -> int:
        """How many of the first messages are the same. Most often they are the same objects."""
        count = 0
        for new, (old, content) in zip(messages, self.messages, strict=False):
            if new is not old and new != old:
                break
            now = new.get("content")
            if now is not content and now != content:
                break
            count += 1
        return count


class Packer:
    """Packs the events of one run, and knows what the run has stored already.

    Args:
        events: The events that the run has.
        stored: Hashes of the payloads that the run has.
    """

    def __init__(self, events: Iterable[Event] = (), stored: Iterable[str] = ()) -> None:
        self._stored = set(stored)
        self._conversations: OrderedDict[str, _Base] = OrderedDict()
        for event in events:
            self._remember(event)

    def pack(self, event: Event) -> Packed:
        """Packs the run's next event. Its messages must not be changed afterwards.

        Raises:
            JournalError: A value of it cannot be written as JSON.
        """
        packing = _Packing(self._stored)
        try:
            body = self._body(event, packing)
            if not body.isascii() and not is_unicode(body):
                packing = _Packing(self._stored, any_text=True)
                body = self._body(event, packing)
                body.encode()  # fails for a key: it cannot be put among the payloads
        except (TypeError, ValueError, RecursionError) as error:
            raise JournalError(_complaint(event, error)) from None
        self._stored.update(packing.new)
        self._remember(event)
        return Packed(EventRow(event.seq or 0, event.type, event.path, event.time, body), packing.new)

    def _body(self, event: Event, packing: _Packing) -> str:
        data = event.to_dict()
        for column in ("type", "run_id", "seq", "time", "path"):
            del data[column]
        base, keep = self._base(event)
        if keep:
            data["messages"] = data["messages"][keep:]
        for name, value in data.items():
            if not isinstance(value, (int, float)):
                data[name] = packing.pack(value)
        if keep:
            data["messages"] = {"$base": base, "keep": keep, "add": data["messages"]}
        return _encode(data)

    def _base(self, event: Event) -> tuple[int, int]:
        """The event that this one's messages begin like, and how many of them do."""
        if not isinstance(event, LLMFinished):
            return 0, 0
        base = self._conversations.get(_conversation(event))
        return (base.seq, base.common(event.messages)) if base else (0, 0)

    def _remember(self, event: Event) -> None:
        if not isinstance(event, LLMFinished):
            return
        messages = [(message, message.get("content")) for message in event.messages]
        conversation = _conversation(event)
        self._conversations[conversation] = _Base(event.seq or 0, messages)
        self._conversations.move_to_end(conversation)
        if len(self._conversations) > _CONVERSATIONS:
            self._conversations.popitem(last=False)


def _conversation(event: Event) -> str:
    return event.path.rpartition("/")[0]  # research/1/llm/2 -> research/1/llm


class _Packing:
    """The packing of one event; ``any_text``: texts that UTF-8 refuses become payloads, however short."""

    def __init__(self, stored: set[str], any_text: bool = False) -> None:
        self._stored = stored
        self._any_text = any_text
        self.new: dict[str, bytes] = {}

    def pack(self, value: Any) -> Any:
        if isinstance(value, str):
            if len(value) <= INLINE and not (self._any_text and not is_unicode(value)):
                return value
            return {"$ref": self._store(value)}
        if isinstance(value, dict):
            pack = self.pack
            return {
                "$" + key if isinstance(key, str) and key[:1] == "$" else key: pack(item)
                for key, item in cast("dict[Any, Any]", value).items()
            }
        if isinstance(value, (list, tuple)):
            pack = self.pack
            return [pack(item) for item in cast("list[Any]", value)]
        return value

    def _store(self, text: str) -> str:
        content = text.encode("utf-8", "surrogatepass")
        name = blake2b(content, digest_size=16).hexdigest()
        if name not in self._stored:
            self.new[name] = content
        return name


def _complaint(event: Event, error: Exception) -> str:
    """Names the field that cannot be written."""
    where = event.type
    for name, value in event.to_dict().items():
        try:
            _encode(_Packing(set(), any_text=True).pack(value)).encode()
        except (TypeError, ValueError, RecursionError):
            where = f"{event.type}, field {name!r}"
            break
    reason = "a key is not valid Unicode" if isinstance(error, UnicodeEncodeError) else str(error)
    return (
        f"event {where} cannot be written to the journal: {reason}; "
        "a value must be JSON: dict with text keys, list, str, int, float, bool or None"
    )


def references(rows: Iterable[EventRow]) -> set[str]:
    """Hashes of the payloads that the events refer to."""
    return {name for row in rows for name in _REF.findall(row.body)}


def base_of(row: EventRow) -> int | None:
    """The event whose messages this one builds on, where there is one."""
    found = _BASE.search(row.body)
    return int(found[1]) if found else None


def unpack(run_id: str, rows: Iterable[EventRow], payloads: Mapping[str, bytes]) -> list[Event]:
    """The events of rows in order of ``seq``, the bases of each conversation among them.

    Raises:
        JournalError: A payload or a base is missing, or a body is damaged.
        ConfigError: The event format is newer than this version's.
    """
    texts = {name: content.decode("utf-8", "surrogatepass") for name, content in payloads.items()}
    conversations: dict[int, list[Any]] = {}
    events: list[Event] = []
    for row in rows:
        try:
            data = json.loads(row.body)
            if '"$' in row.body:
                data = {name: _unpacked(value, texts, conversations) for name, value in data.items()}
        except (ValueError, LookupError, TypeError) as error:
            raise JournalError(f"event {row.seq} of run {run_id!r} is damaged: {error!r}") from None
        if row.type == LLMFinished.type:
            conversations[row.seq] = data["messages"]
        data.update(type=row.type, run_id=run_id, seq=row.seq, time=row.time, path=row.path)
        events.append(event_from_dict(data))
    return events


def _unpacked(value: Any, texts: Mapping[str, str], conversations: Mapping[int, list[Any]]) -> Any:
    if isinstance(value, list):
        return [_unpacked(item, texts, conversations) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    data = cast("dict[str, Any]", value)
    if "$ref" in data:
        return texts[data["$ref"]]
    if "$base" in data:
        kept = conversations[data["$base"]][: data["keep"]]
        return kept + _unpacked(data["add"], texts, conversations)
    return {key[1:] if key[:1] == "$" else key: _unpacked(item, texts, conversations) for key, item in data.items()}
