"""The labels that a router may give: as it says, by its return annotation, or by its ``return`` statements."""

from __future__ import annotations

import ast
import inspect
import textwrap
import types
import typing
from collections.abc import Callable
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin

from quarterdeck.flow.decorators import Mark


def labels_of(function: Callable[..., Any], mark: Mark) -> tuple[tuple[str, ...], bool]:
    """The labels of a router.

    Returns:
        The labels, and whether these are all that there can be.
    """
    if mark.feedback is not None:
        return mark.feedback.emit, True
    if mark.emit is not None:
        return mark.emit, True
    return _annotated(function) or _returned(function)


def _annotated(function: Callable[..., Any]) -> tuple[tuple[str, ...], bool] | None:
    try:
        kind = typing.get_type_hints(function).get("return")
    except Exception:  # an annotation that cannot be evaluated here says nothing
        return None
    labels = _of_type(kind)
    return (labels, True) if labels else None


def _of_type(kind: Any) -> tuple[str, ...] | None:
    if get_origin(kind) is Literal:
        return tuple(str(item.value if isinstance(item, Enum) else item) for item in get_args(kind) if item is not None)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return tuple(str(item.value) for item in kind)
    if get_origin(kind) in (Union, types.UnionType):
        parts = [_of_type(item) for item in get_args(kind) if item is not type(None)]
        if all(parts):
            return tuple(label for part in parts for label in part or ())
    return None


def _returned(function: Callable[..., Any]) -> tuple[tuple[str, ...], bool]:
    """The texts that it returns; there may be more where it returns anything else, or its source is not there."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function))))
    except (OSError, TypeError, SyntaxError):
        return (), False
    labels: dict[str, None] = {}
    closed = True
    for value in _return_values(tree.body):
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            labels[value.value] = None
        elif value is not None and not (isinstance(value, ast.Constant) and value.value is None):
            closed = False
    return tuple(labels), closed


def _return_values(body: list[ast.stmt]) -> list[ast.expr | None]:
    found: list[ast.expr | None] = []
    for statement in body:
        for node in _own_nodes(statement):
            if isinstance(node, ast.Return):
                found += _choices(node.value)
    return found


def _own_nodes(node: ast.AST, depth: int = 0) -> list[ast.AST]:
    """A node and those within it, but for the functions defined in a function."""
    found = [node]
    for child in ast.iter_child_nodes(node):
        nested = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef)
        if not nested:
            found += _own_nodes(child, depth + 1)
    return found


def _choices(value: ast.expr | None) -> list[ast.expr | None]:
    """The values of ``a if b else c``, or the one value."""
    if isinstance(value, ast.IfExp):
        return [*_choices(value.body), *_choices(value.orelse)]
    return [value]
