"""JSON with comments and trailing commas (``.jsonc``), read with the line of every value."""

from __future__ import annotations

import json
import re
from typing import Any

Keys = tuple[str | int, ...]

_SPACE = re.compile(r"(?:[ \t\r\n]|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_DECODER = json.JSONDecoder()
_PLAIN = re.compile(r"[-+.\w]+")


class JSONCError(ValueError):
    """A text that is no JSON.

    Args:
        message: What is wrong.
        line: Where, from 1.
    """

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


def load(text: str) -> tuple[Any, dict[Keys, int]]:
    """Reads a text.

    Returns:
        The value, and the line of each value in it by its keys.

    Raises:
        JSONCError: It is no JSON, or names a key twice.
    """
    reader = _Reader(text)
    value = reader.value(())
    reader.skip()
    if reader.at < len(text):
        raise reader.error(f"there is {reader.shown()} after the end")
    return value, reader.lines


def parse(text: str) -> Any:
    """The value of a text.

    Raises:
        JSONCError: It is no JSON, or names a key twice.
    """
    return load(text)[0]


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[Keys, int] = {}

    def error(self, message: str) -> JSONCError:
        return JSONCError(message, self.line())

    def line(self) -> int:
        return self.text.count("\n", 0, self.at) + 1

    def shown(self) -> str:
        return repr(self.text[self.at : self.at + 20].partition("\n")[0]) if self.at < len(self.text) else "the end"

    def skip(self) -> str:
        """Passes over space and comments; the next character, empty at the end."""
        match = _SPACE.match(self.text, self.at)
        self.at = match.end() if match else self.at
        return self.text[self.at : self.at + 1]

    def value(self, keys: Keys) -> Any:
        first = self.skip()
        self.lines.setdefault(keys, self.line())
        if first == "{":
            return self._object(keys)
        if first == "[":
            return self._array(keys)
        if first == '"':
            return self._string()
        match = _PLAIN.match(self.text, self.at)
        try:
            value = json.loads(match[0] if match else "")
        except ValueError:
            raise self.error(f"expected a value, got {self.shown()}") from None
        self.at += len(match[0]) if match else 0
        return value

    def _string(self) -> str:
        try:
            value, self.at = _DECODER.raw_decode(self.text, self.at)
        except ValueError as error:
            raise self.error(f"this text is not ended well: {error}") from None
        return str(value)

    def _object(self, keys: Keys) -> dict[str, Any]:
        found: dict[str, Any] = {}
        self.at += 1
        while (first := self.skip()) != "}":
            if first != '"':
                raise self.error(f"expected a key in double quotes or '}}', got {self.shown()}")
            line = self.line()
            name = self._string()
            if name in found:
                raise JSONCError(f"the key {name!r} is there twice", line)
            if self.skip() != ":":
                raise self.error(f"expected ':' after {name!r}, got {self.shown()}")
            self.at += 1
            self.lines[(*keys, name)] = line
            found[name] = self.value((*keys, name))
            self._comma("}")
        self.at += 1
        return found

    def _array(self, keys: Keys) -> list[Any]:
        found: list[Any] = []
        self.at += 1
        while self.skip() != "]":
            found.append(self.value((*keys, len(found))))
            self._comma("]")
        self.at += 1
        return found

    def _comma(self, end: str) -> None:
        following = self.skip()
        if following == ",":
            self.at += 1
        elif following != end:
            raise self.error(f"expected ',' or '{end}', got {self.shown()}")
