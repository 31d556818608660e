"""Tool names as models accept them: letters, digits and ``_``, at most 64 characters."""

from __future__ import annotations

import functools
import hashlib
import re
import unicodedata
from collections.abc import Iterable
from typing import Protocol, TypeVar

MAX_NAME = 64

_WORD_AFTER_CAPITALS = re.compile(r"([A-Z]+)([A-Z][a-z])")
_CAPITAL_AFTER_WORD = re.compile(r"([a-z0-9])([A-Z])")
_NOT_ALLOWED = re.compile(r"[^a-z0-9]+")


class Named(Protocol):
    """What ``name_tools`` needs of a tool."""

    name: str


T = TypeVar("T", bound=Named)


@functools.lru_cache(maxsize=1024)
def sanitize_tool_name(name: str) -> str:
    """A name that every provider accepts (CrewAI: ``sanitize_tool_name``): ``"Web Search"`` gives ``web_search``.

    Accents are dropped, words in camel case are split, everything else becomes ``_``. A name that is too long,
    or of which nothing is left, gets part of the original's hash, so that two such names stay apart.
    """
    text = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    text = _WORD_AFTER_CAPITALS.sub(r"\1_\2", text)
    text = _CAPITAL_AFTER_WORD.sub(r"\1_\2", text)
    text = _NOT_ALLOWED.sub("_", text.lower()).strip("_")
    if text and len(text) <= MAX_NAME:
        return text
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{text[: MAX_NAME - 9].rstrip('_') or 'tool'}_{digest}"


def name_tools(tools: Iterable[T]) -> dict[str, T]:
    """The tools by the names that the model is given; a name that is taken gets ``_2``, ``_3`` and so on.

    The same object given twice is one tool. The names depend only on the tools and their order.
    """
    named: dict[str, T] = {}
    seen: set[int] = set()
    for tool in tools:
        if id(tool) in seen:
            continue
        seen.add(id(tool))
        named[_free_name(sanitize_tool_name(tool.name), named)] = tool
    return named


def _free_name(base: str, taken: dict[str, T]) -> str:
    name, number = base, 2
    while name in taken:
        suffix = f"_{number}"
        name, number = base[: MAX_NAME - len(suffix)] + suffix, number + 1
    return name
