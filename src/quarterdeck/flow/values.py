"""Results and states as JSON, and back: the classes of models in them are noted beside, by their places."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from typing import Any, cast

from pydantic import BaseModel, TypeAdapter
from pydantic_core import PydanticSerializationError, to_jsonable_python

from quarterdeck.errors import TaskError

Classes = dict[str, str]
"""By place, such as ``/report/items/0``, the class there, as ``module:name``."""


def to_json(value: Any, what: str, *, strict: bool = True) -> tuple[Any, Classes]:
    """A value as JSON.

    Args:
        value: What a method returned, or a state.
        what: Its name, for the error.
        strict: False writes what is no JSON as its text.

    Returns:
        The JSON, and the classes in it.

    Raises:
        TaskError: A part is no JSON and cannot be written as such.
    """
    classes: Classes = {}
    return _encode(value, "", classes, what, strict), classes


def _encode(value: Any, place: str, classes: Classes, what: str, strict: bool) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value if type(value) in (bool, int, str, type(None)) else to_jsonable_python(value)
    parts = _parts(value)
    if parts is not None:
        classes[place] = name_of(cast("Any", type(value)))
        value = parts
    if isinstance(value, Mapping):
        items = cast("Mapping[Any, Any]", value).items()
        pairs = [(_key(key, place, what), item) for key, item in items]
        return {key: _encode(item, f"{place}/{key}", classes, what, strict) for key, item in pairs}
    if isinstance(value, list | tuple | set | frozenset):
        values = cast("list[Any]", value)
        return [_encode(item, f"{place}/{n}", classes, what, strict) for n, item in enumerate(values)]
    try:
        return to_jsonable_python(value, fallback=None if strict else str)
    except (PydanticSerializationError, UnicodeDecodeError, ValueError):
        where = f"{what} {place.lstrip('/').replace('/', '.')}".rstrip()
        raise TaskError(
            f"{where} is a {type(value).__name__}, which is no JSON: a flow with a journal or @persist keeps what its "
            "methods return and the state; use str, numbers, lists, dicts, dataclasses or pydantic models"
        ) from None


def _parts(value: Any) -> dict[str, Any] | None:
    """The fields of a model or dataclass; None for anything else."""
    if isinstance(value, BaseModel):
        excluded = {name for name, info in type(value).model_fields.items() if info.exclude}
        fields = {name: getattr(value, name) for name in type(value).model_fields if name not in excluded}
        return fields | (value.model_extra or {})
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return None


def _key(key: Any, place: str, what: str) -> str:
    if isinstance(key, str):
        return key
    if isinstance(key, int | float | bool) or key is None:
        return str(key)
    try:
        return str(to_jsonable_python(key))
    except PydanticSerializationError:
        raise TaskError(f"{what} {place.lstrip('/')}: the key {key!r} is no text") from None


def name_of(kind: type[Any]) -> str:
    """A class's name in ``Classes``."""
    return f"{kind.__module__}:{kind.__qualname__}"


def from_json(data: Any, classes: Mapping[str, str], known: Mapping[str, type[Any]] | None = None) -> Any:
    """A value from its JSON: models and dataclasses are made again where their class is still there.

    Args:
        data: The JSON.
        classes: The classes in it.
        known: Classes by their names, besides those of loaded modules.
    """
    return _decode(data, "", classes, known or {}) if classes else data


def _decode(data: Any, place: str, classes: Mapping[str, str], known: Mapping[str, type[Any]]) -> Any:
    if isinstance(data, dict):
        items = cast("dict[str, Any]", data).items()
        data = {key: _decode(item, f"{place}/{key}", classes, known) for key, item in items}
    elif isinstance(data, list):
        data = [_decode(item, f"{place}/{n}", classes, known) for n, item in enumerate(cast("list[Any]", data))]
    name = classes.get(place, "")
    found = known.get(name) or _find(name)
    return data if found is None else _make(found, cast("dict[str, Any]", data))


def _find(name: str) -> Any:
    """A class of a loaded module; nothing is imported for it."""
    module, _, path = name.partition(":")
    value: Any = sys.modules.get(module)
    for part in path.split("."):
        value = getattr(value, part, None)
    return value if isinstance(value, type) else None


def _make(kind: Any, data: dict[str, Any]) -> Any:
    whole = data["root"] if getattr(kind, "__pydantic_root_model__", False) else data
    try:
        return TypeAdapter(kind).validate_python(whole, by_name=True, by_alias=True)
    except Exception:  # its class has changed: its fields are what there is
        return kind.model_construct(**data) if issubclass(kind, BaseModel) else data
