"""Answers as pydantic models: finding the JSON in a text and checking it."""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic import BaseModel, ValidationError

_FENCE = re.compile(r"```(?:json)?\s*\n(.*?)```", re.DOTALL)


def parse(text: str, model: type[BaseModel]) -> BaseModel:
    """The first JSON value in a text that fits a model.

    Tried in order: the whole text, fenced blocks, then each ``{`` or ``[`` that begins valid JSON.

    Raises:
        ValueError: Nothing fits; says, for the model that wrote it, what is wrong and where.
    """
    complaint = "there is no JSON in the answer"
    for candidate in _candidates(text):
        try:
            return model.model_validate(candidate)
        except ValidationError as error:
            if complaint.startswith("there is no"):
                complaint = describe(error)
    raise ValueError(complaint)


def _candidates(text: str) -> list[Any]:
    found: list[Any] = []
    for piece in [text, *_FENCE.findall(text)]:
        try:
            found.append(json.loads(piece))
        except ValueError:
            continue
    if not found:
        found.extend(_embedded(text))
    return found


def _embedded(text: str) -> list[Any]:
    decoder = json.JSONDecoder()
    found: list[Any] = []
    at = 0
    while (match := re.compile(r"[{\[]").search(text, at)) and len(found) < 8:
        try:
            value, at = decoder.raw_decode(text, match.start())
            found.append(value)
        except ValueError:
            at = match.start() + 1
    return found


def describe(error: ValidationError) -> str:
    """A pydantic error in one line a field: where, what is wrong, what was got."""
    lines: list[str] = []
    for item in error.errors(include_url=False)[:8]:
        place = ".".join(str(part) for part in item["loc"]) or "the answer"
        got = repr(item["input"])
        lines.append(f"{place}: {item['msg']} (got {got[:80]}{'…' if len(got) > 80 else ''})")
    return "; ".join(lines)
