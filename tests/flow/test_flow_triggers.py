"""The rules of a flow against an independent, naive reading of them, on graphs that Hypothesis makes up."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quarterdeck.errors import ConfigError
from quarterdeck.events import Event, MethodFinished, MethodStarted
from quarterdeck.flow import Flow, listen, router, start
from quarterdeck.flow.conditions import And, Condition, Name, Or
from quarterdeck.flow.triggers import Call, Rule, Triggers

LABELS = ["x", "y", "z"]
MOST_STEPS = 40


# -- the reference: written from the rules' text; it keeps the whole history and looks everything up in it ---------


@dataclass
class Made:
    """A call in the history, with the history of what led to it."""

    method: str
    number: int
    cycle: int
    trigger: str
    given: str
    line: list[tuple[str, bool]]  # the methods that led to it in its cycle, and whether a router's label came after


@dataclass
class Heard:
    """An event that a method heard."""

    name: str
    by: Made
    label: bool
    given: str


@dataclass
class Asked:
    """A finished call, and the routers that are still to be asked about it."""

    root: Made
    events: list[Heard] = field(default_factory=list[Heard])
    queue: list[tuple[str, Heard]] = field(default_factory=list[tuple[str, Heard]])


def holds(condition: Condition, names: list[str]) -> bool:
    if isinstance(condition, Name):
        return condition.name in names
    parts = [holds(item, names) for item in condition.items]
    return True in parts if isinstance(condition, Or) else False not in parts


def mentions(condition: Condition | None, name: str) -> bool:
    if condition is None:
        return False
    if isinstance(condition, Name):
        return condition.name == name
    return any(mentions(item, name) for item in condition.items)


class Reference:
    def __init__(self, rules: dict[str, Rule]) -> None:
        self.rules = rules
        self.history: list[Made] = []
        self.kept: dict[str, list[Heard]] = {name: [] for name in rules}
        self.served: list[tuple[str, int]] = []  # rule 6: listener and cycle
        self.asked: dict[tuple[str, int], Asked] = {}

    def begin(self) -> list[Made]:
        first = [name for name in self.rules if self.rules[name].unconditional]
        if first == []:
            first = [name for name in self.rules if self.rules[name].start]
        return [self.make(name, None, []) for name in first]

    def finish(self, made: Made, label: str | None) -> list[Made]:
        asked = self.asked.pop((made.method, made.number), Asked(made))
        path = f"{made.method}/{made.number}"
        new = [Heard(made.method, made, False, path)]
        if self.rules[made.method].router and label is not None:
            root = f"{asked.root.method}/{asked.root.number}"
            new.append(Heard(label, made, True, path if self.rules[made.method].feedback else root))
        asked.events.extend(new)
        for heard in new:
            for name in self.rules:
                if self.rules[name].router and mentions(self.rules[name].condition, heard.name):
                    asked.queue.append((name, heard))
        while asked.queue != []:
            name, heard = asked.queue.pop(0)
            call = self.hear(name, heard)
            if call is not None:
                self.asked[(call.method, call.number)] = asked
                return [call]
        result: list[Made] = []
        for heard in asked.events:
            for name in self.rules:
                if not self.rules[name].router and mentions(self.rules[name].condition, heard.name):
                    call = self.hear(name, heard)
                    if call is not None:
                        result.append(call)
        return result

    def hear(self, name: str, heard: Heard) -> Made | None:
        condition = self.rules[name].condition
        assert condition is not None
        kept = [item for item in self.kept[name] if item.name != heard.name] + [heard]
        if not holds(condition, [item.name for item in kept]):
            self.kept[name] = kept
            return None
        self.kept[name] = []
        only_first = isinstance(condition, Or) and len(condition.items) >= 2 and not self.rules[name].router
        if only_first and (name, heard.by.cycle) in self.served:
            leads_back = (name, True) in heard.by.line
            if not heard.label and not leads_back:
                return None
        made = self.make(name, heard, kept)
        if only_first:
            self.served += [(name, heard.by.cycle), (name, made.cycle)]
        return made

    def make(self, name: str, last: Heard | None, all_heard: list[Heard]) -> Made:
        number = len([made for made in self.history if made.method == name]) + 1
        cycle = max([heard.by.cycle for heard in all_heard] or [1])
        line: list[tuple[str, bool]] = []
        for heard in all_heard:
            if heard.by.cycle == cycle:
                own = [*heard.by.line, (heard.by.method, False)]
                line += [(method, True) for method, _ in own] if heard.label else own
        while any(made.method == name and made.cycle == cycle for made in self.history):
            cycle, line = cycle + 1, []
        given = last.given if last else ""
        made = Made(name, number, cycle, last.name if last else "", given, line)
        self.history.append(made)
        return made


# -- graphs ---------------------------------------------------------------------------------------------------


def condition_of(chance: random.Random, names: list[str], depth: int = 0) -> Condition:
    kind = chance.choice([Name, Name, Or, And]) if depth < 3 else Name
    if kind is Name:
        return Name(chance.choice(names))
    return kind(tuple(condition_of(chance, names, depth + 1) for _ in range(chance.randint(1, 3))))


def graph_of(chance: random.Random, size: int) -> dict[str, Rule]:
    names = [f"m{n}" for n in range(size)]
    rules: dict[str, Rule] = {}
    for name in names:
        kind = chance.choice(["start", "gated", "listen", "listen", "listen", "router", "asks"]) if rules else "start"
        others = [*(other for other in names if other != name), *LABELS]
        rules[name] = Rule(
            start=kind in ("start", "gated"),
            unconditional=kind == "start",
            condition=None if kind == "start" and chance.random() < 0.8 else condition_of(chance, others),
            router=kind in ("router", "asks") or chance.random() < 0.1,
            feedback=kind == "asks",
        )
    return rules


def seen(call: Call | Made) -> tuple[str, int, int, str, str]:
    return (call.method, call.number, call.cycle, call.trigger, call.given)


@settings(max_examples=800, deadline=None)
@given(st.integers(1, 12), st.integers(0, 2**32))
def test_the_model_does_what_its_rules_say(size: int, seed: int) -> None:
    chance = random.Random(seed)  # drawing each choice from Hypothesis takes fifty times as long
    rules = graph_of(chance, size)
    model, reference = Triggers(rules), Reference(rules)
    calls, expected = model.begin(), reference.begin()
    steps = 0
    while True:
        assert [seen(call) for call in calls] == [seen(made) for made in expected]
        if not calls or steps == MOST_STEPS:
            break
        steps += 1
        place = chance.randrange(len(calls))  # any of those under way may be the next to finish
        label = chance.choice([*LABELS, *LABELS, *rules, None])
        calls += model.finish(done := calls[place], label)
        calls.remove(done)
        expected += reference.finish(made := expected[place], label)
        expected.remove(made)


# -- the engine -------------------------------------------------------------------------------------------------


def flow_of(rules: dict[str, Rule], chance: random.Random) -> Flow:
    """A flow with these methods, whose routers' labels and whose pace are left to chance."""

    def method(rule: Rule) -> Any:
        async def run(self: Flow) -> str | None:
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            return chance.choice([*LABELS, *rules, None])

        if rule.router:
            run = router(rule.condition)(run)
        elif rule.condition and not rule.start:
            run = listen(rule.condition)(run)
        if rule.start:
            run = start()(run) if rule.unconditional else start(None if rule.router else rule.condition)(run)
        return run

    return type("Made", (Flow,), {name: method(rule) for name, rule in rules.items()})(max_method_calls=6)


