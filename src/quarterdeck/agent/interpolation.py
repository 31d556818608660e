"""``{name}`` in the texts of agents and tasks, replaced by a kickoff's inputs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from quarterdeck.errors import InputError

_PLACEHOLDER = re.compile(r"(?P<open>\{?)\{(?P<name>[A-Za-z_][A-Za-z0-9_-]*)\}(?P<close>\}?)")
_TYPES = (str, int, float, bool, type(None), dict, list)


def placeholders(text: str) -> set[str]:
    """Names of the inputs that a text needs. JSON's braces are none, nor is ``{{name}}``."""
    return {m["name"] for m in _PLACEHOLDER.finditer(text) if not (m["open"] and m["close"])}


def interpolate(text: str, inputs: Mapping[str, Any], where: str) -> str:
    """Puts the inputs into a text, in one pass: braces inside a value are left alone.

    A dict or a list is written as JSON. ``{{name}}`` is left as it is, unless there is an input of that name.

    Args:
        text: The text with its placeholders.
        inputs: The values.
        where: What the text is, for the error.

    Raises:
        InputError: An input is missing, or of a type that cannot be written into a text.
    """
    if "{" not in text:
        return text
    missing: list[str] = []

    def value_of(match: re.Match[str]) -> str:
        name = match["name"]
        if name in inputs:
            return match["open"] + as_text(name, inputs[name]) + match["close"]
        if not (match["open"] and match["close"]):
            missing.append(name)
        return match[0]

    result = _PLACEHOLDER.sub(value_of, text)
    if missing:
        names = ", ".join(sorted(set(missing)))
        got = ", ".join(sorted(inputs)) or "none"
        raise InputError(
            f"{where} needs the input{'s' if len(set(missing)) > 1 else ''} {names}; got {got}. "
            f"Give it as kickoff(inputs={{{missing[0]!r}: ...}}), or write {{{{{missing[0]}}}}} for plain braces",
            tuple(sorted(set(missing))),
        )
    return result


def as_text(name: str, value: Any) -> str:
    """An input's value as text.

    Raises:
        InputError: The value is of another type than str, int, float, bool, None, dict and list.
    """
    if isinstance(value, str):
        return value
    if not isinstance(value, _TYPES):
        raise InputError(
            f"input {name!r} is a {type(value).__name__}; expected str, int, float, bool, None, dict or list"
        )
    if isinstance(value, dict | list):
        try:
            return json.dumps(value, ensure_ascii=False)
        except (TypeError, ValueError) as error:
            raise InputError(f"input {name!r} cannot be written as JSON: {error}") from None
    return str(value)
