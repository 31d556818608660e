"""Which hooks there are: those of the process, and those of one crew."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from quarterdeck.errors import ConfigError
from quarterdeck.hooks.points import AGENT_POINTS, TOOL_POINTS, InterceptionPoint
from quarterdeck.tools.names import sanitize_tool_name

F = TypeVar("F", bound=Callable[..., Any])

_MARK = "__quarterdeck_hooks__"


@dataclass(frozen=True, slots=True)
class Hook:
    """A function at a point.

    Args:
        point: When it is called.
        function: What is called, with the point's context; sync (in a thread) or async.
        agents: Roles of the agents that it is for; None: all.
        tools: Names of the tools that it is for; None: all.
        wrap: What made ``function`` from the user's, where it is not the user's own.
        original: The user's function, where ``function`` is made from it.
    """

    point: InterceptionPoint
    function: Callable[..., Any]
    agents: frozenset[str] | None = None
    tools: frozenset[str] | None = None
    wrap: Callable[[Callable[..., Any]], Callable[..., Any]] | None = None
    original: Callable[..., Any] | None = None

    @property
    def name(self) -> str:
        """The user's function's name."""
        function = self.original or self.function
        return getattr(function, "__name__", type(function).__name__)

    def fits(self, roles: Iterable[str], tool: str | None) -> bool:
        """Whether it is for this agent and tool."""
        if self.agents is not None and not any(_folded(role) in self.agents for role in roles):
            return False
        return self.tools is None or (tool is not None and sanitize_tool_name(tool) in self.tools)

    def is_of(self, function: Callable[..., Any]) -> bool:
        """Whether it was made from this function."""
        return function == (self.original or self.function)


def _folded(role: str) -> str:
    return " ".join(role.split()).casefold()


_hooks: dict[InterceptionPoint, tuple[Hook, ...]] = {}
_lock = threading.Lock()


def make_hook(
    point: InterceptionPoint | str,
    function: Callable[..., Any],
    *,
    agents: Sequence[str] | str | None = None,
    tools: Sequence[str] | str | None = None,
    wrap: Callable[[Callable[..., Any]], Callable[..., Any]] | None = None,
) -> Hook:
    """A hook, checked.

    Raises:
        ConfigError: There is no such point, the function cannot be called with one argument, or a filter is given at
            a point that does not know agents or tools.
    """
    try:
        point = InterceptionPoint(point)
    except ValueError:
        raise ConfigError(f"there is no point {point!r}; points are {', '.join(InterceptionPoint)}") from None
    if not callable(function):
        raise ConfigError(f"a hook must be a function of one context, got {type(function).__name__}")
    if agents is not None and point not in AGENT_POINTS:
        raise ConfigError(f"agents= has no meaning at {point}: no agent works there")
    if tools is not None and point not in TOOL_POINTS:
        raise ConfigError(f"tools= has no meaning at {point}; it is for {', '.join(sorted(TOOL_POINTS))}")
    return Hook(
        point,
        wrap(function) if wrap else function,
        None if agents is None else frozenset(_folded(role) for role in _each("agents", agents)),
        None if tools is None else frozenset(sanitize_tool_name(name) for name in _each("tools", tools)),
        wrap,
        function if wrap else None,
    )


def _each(name: str, given: Sequence[str] | str) -> list[str]:
    found = [given] if isinstance(given, str) else list(given)
    if not all(isinstance(item, str) for item in found):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(f"{name} must be a list of names, got {found!r}")
    return found


def add(hook: Hook) -> None:
    """Registers a hook for all runs of the process."""
    with _lock:
        _hooks[hook.point] = (*_hooks.get(hook.point, ()), hook)


def register_hook(
    point: InterceptionPoint | str,
    function: Callable[..., Any],
    *,
    agents: Sequence[str] | None = None,
    tools: Sequence[str] | None = None,
) -> None:
    """Calls a function at a point, in all runs of the process; ``on`` as a call."""
    add(make_hook(point, function, agents=agents, tools=tools))


def on(
    point: InterceptionPoint | str, agents: Sequence[str] | None = None, tools: Sequence[str] | None = None
) -> Callable[[F], F]:
    """Calls the decorated function at a point of all runs (CrewAI: ``crewai.hooks.on``).

    The function is given the point's context. It returns None to go on (with what it changed in place), or a value
    that replaces ``ctx.payload``; it raises ``HookAborted`` to stop. A method of a class is not called by all runs,
    but by those of the crew that ``hooks_of(instance)`` gives it to; ``@CrewBase`` does this.

    Args:
        point: When it is called.
        agents: Roles of the agents that it is for; None: all.
        tools: Names of the tools that it is for; None: all.

    Raises:
        ConfigError: There is no such point, or a filter has no meaning there.
    """

    def decorate(function: F) -> F:
        declare(make_hook(point, function, agents=agents, tools=tools))
        return function

    return decorate


def declare(hook: Hook) -> None:
    """Registers a decorated function, or marks a method for ``hooks_of``."""
    function = hook.original or hook.function
    if not _is_method(function):
        add(hook)
        return
    marks: tuple[Hook, ...] = getattr(function, _MARK, ())
    setattr(function, _MARK, (*marks, hook))


def _is_method(function: Callable[..., Any]) -> bool:
    return inspect.isfunction(function) and next(iter(inspect.signature(function).parameters), "") == "self"


def hooks_of(instance: Any) -> list[Hook]:
    """The hooks among an object's methods, bound to it: ``Crew(...).add_hooks(*hooks_of(instance))``."""
    found: list[Hook] = []
    for name in dict.fromkeys(name for kind in reversed(type(instance).__mro__) for name in vars(kind)):
        marks: tuple[Hook, ...] = getattr(inspect.getattr_static(instance, name, None), _MARK, ())
        for mark in marks:
            bound = getattr(instance, name)
            made = mark.wrap(bound) if mark.wrap else bound
            found.append(replace(mark, function=made, original=bound if mark.wrap else None))
    return found


def unregister_hook(point: InterceptionPoint | str, function: Callable[..., Any]) -> bool:
    """Ends a registration.

    Returns:
        Whether there was one.
    """
    point = InterceptionPoint(point)
    with _lock:
        before = _hooks.get(point, ())
        after = tuple(hook for hook in before if not hook.is_of(function))
        _hooks[point] = after
    return len(after) < len(before)


def get_hooks(point: InterceptionPoint | str) -> list[Callable[..., Any]]:
    """The functions registered at a point, in order."""
    return [hook.original or hook.function for hook in registered(InterceptionPoint(point))]


def clear_hooks(point: InterceptionPoint | str) -> int:
    """Ends all registrations at a point.

    Returns:
        How many there were.
    """
    with _lock:
        return len(_hooks.pop(InterceptionPoint(point), ()))


def clear_all_hooks() -> int:
    """Ends all registrations; returns how many there were. Those of a crew stay."""
    return sum(clear_hooks(point) for point in InterceptionPoint)


def registered(point: InterceptionPoint) -> tuple[Hook, ...]:
    """The hooks of all runs at a point, in order."""
    return _hooks.get(point, ())
