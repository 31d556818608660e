"""When a flow's method is called: names of methods and labels of routers, joined by ``or_`` and ``and_``."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from quarterdeck.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Name:
    """One event: a method of this name has finished, or a router has emitted this label."""

    name: str

    @property
    def names(self) -> frozenset[str]:
        """The name alone."""
        return frozenset((self.name,))

    def holds(self, seen: Collection[str]) -> bool:
        """Whether it is among the names seen."""
        return self.name in seen

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Or:
    """Any of several conditions: made by ``or_``."""

    items: tuple[Condition, ...]

    @property
    def names(self) -> frozenset[str]:
        """Every name in it."""
        return frozenset(name for item in self.items for name in item.names)

    def holds(self, seen: Collection[str]) -> bool:
        """Whether one of its conditions holds."""
        return any(item.holds(seen) for item in self.items)

    def __str__(self) -> str:
        return f"or_({', '.join(map(str, self.items))})"


@dataclass(frozen=True, slots=True)
class And:
    """All of several conditions: made by ``and_``."""

    items: tuple[Condition, ...]

    @property
    def names(self) -> frozenset[str]:
        """Every name in it."""
        return frozenset(name for item in self.items for name in item.names)

    def holds(self, seen: Collection[str]) -> bool:
        """Whether all of its conditions hold."""
        return all(item.holds(seen) for item in self.items)

    def __str__(self) -> str:
        return f"and_({', '.join(map(str, self.items))})"


Condition = Name | Or | And

ConditionLike = str | Callable[..., Any] | Condition
"""What decorators take: a method's or label's name, a method, or what ``or_`` and ``and_`` give."""


def or_(*conditions: ConditionLike) -> Or:
    """Any of these (CrewAI: ``or_``). A listener with several fires once for them, on the first.

    Args:
        conditions: Names of methods or labels, methods, or conditions.

    Raises:
        ConfigError: One is of another type, or there is none.
    """
    return Or(_items("or_", conditions))


def and_(*conditions: ConditionLike) -> And:
    """All of these (CrewAI: ``and_``); begun anew when they were all there.

    Args:
        conditions: Names of methods or labels, methods, or conditions.

    Raises:
        ConfigError: One is of another type, or there is none.
    """
    return And(_items("and_", conditions))


def as_condition(value: Any, where: str) -> Condition:
    """A condition from what a decorator was given.

    Raises:
        ConfigError: It is of no type that a condition can be.
    """
    if isinstance(value, Name | Or | And):
        return value
    if isinstance(value, str) and value:
        return Name(value)
    name = getattr(value, "__name__", None)
    if callable(value) and isinstance(name, str) and not isinstance(value, type):
        return Name(name)
    raise ConfigError(
        f"{where} takes a method, the name of a method or of a router's label, or_(...) or and_(...); got {value!r}"
    )


def _items(where: str, conditions: tuple[Any, ...]) -> tuple[Condition, ...]:
    if not conditions:
        raise ConfigError(f"{where}() needs at least one method or label")
    return tuple(as_condition(item, where) for item in conditions)
