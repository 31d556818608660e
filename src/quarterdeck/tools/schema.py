"""The JSON Schema of a tool's arguments, as short as it can be said to a model."""

from __future__ import annotations

from typing import Any, cast

from pydantic import BaseModel
from pydantic.errors import PydanticUserError

from quarterdeck.errors import ConfigError

Schema = dict[str, Any]

_NAMED_SCHEMAS = ("properties", "$defs", "patternProperties")
"""Keywords whose values hold schemas by name: a name there may be ``title`` and is no keyword."""

_DATA = ("default", "const", "enum", "examples", "required", "discriminator")
"""Keywords whose values are data, not schemas: left as they are."""


def parameters_schema(model: type[BaseModel]) -> Schema:
    """The JSON Schema (2020-12) of a model's fields, in the order in which they are declared.

    Left out is what costs tokens and tells a model nothing: titles, the model's own docstring (the tool's
    description says it), ``null`` as an alternative and as a default where leaving the argument out means the same.

    Raises:
        ConfigError: A field's type has no JSON Schema.
    """
    try:
        full = model.model_json_schema()
    except PydanticUserError as error:
        raise ConfigError(
            f"the arguments {model.__name__} have no JSON Schema: {str(error).splitlines()[0]}; use types that "
            "JSON can hold (str, int, float, bool, list, dict, Literal, a pydantic model)"
        ) from error
    if "$ref" in full:  # a model that refers to itself: the root is one of the definitions
        root = cast("Schema", full["$defs"][str(full["$ref"]).rsplit("/", 1)[1]])
        full = {**root, "$defs": full["$defs"]}
    schema = cast("Schema", _compact(full))
    schema.pop("description", None)
    if schema.get("additionalProperties") is False:  # checked here; a model that follows the schema needs no telling
        del schema["additionalProperties"]
    schema.setdefault("properties", {})
    return schema


def _compact(value: Any) -> Any:
    if isinstance(value, list):
        return [_compact(item) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    short: Schema = {}
    for key, item in _optional(cast("Schema", value)).items():
        if key in _NAMED_SCHEMAS:
            short[key] = {name: _compact(schema) for name, schema in cast("Schema", item).items()}
        elif key in _DATA:
            short[key] = item
        elif key != "title":
            short[key] = _compact(item)
    return short


def _optional(schema: Schema) -> Schema:
    """``X | None = None`` said as ``X``: leaving it out is the way to say None."""
    if "default" not in schema or schema["default"] is not None:
        return schema
    rest = {key: item for key, item in schema.items() if key not in ("default", "anyOf")}
    choices = [choice for choice in schema.get("anyOf", ()) if choice != {"type": "null"}]
    if len(choices) == 1:
        return {**choices[0], **rest}
    return {"anyOf": choices, **rest} if choices else rest
