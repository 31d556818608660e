"""Which methods of a flow are called when: the rules, as a small model without methods, state or time.

It is told that the flow begins and which calls have finished, and says which calls are to be made. The rules:

1. The flow begins with all starts that have no condition; where there are none, with all that have one.
2. A call that has finished is an event of its method's name. Of a router, its result is another event: a label.
3. Routers go first: those that wait for the event are called one after another, and those that wait for their labels
   after them. Then all listeners of all these events are called, side by side.
4. A listener keeps the events that it has seen of its condition. When the condition holds they are forgotten, and it is
   called.
5. Calls belong to *cycles*. The starts are in the first. A call is in the cycle of what triggered it; where its method
   was called in that cycle before, it opens the next one.
6. A listener, not a router, to ``or_`` of several conditions is called once a cycle: for the first. It is armed again
   by a label of its own condition, and when what comes after it leads back to it by way of a router.
7. A listener is given the result of the call that the event is of; of a router's label, the result of the call that
   the router was asked about, but the feedback where the router asks a person.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from quarterdeck.flow.conditions import Condition, Or


@dataclass(frozen=True, slots=True)
class Rule:
    """What the rules need to know of a method.

    Args:
        start: Whether it is a start.
        unconditional: Whether it is called at the beginning.
        condition: When it is called besides.
        router: Whether its result is a label.
        feedback: Whether it asks a person, whose answer is what listeners are given.
    """

    start: bool = False
    unconditional: bool = False
    condition: Condition | None = None
    router: bool = False
    feedback: bool = False

    @property
    def once(self) -> bool:
        """Whether rule 6 is for it."""
        return not self.router and isinstance(self.condition, Or) and len(self.condition.items) > 1


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a method that is to be made.

    Args:
        method: The method.
        number: Its number among the calls of the method, from 1.
        trigger: The event that led to it: a method's name or a label; "" at the beginning.
        given: Path of the call whose result it is given; "" at the beginning.
        cycle: Its cycle.
        before: The methods that led to it, in its cycle.
        routed: Those of them that lead to it by way of a router.
    """

    method: str
    number: int
    trigger: str = ""
    given: str = ""
    cycle: int = 1
    before: frozenset[str] = frozenset()
    routed: frozenset[str] = frozenset()

    @property
    def path(self) -> str:
        """Such as ``write/1``."""
        return f"{self.method}/{self.number}"


@dataclass(frozen=True, slots=True)
class _Event:
    name: str
    call: Call
    given: str
    is_label: bool = False

    @property
    def before(self) -> frozenset[str]:
        return self.call.before | {self.call.method}

    @property
    def routed(self) -> frozenset[str]:
        return self.before if self.is_label else self.call.routed


@dataclass(slots=True)
class _Cascade:
    """A finished call with the routers that are asked about it, until the listeners' turn."""

    root: Call
    events: list[_Event] = field(default_factory=list[_Event])
    routers: deque[tuple[str, _Event]] = field(default_factory=deque[tuple[str, _Event]])


class Triggers:
    """The rules for one run of a flow.

    Args:
        rules: The flow's methods, in their order.
    """

    def __init__(self, rules: Mapping[str, Rule]) -> None:
        self._rules = rules
        self._numbers: Counter[str] = Counter()
        self._begun: set[tuple[str, int]] = set()
        self._fired: set[tuple[str, int]] = set()
        self._seen: dict[str, dict[str, _Event]] = {}
        self._cascades: dict[str, _Cascade] = {}

    def begin(self) -> list[Call]:
        """The calls that the flow begins with."""
        starts = [name for name, rule in self._rules.items() if rule.unconditional]
        starts = starts or [name for name, rule in self._rules.items() if rule.start]
        return [self._call(name, []) for name in starts]

    def finish(self, call: Call, label: str | None = None) -> list[Call]:
        """The calls to be made now that one has finished.

        Args:
            call: It.
            label: Of a router: its result as text; None goes nowhere.
        """
        cascade = self._cascades.pop(call.path, None) or _Cascade(call)
        events = [_Event(call.method, call, call.path)]
        if label is not None and self._rules[call.method].router:
            given = call.path if self._rules[call.method].feedback else cascade.root.path
            events.append(_Event(label, call, given, is_label=True))
        cascade.events += events
        for event in events:
            cascade.routers += [(name, event) for name in self._waiting(event) if self._rules[name].router]
        while cascade.routers:
            router = self._hear(*cascade.routers.popleft())
            if router:
                self._cascades[router.path] = cascade
                return [router]
        calls: list[Call] = []
        for event in cascade.events:
            heard = [self._hear(name, event) for name in self._waiting(event) if not self._rules[name].router]
            calls += [made for made in heard if made]
        return calls

    def _waiting(self, event: _Event) -> list[str]:
        return [name for name, rule in self._rules.items() if rule.condition and event.name in rule.condition.names]

    def _hear(self, name: str, event: _Event) -> Call | None:
        """Tells a method of an event, and gives its call where that is what it was waiting for."""
        rule = self._rules[name]
        seen = self._seen.setdefault(name, {})
        seen[event.name] = event
        assert rule.condition
        if not rule.condition.holds(seen):
            return None
        events = [item for item in self._seen.pop(name).values() if item is not event]
        cycle = event.call.cycle
        if rule.once and not event.is_label and (name, cycle) in self._fired and name not in event.routed:
            return None
        call = self._call(name, [event, *events])
        if rule.once:
            self._fired |= {(name, cycle), (name, call.cycle)}
        return call

    def _call(self, name: str, events: list[_Event]) -> Call:
        """A call that events lead to, the last one first; none at the beginning."""
        self._numbers[name] += 1
        cycle = max((event.call.cycle for event in events), default=1)
        latest = [event for event in events if event.call.cycle == cycle]
        before = frozenset(item for event in latest for item in event.before)
        routed = frozenset(item for event in latest for item in event.routed)
        if (name, cycle) in self._begun:
            before = routed = frozenset[str]()
            while (name, cycle) in self._begun:
                cycle += 1
        self._begun.add((name, cycle))
        first = events[0] if events else None
        return Call(
            method=name,
            number=self._numbers[name],
            trigger=first.name if first else "",
            given=first.given if first else "",
            cycle=cycle,
            before=before,
            routed=routed,
        )
