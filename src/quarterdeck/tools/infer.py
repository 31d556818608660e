"""The arguments of a function as a pydantic model: from its type hints, defaults and docstring."""

from __future__ import annotations

import inspect
import itertools
import types
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic.errors import PydanticUserError
from pydantic.fields import FieldInfo

from quarterdeck.errors import ConfigError
from quarterdeck.tools.docstring import split_docstring

_RESERVED = "argument_"
"""Begins the name of the field for a parameter whose own name pydantic does not take, such as ``schema``."""


class Arguments(BaseModel):
    """Base of the models that are inferred: an argument that the function does not have is an error."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=False)


def arguments_model(
    function: Callable[..., Any], name: str, describe: Mapping[str, str] | None = None
) -> type[Arguments]:
    """The model of a function's arguments.

    Descriptions come from ``Field(description=...)``, from a text in ``Annotated[..., "text"]``, or from the
    docstring, in this order.

    Args:
        function: A function, or a bound method.
        name: The model's name.
        describe: Descriptions by parameter, used in place of the docstring's.

    Raises:
        ConfigError: A parameter cannot be given by name, or its type is one that JSON cannot hold.
    """
    descriptions = split_docstring(function.__doc__ or "")[1] if describe is None else describe
    fields: dict[str, Any] = {}
    parameters = _parameters(function, name)
    taken = {parameter.name for parameter, _ in parameters}
    for parameter, hint in parameters:
        text = descriptions.get(parameter.name, "")
        annotation = _annotated(hint, parameter.default, text)
        default = ... if parameter.default is parameter.empty else parameter.default
        field = parameter.name
        if field.startswith("_") or hasattr(BaseModel, field):
            annotation = Annotated[annotation, Field(alias=field)]
            field = next(free for n in itertools.count() if (free := f"{_RESERVED}{n}") not in taken)
        taken.add(field)
        fields[field] = (annotation, default)
    try:
        return create_model(name, __base__=Arguments, **fields)
    except PydanticUserError as error:
        raise ConfigError(
            f"the arguments of {_called(function, name)} cannot be described to a model: {str(error).splitlines()[0]}; "
            "use types that JSON can hold (str, int, float, bool, list, dict, Literal, a pydantic model), "
            "or give an args_schema"
        ) from error


def _parameters(function: Callable[..., Any], name: str) -> list[tuple[inspect.Parameter, Any]]:
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{_called(function, name)} has no signature to read: give an args_schema") from error
    named = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    for parameter in named:
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise ConfigError(
                f"{_called(function, name)} takes {parameter.name!r} by position only; a tool's arguments are given "
                "by name: remove the '/' from its signature"
            )
    hints = _hints(function, named, name)
    return [(parameter, hints.get(parameter.name, Any)) for parameter in named]


def _hints(function: Callable[..., Any], parameters: list[inspect.Parameter], name: str) -> dict[str, Any]:
    """The hints of the parameters alone: a return type that is only known to type checkers does no harm."""
    inner: Any = inspect.unwrap(function)
    while hasattr(inner, "func") and not hasattr(inner, "__globals__"):  # functools.partial
        inner = inspect.unwrap(inner.func)
    if not hasattr(inner, "__globals__"):
        inner = getattr(inner, "__call__", inner)  # noqa: B004 - its annotations are wanted
    written = {p.name: p.annotation for p in parameters if p.annotation is not p.empty}
    known: dict[str, Any] = getattr(inner, "__globals__", {})
    try:
        return get_type_hints(_WithHints(written), known, _local_names(function), include_extras=True)
    except NameError as error:
        raise ConfigError(
            f"a type hint of {_called(function, name)} cannot be resolved: {error}; define or import the type at "
            "module level, outside of `if TYPE_CHECKING:`"
        ) from error


class _WithHints:
    """What ``get_type_hints`` reads."""

    def __init__(self, annotations: dict[str, Any]) -> None:
        self.__annotations__ = annotations


def _local_names(function: Callable[..., Any]) -> dict[str, Any]:
    """The names around a function that is defined inside of another, where types may be defined too."""
    if "<locals>" not in getattr(function, "__qualname__", ""):
        return {}
    frame = inspect.currentframe()
    while frame is not None and str(frame.f_globals.get("__name__")).startswith("quarterdeck.tools"):
        frame = frame.f_back
    return dict(frame.f_locals) if frame is not None else {}


def _annotated(hint: Any, default: Any, docstring: str) -> Any:
    if default is None and not _takes_none(hint):
        hint = Union[hint, None]  # noqa: UP007 - hint | None fails for some forms; `x: str = None` means optional
    info = FieldInfo.from_annotation(hint)
    if info.description or (isinstance(default, FieldInfo) and default.description):
        return hint
    texts = [m for m in get_args(hint)[1:] if isinstance(m, str)] if get_origin(hint) is Annotated else []
    text = texts[0] if texts else docstring
    return Annotated[hint, Field(description=text)] if text else hint


def _takes_none(hint: Any) -> bool:
    if hint is Any or hint is None or hint is type(None):
        return True
    if get_origin(hint) is Annotated:
        return _takes_none(get_args(hint)[0])
    return get_origin(hint) in (Union, types.UnionType) and type(None) in get_args(hint)


def _called(function: Callable[..., Any], name: str) -> str:
    return getattr(function, "__qualname__", name)
