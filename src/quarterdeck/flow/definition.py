"""A flow's definition: its methods and how they hang together, read from the class and checked."""

from __future__ import annotations

import difflib
import hashlib
import inspect
import json
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from quarterdeck.errors import ConfigError
from quarterdeck.events import Event, FeedbackReceived, MethodFinished
from quarterdeck.flow.decorators import Mark, mark_of
from quarterdeck.flow.labels import labels_of
from quarterdeck.flow.triggers import Rule, Triggers


@dataclass(frozen=True, slots=True)
class Method:
    """A method of a flow.

    Args:
        name: Its name.
        mark: What its decorators say.
        labels: Labels that it may give, of a router; () where it is none.
        closed: Whether these are all.
        takes: How many arguments it can be given besides ``self``, 0 or 1.
        takes_payload: Whether it has a parameter ``crewai_trigger_payload``.
    """

    name: str
    mark: Mark
    labels: tuple[str, ...]
    closed: bool
    takes: int
    takes_payload: bool

    @property
    def router(self) -> bool:
        """Whether its result, or a person's answer, is a label."""
        return self.mark.router or (self.mark.feedback is not None and bool(self.mark.feedback.emit))

    @property
    def rule(self) -> Rule:
        """What the rules need to know of it."""
        return Rule(
            start=self.mark.start,
            unconditional=self.mark.unconditional,
            condition=self.mark.condition,
            router=self.router,
            feedback=self.mark.feedback is not None,
        )


@dataclass(frozen=True)
class Graph:
    """The methods of a flow, in their order."""

    methods: Mapping[str, Method]

    @cached_property
    def rules(self) -> dict[str, Rule]:
        """The methods for the rules."""
        return {name: method.rule for name, method in self.methods.items()}

    @cached_property
    def digest(self) -> str:
        """Digest of the methods and their conditions: a run that goes on must meet the flow it began with."""
        parts = [
            [
                name,
                method.mark.start,
                method.mark.unconditional,
                str(method.mark.condition or ""),
                method.router,
                [] if method.mark.feedback is None else list(method.mark.feedback.emit),
            ]
            for name, method in self.methods.items()
        ]
        return hashlib.blake2b(json.dumps(parts).encode(), digest_size=8).hexdigest()


def graph_of(cls: type[Any]) -> Graph:
    """Reads a flow's methods from its class.

    Raises:
        ConfigError: Names in conditions are not known, a method listens to itself, a router has no condition; all that
            is wrong, in one error.
    """
    methods: dict[str, Method] = {}
    for owner in reversed(cls.__mro__):
        for name, value in vars(owner).items():
            inherited = methods.get(name)
            mark = mark_of(value) or (inherited.mark if inherited else None)
            if mark is not None and callable(value):
                methods[name] = _method(name, value, mark)
            elif inherited:  # a subclass has put something else in its place
                del methods[name]
    graph = Graph(methods)
    _check(cls.__name__, graph)
    return graph


def _method(name: str, function: Callable[..., Any], mark: Mark) -> Method:
    router = mark.router or mark.feedback is not None
    labels, closed = labels_of(function, mark) if router else ((), True)
    takes, takes_payload = 0, False
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        if parameter.name == "crewai_trigger_payload":
            takes_payload = True
        elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD, parameter.VAR_POSITIONAL):
            takes = 1
    return Method(name, mark, labels, closed, takes, takes_payload)


def _check(flow: str, graph: Graph) -> None:
    methods = graph.methods.values()
    if not methods:  # a base class
        return
    wrong: list[str] = []
    if not any(method.mark.start for method in methods):
        wrong.append("no method is a start: put @start() on the one that begins")
    known = {method.name for method in methods} | {label for method in methods for label in method.labels}
    is_open = any(method.router and not method.closed for method in methods)
    for method in methods:
        mark = method.mark
        if not mark.start and mark.condition is None:
            what = "@router" if mark.router else "@persist" if mark.feedback is None else "@human_feedback"
            wrong.append(f"{method.name} has {what} and is called by nothing: give it @start() or @listen(...)")
        names: frozenset[str] = mark.condition.names if mark.condition else frozenset()
        if method.name in names:
            wrong.append(
                f"{method.name} waits for {method.name!r}, which is itself: a method and the label that it "
                "waits for need different names; a loop goes by way of a router"
            )
        if is_open:  # any name may be a label of a router whose labels are not known
            continue
        wrong += [_unknown(method.name, name, known) for name in sorted(names - known)]
    if wrong:
        raise ConfigError(f"flow {flow}: {'; '.join(wrong)}")
    unreachable = sorted({method.name for method in methods} - _reachable(graph))
    if unreachable:
        text = f"flow {flow}: {', '.join(unreachable)} can never be called: nothing leads there from a start"
        warnings.warn(text, UserWarning, stacklevel=5)


def under_way(graph: Graph, events: Iterable[Event]) -> list[str]:
    """The methods whose calls are to be made or are under way, after the events of a run so far."""
    triggers = Triggers(graph.rules)
    due = {call.path: call for call in triggers.begin()}
    for event in events:
        if isinstance(event, MethodFinished):
            method = graph.methods.get(event.method)
            asks = method is not None and method.mark.feedback is not None
            label, ends = event.label, event.path == f"{event.method}/{event.call}" and not asks
        elif isinstance(event, FeedbackReceived):
            label, ends = event.outcome, event.path == f"{event.method}/{event.call}/feedback"
        else:
            continue
        if ends and (call := due.pop(f"{event.method}/{event.call}", None)):
            due |= {made.path: made for made in triggers.finish(call, label)}
    return [call.method for call in due.values()]


def _unknown(method: str, name: str, known: set[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(known))}"
    return f"{method} waits for {name!r}, which is no method and no router's label; {hint}"


def _reachable(graph: Graph) -> set[str]:
    """The methods that can be called."""
    methods = graph.methods.values()
    starts = [method for method in methods if method.mark.unconditional]
    reached = {method.name for method in starts or methods if method.mark.start}
    while True:
        events = set(reached)
        for name in reached:
            method = graph.methods[name]
            events |= set(method.labels)
            if method.router and not method.closed:
                events |= {item for other in methods if other.mark.condition for item in other.mark.condition.names}
        more = {m.name for m in methods if m.mark.condition and m.mark.condition.holds(events)} - reached
        if not more:
            return reached
        reached |= more