def engine_rule(rule: Rule) -> Rule:
    """A rule that decorators can say: a start is no router, and has no condition besides."""
    if rule.start:
        return Rule(
            start=True, unconditional=rule.unconditional, condition=None if rule.unconditional else rule.condition
        )
    return Rule(condition=rule.condition, router=rule.router)


@pytest.mark.filterwarnings("ignore:flow Made.*can never be called")
@settings(max_examples=150, deadline=None)
@given(st.integers(1, 12), st.integers(0, 2**32))
def test_a_flow_calls_what_the_reference_says(size: int, seed: int) -> None:
    chance = random.Random(seed)
    rules = {name: engine_rule(rule) for name, rule in graph_of(chance, size).items()}
    try:
        flow = flow_of(rules, chance)
    except ConfigError as error:  # labels that no router gives
        assert "which is no method and no router's label" in str(error)  # noqa: PT017
        return
    events: list[Event] = []
    limited = False
    try:
        asyncio.run(flow.akickoff(on_event=events.append))
    except RecursionError:
        limited = True
    reference = Reference(rules)
    due = {f"{made.method}/{made.number}": made for made in reference.begin()}
    called = set(due)
    for event in events:
        if isinstance(event, MethodFinished):
            new = reference.finish(due.pop(event.path), event.label)
            due |= {f"{made.method}/{made.number}": made for made in new}
            called |= due.keys()
    begun = {event.path for event in events if isinstance(event, MethodStarted)}
    assert begun <= called
    assert limited or (begun == called and due == {})


