"""``{name}`` in the texts of agents and tasks, replaced by a kickoff's inputs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from quarterdeck.errors import InputError, InputProblem

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
        raise missing_inputs({where: missing}, inputs)
    return result


def missing_inputs(needs: Mapping[str, Iterable[str]], inputs: Mapping[str, Any]) -> InputError:
    """The error for inputs that are missing.

    Args:
        needs: For each text, the names that it needs and that are not there.
        inputs: What was given.
    """
    names = sorted({name for missing in needs.values() for name in missing})
    parts: list[str] = []
    for where, missing in needs.items():
        here = sorted(set(missing))
        parts.append(f"{where} needs the input{'s' if len(here) > 1 else ''} {', '.join(here)}")
    example = ", ".join(f"{name!r}: ..." for name in names)
    return InputError(
        f"{'; '.join(parts)}; got {', '.join(sorted(inputs)) or 'none'}. "
        f"Give {'it' if len(names) == 1 else 'them'} as kickoff(inputs={{{example}}}), "
        f"or write {{{{{names[0]}}}}} for plain braces",
        tuple(names),
        tuple(InputProblem(name, "is required", "") for name in names),
    )


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
