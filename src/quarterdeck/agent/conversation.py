"""Conversations that an agent on its own is given."""

from __future__ import annotations

from typing import Any, cast

from quarterdeck.agent import prompts
from quarterdeck.errors import ConfigError
from quarterdeck.llm.types import Message

_ROLES = ("system", "developer", "user", "assistant", "tool")


def conversation(given: Any, system: str, schema: dict[str, Any] | None, *, system_role: bool) -> list[Message]:
    """The messages for the model.

    Args:
        given: Messages in OpenAI's form; they are not changed.
        system: Who the agent is.
        schema: JSON Schema of the answer, where the model has to be told.
        system_role: Whether the model has a system role; else the first user message says who the agent is.

    Raises:
        ConfigError: They are none.
    """
    messages = _checked(given)
    if schema is not None:
        put(messages, -1, prompts.schema(schema))
    if system_role:
        return [{"role": "system", "content": system}, *messages]
    put(messages, 0, system)
    return messages


def _checked(given: Any) -> list[Message]:
    if not isinstance(given, list) or not given:
        raise ConfigError(f"messages must be a text or a list of messages, with at least one; got {_shown(given)}")
    messages = cast("list[Any]", given)
    for n, message in enumerate(messages):
        if not isinstance(message, dict) or cast("Message", message).get("role") not in _ROLES:
            raise ConfigError(
                f"messages[{n}] must be a dict with 'content' and a 'role' of {', '.join(_ROLES)}; "
                f"got {_shown(message)}"
            )
    return list(messages)


def put(messages: list[Message], place: int, text: str) -> None:
    """Puts a text before the first (0) or after the last (-1) message: into it where it is a user's, else beside it."""
    message = messages[place]
    content = message.get("content")
    if message["role"] == "user" and isinstance(content, str):
        joined = f"{text}\n\n{content}" if place == 0 else f"{content}\n\n{text}"
        messages[place] = message | {"content": joined}
    else:
        messages.insert(0 if place == 0 else len(messages), {"role": "user", "content": text})


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"
