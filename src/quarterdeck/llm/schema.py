"""JSON Schemas as providers take them."""

from __future__ import annotations

import re
from typing import Any, cast

Schema = dict[str, Any]

_ANNOTATIONS = ("title", "default", "examples", "discriminator", "deprecated", "readOnly", "writeOnly", "$schema")
_NOT_STRICT = (
    "not",
    "if",
    "patternProperties",
    "unevaluatedProperties",
    "propertyNames",
    "dependentRequired",
    "dependentSchemas",
    "prefixItems",
    "contains",
)
_TOLD = ("minLength", "maxLength", "uniqueItems", "minProperties", "maxProperties")
"""Keywords that strict mode does not take: the model is told of them in the description."""

NUMBER_LIMITS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minItems", "maxItems")
"""More of them, that Anthropic does not take and OpenAI does."""

_FORMATS = ("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid")

_LOOKS_AROUND = re.compile(r"\(\?(?!:)|\\[1-9bB]")
"""What constrained decoding cannot do in a ``pattern``: lookaround, back references, word boundaries. Pydantic's own
pattern of a Decimal has one."""

_cache: dict[tuple[int, bool], tuple[Schema, Schema | None]] = {}


class _CannotBeStrictError(Exception):
    pass


def strict(schema: Schema, told: tuple[str, ...] = ()) -> Schema | None:
    """A schema in the form of OpenAI's structured outputs: every property required, no others allowed.

    A property that had a default must be given then; ``oneOf`` becomes ``anyOf``. The source is OpenAI's guide
    "Structured model outputs", section "Supported schemas".

    Args:
        schema: The schema; it must not be changed afterwards, for the result is kept.
        told: More keywords that the provider does not take: the model is told of them in the description.

    Returns:
        The schema, the same object for the same argument; None where it cannot be put that way (free
        dicts, tuples, a root that is no object).
    """
    key = (id(schema), bool(told))
    found = _cache.get(key)
    if found is not None and found[0] is schema:
        return found[1]
    try:
        result = _Strict(_TOLD + told).root(schema)
    except _CannotBeStrictError:
        result = None
    if len(_cache) >= 256:
        _cache.clear()
    _cache[key] = (schema, result)  # holds the schema too, so that its id stays its own
    return result


def is_recursive(schema: Schema) -> bool:
    """Whether a definition of the schema is part of itself."""
    definitions: dict[str, Schema] = schema.get("$defs", {})
    uses = {name: _references(definition) for name, definition in definitions.items()}

    def reaches(name: str, goal: str, seen: set[str]) -> bool:
        if name in seen:
            return False
        seen.add(name)
        return any(used == goal or reaches(used, goal, seen) for used in uses.get(name, ()))

    return any(reaches(name, name, set()) for name in definitions)


def _references(node: Any) -> set[str]:
    if isinstance(node, list):
        return {name for item in cast("list[Any]", node) for name in _references(item)}
    if not isinstance(node, dict):
        return set()
    found = {name for value in cast("Schema", node).values() for name in _references(value)}
    reference: Any = cast("Schema", node).get("$ref")
    return found | {reference.removeprefix("#/$defs/")} if isinstance(reference, str) else found


class _Strict:
    def __init__(self, told: tuple[str, ...]) -> None:
        self._told = told

    def root(self, schema: Schema) -> Schema:
        reference = schema.get("$ref")
        if isinstance(reference, str):  # a recursive model: its root is one of its own definitions
            target = schema.get("$defs", {}).get(reference.removeprefix("#/$defs/"))
            if target is None:
                raise _CannotBeStrictError
            schema = {**target, "$defs": schema["$defs"]}
        if schema.get("type") != "object" or "anyOf" in schema or "oneOf" in schema:
            raise _CannotBeStrictError
        return self._node(schema)

    def _node(self, schema: Any) -> Schema:
        if not isinstance(schema, dict) or any(key in schema for key in _NOT_STRICT):
            raise _CannotBeStrictError
        node = cast("Schema", schema)
        if "$ref" in node:
            return {"$ref": node["$ref"]}
        out = {key: value for key, value in node.items() if key not in _ANNOTATIONS and key not in self._told}
        self._tell(node, out)
        if "allOf" in out:
            return self._single(out)
        if "oneOf" in out:
            out["anyOf"] = out.pop("oneOf")
        if out.get("format") not in (None, *_FORMATS):
            del out["format"]
        if _LOOKS_AROUND.search(str(out.get("pattern", ""))):
            del out["pattern"]
        self._children(out)
        if not any(key in out for key in ("type", "anyOf", "enum", "const")):
            raise _CannotBeStrictError  # anything goes: the model would have no form to keep to
        return out

    def _single(self, out: Schema) -> Schema:
        """``allOf`` with one part, as pydantic once wrote a reference with a description."""
        parts: list[Schema] = out.pop("allOf")
        if len(parts) != 1 or "properties" in out:
            raise _CannotBeStrictError
        return self._node(parts[0] | out)

    def _children(self, out: Schema) -> None:
        if "anyOf" in out:
            out["anyOf"] = [self._node(option) for option in out["anyOf"]]
        if out.get("type") == "array" or "items" in out:
            out["items"] = self._node(out.get("items"))
        if out.get("type") == "object" or "properties" in out:
            self._object(out)
        if "$defs" in out:
            out["$defs"] = {name: self._node(value) for name, value in out["$defs"].items()}

    def _object(self, out: Schema) -> None:
        if out.get("additionalProperties") not in (None, False) or not out.get("properties"):
            raise _CannotBeStrictError
        out["properties"] = {name: self._node(value) for name, value in out["properties"].items()}
        out["required"] = list(out["properties"])
        out["additionalProperties"] = False

    def _tell(self, node: Schema, out: Schema) -> None:
        told = [f"{key}: {node[key]}" for key in self._told if key in node]
        if told:
            description = [node["description"]] if node.get("description") else []
            out["description"] = " ".join([*description, *told])