# -- the rules one by one -------------------------------------------------------------------------------------


def play(rules: dict[str, Rule], labels: dict[str, list[str | None]] | None = None, most: int = 30) -> list[str]:
    """The calls in the order in which they finish, each as soon as it can."""
    model = Triggers(rules)
    due, done, given = model.begin(), list[str](), {name: list(items) for name, items in (labels or {}).items()}
    while due and len(done) < most:
        call = due.pop(0)
        done.append(call.path)
        rest = given.get(call.method)
        due += model.finish(call, rest.pop(0) if rest else None)
    return done


def on(condition: Condition | str, **fields: bool) -> Rule:
    return Rule(condition=Name(condition) if isinstance(condition, str) else condition, **fields)


START = Rule(start=True, unconditional=True)
A, B = Name("a"), Name("b")


def test_starts_with_a_condition_begin_only_where_there_are_no_others() -> None:
    gated = Rule(start=True, condition=Name("x"))
    assert play({"a": gated, "b": gated}) == ["a/1", "b/1"]
    assert play({"a": START, "b": gated}) == ["a/1"]
    assert play({"a": START, "r": on("a", router=True), "b": gated}, {"r": ["x"]}) == ["a/1", "r/1", "b/1"]


def test_routers_go_first_one_after_another_and_their_labels_after_them() -> None:
    rules = {"l": on("a"), "m": on("x"), "s": on("a", router=True), "r": on("a", router=True), "a": START}
    assert play(rules, {"r": ["x"], "s": ["y"]}) == ["a/1", "s/1", "r/1", "l/1", "m/1"]
    chained = {"a": START, "r": on("a", router=True), "s": on("x", router=True), "l": on("y"), "m": on("a")}
    assert play(chained, {"r": ["x"], "s": ["y"]}) == ["a/1", "r/1", "s/1", "m/1", "l/1"]
    assert play({"a": START, "r": on("a", router=True), "l": on("None")}, {"r": [None]}) == ["a/1", "r/1"]


def test_an_or_listener_is_called_once_and_a_router_each_time() -> None:
    assert play({"a": START, "b": START, "l": on(Or((A, B)))}) == ["a/1", "b/1", "l/1"]
    assert play({"a": START, "b": START, "r": on(Or((A, B)), router=True)}) == ["a/1", "b/1", "r/1", "r/2"]
    assert play({"a": START, "b": START, "l": on(Or((A,)))}) == ["a/1", "b/1", "l/1"]


def test_an_or_listener_is_armed_again_by_a_label_of_its_own() -> None:
    rules = {"a": START, "l": on(Or((A, Name("again")))), "r": on("l", router=True)}
    assert play(rules, {"r": ["again", "again", "end"]}) == ["a/1", "l/1", "r/1", "l/2", "r/2", "l/3", "r/3"]


def test_an_or_listener_is_armed_again_on_a_cycle() -> None:
    # write, review, revise, review: the router leads back to it through another method
    rules = {"a": START, "l": on(Or((A, Name("fix")))), "r": on("l", router=True), "fix": on("bad")}
    assert play(rules, {"r": ["bad", "bad", "ok"]}) == [
        "a/1",
        "l/1",
        "r/1",
        "fix/1",
        "l/2",
        "r/2",
        "fix/2",
        "l/3",
        "r/3",
    ]
    # a loop whose branches take turns, joined by or_
    rules = {
        "a": START,
        "r": on(Or((A, Name("again"))), router=True),
        "p": on("p!"),
        "q": on("q!"),
        "l": on(Or((Name("p"), Name("q")))),
        "s": on("l", router=True),
    }
    played = play(rules, {"r": ["p!", "q!", "p!"], "s": ["again", "again", "end"]})
    assert [path for path in played if path[0] in "pql"] == ["p/1", "l/1", "q/1", "l/2", "p/2", "l/3"]


def test_without_a_router_nothing_leads_back_to_an_or_listener() -> None:
    assert play({"a": START, "l": on(Or((A, B))), "b": on("l")}) == ["a/1", "l/1", "b/1"]


def test_and_waits_for_all_and_begins_anew() -> None:
    rules = {"a": START, "b": on("a"), "l": on(And((A, B))), "r": on("l", router=True), "c": on("again")}
    assert play(rules, {"r": ["again"]}) == ["a/1", "b/1", "l/1", "r/1", "c/1"]
    nested = {"a": START, "b": START, "c": START, "l": on(And((A, Or((B, Name("c"))))))}
    assert play(nested) == ["a/1", "b/1", "c/1", "l/1"]
