"""``@start``, ``@listen`` and ``@router``: they mark a flow's methods, and leave them as they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar, cast

from quarterdeck.errors import ConfigError
from quarterdeck.flow.conditions import Condition, ConditionLike, as_condition

if TYPE_CHECKING:
    from quarterdeck.flow.human_feedback import Feedback
    from quarterdeck.flow.persistence import Persisting

F = TypeVar("F", bound=Callable[..., Any])

_MARK = "__quarterdeck_flow__"


@dataclass(slots=True)
class Mark:
    """What the decorators of one method say.

    Args:
        start: Whether it is a start.
        condition: When it is called besides; of a start: when it is called at all, unless there is no other start.
        unconditional: Whether a start is called at the beginning in any case.
        router: Whether its result is a label.
        emit: The labels that it may give; None: not said.
        seconds: Its time limit.
        feedback: How a person is asked about its result.
        persisting: Where the state is saved after it.
    """

    start: bool = False
    unconditional: bool = False
    condition: Condition | None = None
    router: bool = False
    emit: tuple[str, ...] | None = None
    seconds: float | None = None
    feedback: Feedback | None = None
    persisting: Persisting | None = None


def mark_of(function: Any) -> Mark | None:
    """What decorators have said of a method; None where there are none."""
    return getattr(function, _MARK, None)


def marked(function: Any, decorator: str) -> Mark:
    """The mark of a method, made where there is none yet.

    Raises:
        ConfigError: It is no function.
    """
    if not callable(function) or isinstance(function, type):
        raise ConfigError(f"@{decorator} goes on a method of a Flow, got {function!r}")
    mark = mark_of(function)
    if mark is None:
        mark = Mark()
        setattr(function, _MARK, mark)
    return mark


def start(condition: ConditionLike | None = None, *, max_execution_time: float | None = None) -> Callable[[F], F]:
    """Marks a method that begins the flow (CrewAI: ``start``). All starts without a condition run side by side.

    Args:
        condition: With one, it is called when the condition holds; at the beginning only where no start is without.
        max_execution_time: Seconds that one call may take; None: no limit.

    Raises:
        ConfigError: The condition is none, or ``start`` is used without brackets.
    """
    _with_brackets("start", condition)

    def decorate(function: F) -> F:
        mark = marked(function, "start")
        mark.start = True
        if condition is None:
            mark.unconditional = True
        else:
            _set_condition(mark, function, "start", condition)
        _limit(mark, function, max_execution_time)
        return function

    return decorate


def listen(condition: ConditionLike, *, max_execution_time: float | None = None) -> Callable[[F], F]:
    """Marks a method that is called after others (CrewAI: ``listen``); all that listen to one run side by side.

    It is given the result of what it listens to, if it has a parameter.

    Args:
        condition: A method, a method's or label's name, ``or_(...)`` or ``and_(...)``.
        max_execution_time: Seconds that one call may take; None: no limit.

    Raises:
        ConfigError: The condition is none.
    """

    def decorate(function: F) -> F:
        mark = marked(function, "listen")
        _set_condition(mark, function, "listen", condition)
        _limit(mark, function, max_execution_time)
        return function

    return decorate


def router(
    condition: ConditionLike | None = None,
    *,
    emit: Sequence[str] | type[Enum] | None = None,
    max_execution_time: float | None = None,
) -> Callable[[F], F]:
    """Marks a method whose result says what comes next (CrewAI: ``router``): it becomes a label to listen to.

    Routers run before the other listeners of what they listen to, one after another. None goes nowhere; an Enum gives
    its value.

    Args:
        condition: As in ``listen``; None beside a ``@start``.
        emit: The labels that it may give, for checks and plots; by default those of its return annotation
            (``Literal`` or ``Enum``) or of its ``return`` statements.
        max_execution_time: Seconds that one call may take; None: no limit.

    Raises:
        ConfigError: The condition is none, or ``emit`` is no list of labels.
    """
    _with_brackets("router", condition)
    labels = as_labels(emit, "router")

    def decorate(function: F) -> F:
        mark = marked(function, "router")
        mark.router = True
        mark.emit = labels
        if condition is not None:
            _set_condition(mark, function, "router", condition)
        _limit(mark, function, max_execution_time)
        return function

    return decorate


def as_labels(emit: Any, where: str) -> tuple[str, ...] | None:
    """The labels of ``emit=``.

    Raises:
        ConfigError: They are no labels.
    """
    if emit is None:
        return None
    if isinstance(emit, type) and issubclass(emit, Enum):
        return tuple(str(item.value) for item in emit)
    labels = tuple(cast("Sequence[Any]", emit)) if isinstance(emit, list | tuple | set | frozenset) else ()
    if not labels or not all(isinstance(label, str) and label for label in labels) or len(set(labels)) < len(labels):
        raise ConfigError(f"@{where} emit must be a list of different labels (texts), got {emit!r}")
    return labels


def _with_brackets(name: str, condition: Any) -> None:
    if callable(condition) and mark_of(condition) is None and getattr(condition, "__name__", "") != "<lambda>":
        raise ConfigError(
            f"@{name} needs brackets: write @{name}() before {getattr(condition, '__name__', condition)!r}; "
            f"or {name}(method) with a method that is decorated itself"
        )


def _set_condition(mark: Mark, function: Any, decorator: str, condition: Any) -> None:
    if mark.condition is not None:
        raise ConfigError(f"{function.__name__} has two conditions: join them in one with or_(...) or and_(...)")
    mark.condition = as_condition(condition, f"@{decorator} of {function.__name__}")


def _limit(mark: Mark, function: Any, seconds: Any) -> None:
    if seconds is None:
        return
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0:
        raise ConfigError(f"max_execution_time of {function.__name__} must be a number above 0, got {seconds!r}")
    mark.seconds = float(seconds)
