"""Reads what models write where JSON was asked for, and is not quite JSON.

Taken: comments, commas at an end, single quotes, keys without quotes, Python's ``True``, ``False``, ``None`` and
tuples, ``NaN``, line breaks in texts, numbers such as ``+1`` and ``.5``. Not taken: an answer that breaks off. What is
missing from it would be lost without a word, so the model is asked again instead.
"""

from __future__ import annotations

import re
from typing import Any, Final

_SPACE = re.compile(r"(?:\s+|//[^\n]*|#[^\n]*|/\*.*?\*/)*", re.DOTALL)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_WORD = re.compile(r"[+-]?[A-Za-z_$][\w$-]*")
_WORDS: Final[dict[str, Any]] = {
    "true": True,
    "false": False,
    "null": None,
    "True": True,
    "False": False,
    "None": None,
    "NaN": float("nan"),
    "nan": float("nan"),
    "Infinity": float("inf"),
    "inf": float("inf"),
    "-Infinity": float("-inf"),
    "-inf": float("-inf"),
}
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "\n": ""}
_DIGITS = {"x": 2, "u": 4, "U": 8}
_CLOSING = {"[": "]", "(": ")"}
_ENDS = {quote: re.compile(rf"[{quote}\\\\]") for quote in "\"'"}
_SURROGATE = re.compile("[\\ud800-\\udfff]")


class NotReadableError(ValueError):
    """A text that is not even nearly JSON.

    Args:
        what: What is wrong, and where.
        at: Up to where it could be read; the text's length where it breaks off.
    """

    def __init__(self, what: str, at: int) -> None:
        super().__init__(what)
        self.at = at


def read(text: str, at: int = 0) -> tuple[Any, int]:
    """The value that begins at a place in a text, and the place after it.

    Raises:
        NotReadableError: There is none.
        RecursionError: It is nested too deeply.
    """
    return _Reader(text).value(at)


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text

    def value(self, at: int) -> tuple[Any, int]:
        at = self._skip(at)
        char = self._text[at : at + 1]
        if char == "{":
            return self._object(at + 1)
        if char in _CLOSING:
            return self._array(at + 1, _CLOSING[char])
        if char in ('"', "'"):
            return self._string(at)
        if match := _NUMBER.match(self._text, at):
            return self._number(match), match.end()
        match = _WORD.match(self._text, at)
        if match and match[0] in _WORDS:
            return _WORDS[match[0]], match.end()
        raise self._error("a value is expected", at)

    def _object(self, at: int) -> tuple[dict[str, Any], int]:
        found: dict[str, Any] = {}
        while True:
            at = self._skip(at)
            if self._text.startswith("}", at):
                return found, at + 1
            key, at = self._key(at)
            at = self._skip(at)
            if not self._text.startswith(":", at):
                raise self._error("':' is expected", at)
            found[key], at = self.value(at + 1)
            at = self._next(at, "}")

    def _array(self, at: int, closing: str) -> tuple[list[Any], int]:
        found: list[Any] = []
        while True:
            at = self._skip(at)
            if self._text.startswith(closing, at):
                return found, at + 1
            item, at = self.value(at)
            found.append(item)
            at = self._next(at, closing)

    def _next(self, at: int, closing: str) -> int:
        """The place after a comma, or of the closing bracket."""
        at = self._skip(at)
        if self._text.startswith(",", at):
            return at + 1
        if self._text.startswith(closing, at):
            return at
        raise self._error(f"',' or '{closing}' is expected", at)

    def _key(self, at: int) -> tuple[str, int]:
        if self._text[at : at + 1] in ('"', "'"):
            return self._string(at)
        if match := _WORD.match(self._text, at):
            return match[0], match.end()
        raise self._error("a key in quotes is expected", at)

    def _string(self, at: int) -> tuple[str, int]:
        quote, start = self._text[at], at
        parts: list[str] = []
        at += 1
        while True:
            match = _ENDS[quote].search(self._text, at)
            if match is None or (match.end() == len(self._text) and match[0] == "\\"):
                raise NotReadableError(f"it breaks off in the text {self._text[start : start + 40]!r}", len(self._text))
            end = match.start()
            parts.append(self._text[at:end])
            if self._text[end] == quote:
                return _joined("".join(parts)), end + 1
            piece, at = self._escape(end + 1)
            parts.append(piece)

    def _escape(self, at: int) -> tuple[str, int]:
        char = self._text[at]
        if count := _DIGITS.get(char):
            digits = self._text[at + 1 : at + 1 + count]
            if not re.fullmatch(rf"[0-9a-fA-F]{{{count}}}", digits) or int(digits, 16) > 0x10FFFF:
                raise self._error(f"{count} digits are expected after \\{char}", at)
            return chr(int(digits, 16)), at + 1 + count
        if char in _ESCAPES:
            return _ESCAPES[char], at + 1
        return (char if char in "\"'\\/" else f"\\{char}"), at + 1

    def _number(self, match: re.Match[str]) -> int | float:
        text = match[0]
        return float(text) if any(c in text for c in ".eE") else int(text)

    def _skip(self, at: int) -> int:
        match = _SPACE.match(self._text, at)
        return match.end() if match else at

    def _error(self, what: str, at: int) -> NotReadableError:
        if at >= len(self._text):
            return NotReadableError(f"it breaks off: {what} after {self._text[-40:]!r}", at)
        return NotReadableError(f"{what} at character {at}, near {self._text[max(0, at - 20) : at + 20]!r}", at)


def _joined(text: str) -> str:
    """A text whose pairs of surrogates are the characters that they stand for."""
    if not _SURROGATE.search(text):
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
