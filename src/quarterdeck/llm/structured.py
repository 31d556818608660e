"""Answers as pydantic models: the schema that a model is held to, and its answer found in a text and checked."""

from __future__ import annotations

import json
import re
import weakref
from collections.abc import Iterator
from typing import Any, cast

from pydantic import BaseModel, ValidationError
from pydantic.errors import PydanticUserError

from quarterdeck.errors import ConfigError
from quarterdeck.llm import lenient
from quarterdeck.llm.types import OutputSchema

WRAPPED = "answer"
"""The property that holds an answer which is no object: providers take objects alone."""

_FENCE = re.compile(r"```[\w+-]*[ \t]*\n(.*?)```", re.DOTALL)
_OPENING = re.compile(r"[{\[]")
_MOST_CANDIDATES = 8

_schemas: weakref.WeakKeyDictionary[type[BaseModel], tuple[OutputSchema, bool]] = weakref.WeakKeyDictionary()


def output_schema(model: type[BaseModel]) -> OutputSchema:
    """The schema of a model's answers; always the same object for the same class. Its root is an object.

    Raises:
        ConfigError: The class holds something that JSON cannot say.
    """
    return _described(model)[0]


def is_wrapped(model: type[BaseModel]) -> bool:
    """Whether its answers are no objects, and so stand in one under ``WRAPPED``."""
    return _described(model)[1]


def _described(model: type[BaseModel]) -> tuple[OutputSchema, bool]:
    """The schema, and whether the answer is wrapped in an object."""
    found = _schemas.get(model)
    if found is None:
        try:
            schema = model.model_json_schema()
        except PydanticUserError as error:
            raise ConfigError(f"{model.__name__} cannot be an answer's model: {error.message}") from None
        root, wrapped = _with_object_root(schema)
        found = _schemas[model] = OutputSchema(model.__name__, root), wrapped
    return found


def _with_object_root(schema: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    definitions = {"$defs": schema["$defs"]} if "$defs" in schema else {}
    reference = schema.get("$ref")
    if isinstance(reference, str):  # a recursive model: its root is one of its own definitions
        schema = {**schema["$defs"][reference.removeprefix("#/$defs/")], **definitions}
    if schema.get("type") == "object" and "anyOf" not in schema and "oneOf" not in schema:
        return schema, False
    inner = {key: value for key, value in schema.items() if key != "$defs"}
    return {"type": "object", "properties": {WRAPPED: inner}, "required": [WRAPPED], **definitions}, True


# -- the answer -------------------------------------------------------------------------------------------


def parse(text: str, model: type[BaseModel]) -> BaseModel:
    """The first value in a text that fits a model.

    Tried in order: the whole text, fenced blocks, each ``{`` or ``[`` that begins a value, in JSON or in what models
    write in its place (see ``lenient``). A text that holds JSON, a list of one object, and an object under the model's
    own name are looked into.

    Raises:
        ValueError: Nothing fits; says, for the model that wrote it, what is wrong and where.
    """
    wrapped = is_wrapped(model)
    complaint, weight = "", -1
    try:
        for value in _values(text):
            for candidate in _forms(value, model, wrapped):
                written = json.dumps(candidate)
                try:
                    return model.model_validate_json(written)
                except ValidationError as error:
                    if len(written) > weight:  # a small one may be a mark in the prose
                        complaint, weight = describe(error), len(written)
    except RecursionError:
        complaint = complaint or "the JSON is nested too deeply"
    raise ValueError(complaint or _why_none(text))


def _forms(value: Any, model: type[BaseModel], wrapped: bool) -> Iterator[Any]:
    """What a value may have been meant for, and the value as it stands."""
    if isinstance(value, dict):
        items = list(cast("dict[str, Any]", value).items())
        name, inner = items[0] if len(items) == 1 else ("", None)
        own = name.lower() == model.__name__.lower() and name not in model.model_fields and isinstance(inner, dict)
        if own or (wrapped and name == WRAPPED):  # first: a model without required fields fits everything
            yield inner
    yield value
    if isinstance(value, str) and _OPENING.search(value):
        for inner in _values(value):
            yield from _forms(inner, model, wrapped)
    if isinstance(value, list):
        members = cast("list[Any]", value)
        if len(members) == 1 and isinstance(members[0], dict):
            yield members[0]


def _values(text: str) -> Iterator[Any]:
    pieces = [text, *_FENCE.findall(text)]
    found = False
    for piece in pieces:
        try:
            value = json.loads(piece)
        except ValueError:
            continue
        found = True
        yield value
    if not found:
        for piece in reversed(pieces):
            yield from _embedded(piece)


_decode = json.JSONDecoder().raw_decode


def _embedded(text: str) -> Iterator[Any]:
    """The values within a text. What is part of one that cannot be read is none of them."""
    at = 0
    for _ in range(_MOST_CANDIDATES):
        match = _OPENING.search(text, at)
        if match is None:
            return
        try:
            value, at = _decode(text, match.start())
        except ValueError:
            try:
                value, at = lenient.read(text, match.start())
            except lenient.NotReadableError as error:
                at = max(error.at, match.start() + 1)
                continue
        yield value


def _why_none(text: str) -> str:
    """What is wrong with a text that holds no JSON."""
    match = _OPENING.search(text)
    if match is None:
        return "there is no JSON in the answer"
    try:
        lenient.read(text, match.start())
    except ValueError as error:
        return f"the JSON cannot be read: {error}"
    return "there is no JSON in the answer"


def describe(error: ValidationError) -> str:
    """A pydantic error in one line a field: where, what is wrong, what was got."""
    lines: list[str] = []
    for item in error.errors(include_url=False)[:8]:
        place = ".".join(str(part) for part in item["loc"]) or "the answer"
        got = repr(item["input"])
        lines.append(f"{place}: {item['msg']} (got {got[:80]}{'…' if len(got) > 80 else ''})")
    return "; ".join(lines)
