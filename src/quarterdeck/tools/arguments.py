"""From the JSON text that a model wrote to the arguments of a function, or to a clear word on what is wrong."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast, get_args

import pydantic_core
from pydantic import BaseModel, ValidationError

from quarterdeck.errors import ConfigError, ToolArgumentsError
from quarterdeck.tools.infer import Arguments
from quarterdeck.tools.schema import Schema, parameters_schema

_MAX_LINES = 10
_MAX_VALUE = 80


def parse_arguments(arguments: str | Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call as a dict.

    An empty text and ``null`` are no arguments; JSON that was encoded twice is decoded twice, as some models do.

    Raises:
        ToolArgumentsError: The text is no JSON object.
    """
    if not isinstance(arguments, str):
        return dict(arguments)
    value = _from_json(arguments)
    if isinstance(value, str):
        value = _from_json(value)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ToolArgumentsError(f'The arguments must be a JSON object such as {{"name": value}}, got {_shown(value)}.')
    return cast("dict[str, Any]", value)


def _from_json(text: str) -> Any:
    if not text.strip():
        return None
    try:
        return pydantic_core.from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise ToolArgumentsError(
            f"The arguments are not valid JSON ({error}): {_shown(text)}. Write one JSON object, and nothing else."
        ) from None


class ArgumentPlan:
    """How a model's arguments are checked and handed to a function; made once for each tool.

    Args:
        schema: The model of the arguments.
        function: What will be called.
        owner: The tool's name, for errors.

    Raises:
        ConfigError: The function cannot be called with what the schema gives.
    """

    def __init__(self, schema: type[BaseModel], function: Callable[..., Any], owner: str) -> None:
        self.schema = schema
        self._parameters = {name: name for name in schema.model_fields}
        self._plain: frozenset[str] = frozenset()
        if issubclass(schema, Arguments):  # inferred from the function: names and types are the function's own
            self._parameters = {name: info.alias or name for name, info in schema.model_fields.items()}
        else:
            self._plain = _fit(schema, function, owner)

    @functools.cached_property
    def parameters(self) -> Schema:
        """The JSON Schema of the arguments."""
        return parameters_schema(self.schema)

    def values(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The function's keyword arguments.

        Raises:
            ToolArgumentsError: The arguments do not fit; the message is written for the model.
        """
        try:
            model = self.schema.model_validate(arguments)
        except ValidationError as error:
            raise ToolArgumentsError(explain(error, self.parameters)) from error
        values = {parameter: getattr(model, field) for field, parameter in self._parameters.items()}
        if model.model_extra:
            values.update(model.model_extra)
        if self._plain:
            values.update(model.model_dump(include=set(self._plain)))
        return values

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments given by position and name, as a dict by name.

        Raises:
            ToolArgumentsError: There are more values than arguments, or one is given twice.
        """
        names = [info.alias or name for name, info in self.schema.model_fields.items()]
        if len(args) > len(names):
            raise ToolArgumentsError(f"{len(args)} values were given by position; the arguments are {names}")
        bound = dict(zip(names, args, strict=False))
        if twice := sorted(bound.keys() & kwargs.keys()):
            raise ToolArgumentsError(f"given both by position and by name: {twice}")
        return {**bound, **kwargs}


def _fit(schema: type[BaseModel], function: Callable[..., Any], owner: str) -> frozenset[str]:
    """Checks a schema that the user wrote against the function; returns the fields to give as plain data.

    A nested model is given as the function's hint says: as an object where the hint names a class with fields,
    otherwise as a dict, which is what CrewAI gives.
    """
    parameters = inspect.signature(function).parameters
    kinds = {p.kind for p in parameters.values()}
    named = {n: p for n, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    fields = schema.model_fields
    unknown = [name for name in fields if name not in named]
    if unknown and inspect.Parameter.VAR_KEYWORD not in kinds:
        raise ConfigError(
            f"tool {owner!r}: args_schema has {unknown}, which the function does not take; it takes {list(named)}"
        )
    missing = [n for n, p in named.items() if p.default is p.empty and n not in fields]
    if missing and schema.model_config.get("extra") != "allow":
        raise ConfigError(
            f"tool {owner!r}: the function needs {missing}, which args_schema does not have: {list(fields)}"
        )
    hints = inspect.get_annotations(function)
    return frozenset(n for n, info in fields.items() if _has_fields(info.annotation) and not _names_class(hints.get(n)))


def _names_class(hint: Any) -> bool:
    """Whether a parameter's hint (an object, or still a text) asks for an object with fields."""
    if isinstance(hint, str):
        plain = ("dict", "Dict", "Any", "list", "List", "Mapping", "Sequence")
        return any(word not in plain and word[:1].isupper() for word in _words(hint))
    return _has_fields(hint)


def _words(text: str) -> list[str]:
    return "".join(c if c.isalnum() or c == "_" else " " for c in text).split()


def _has_fields(hint: Any) -> bool:
    kind: Any = hint
    if isinstance(hint, type) and (issubclass(hint, BaseModel) or dataclasses.is_dataclass(kind)):
        return True
    return any(_has_fields(part) for part in get_args(hint))


def explain(error: ValidationError, parameters: Schema) -> str:
    """What is wrong with the arguments, for the model: one line for each field."""
    problems = error.errors(include_url=False, include_context=False)
    lines = [f"- {_problem(problem, parameters)}" for problem in problems[:_MAX_LINES]]
    if len(problems) > _MAX_LINES:
        lines.append(f"- and {len(problems) - _MAX_LINES} more")
    return "\n".join(["Wrong arguments:", *lines, "Call the tool again with the arguments put right."])


def _problem(problem: Any, parameters: Schema) -> str:
    path = ".".join(str(part) for part in problem["loc"]) or "arguments"
    properties = cast("dict[str, Schema]", parameters["properties"])
    expected = properties.get(path, {})
    if problem["type"] == "missing":
        about = f" ({expected['description']})" if "description" in expected else ""
        return f"{path}: is missing; expected {_kind(expected)}{about}"
    if problem["type"] == "extra_forbidden":
        return f"{path}: is not an argument; {nearest(path, properties)}"
    message = str(problem["msg"])
    return f"{path}: got {_shown(problem['input'])}; {message[:1].lower()}{message[1:]}"


def _kind(schema: Schema) -> str:
    if "enum" in schema:
        return f"one of {_shown(schema['enum'])}"
    return str(schema.get("type", "a value"))


def nearest(name: str, known: Iterable[str]) -> str:
    """``did you mean 'x'?``, or what is known where nothing is near."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"known are {', '.join(names)}" if names else "there are none"


def _shown(value: Any) -> str:
    try:
        text = pydantic_core.to_json(value, fallback=repr).decode()
    except ValueError:
        text = repr(value)
    return text if len(text) <= _MAX_VALUE else f"{text[:_MAX_VALUE]}… ({len(text):,} characters)"
