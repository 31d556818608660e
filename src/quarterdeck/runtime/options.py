"""The options that every kickoff takes: of a crew, a flow and an agent."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypedDict, cast

from quarterdeck.budget import Budget
from quarterdeck.errors import ConfigError
from quarterdeck.events import Subscriber
from quarterdeck.runtime.human import HumanAnswer, HumanInput
from quarterdeck.runtime.journal import Journal, OpenRun

if TYPE_CHECKING:
    from quarterdeck.runtime.run import Run


class RunOptions(TypedDict, total=False):
    """How a run is kept, limited and watched.

    With a journal, each finished step is kept. A kickoff with the same ``run_id`` goes on from there: finished steps
    are not done again, an LLM call or a tool under way is done again with the same ``step_key``, and a tool with
    ``retry="never"`` under way ends the run as ``in_doubt``. A completed run gives its output.

    Args:
        journal: Path of a SQLite file, a ``postgresql://`` URL or a ``Journal``, or the ``OpenRun`` of one;
            None keeps nothing.
        run_id: The run's id; None makes one.
        budget: Limits. A run that reaches one gives its partial output, with status ``limited``.
        on_event: Called with each event of the run, on the event loop.
        stream: Asks the models to stream, for ``LLMDelta`` events. False: the output itself is given, also by a crew or
            flow with ``stream=True``.
        resolve: Answers for tool calls in doubt, by path: the result of a call that did happen, or None for one that
            did not and is to be made.
        human: Whom to ask where a task has ``human_input``; None: the provider set for this context, else the
            terminal. ``Later()`` ends the run as ``pending_human_input``.
        answers: Answers of persons that came meanwhile, by the question's path (the output's ``ended_by``).
        attach: Called with the ``Run`` before it begins, by whoever wants to stop it.
    """

    journal: str | os.PathLike[str] | Journal | OpenRun | None
    run_id: str | None
    budget: Budget | None
    on_event: Subscriber | None
    stream: bool
    resolve: Mapping[str, str | None] | None
    human: HumanInput | None
    answers: Mapping[str, HumanAnswer] | None
    attach: Callable[[Run], None] | None


def check_options(options: Mapping[str, Any]) -> None:
    """Checks what a kickoff was given.

    Raises:
        TypeError: An option is not known.
        ConfigError: An option is of another type.
    """
    for name, value in options.items():
        check = _CHECKS.get(name)
        if check is None:
            raise TypeError(f"kickoff has no option {name}; it takes inputs, {', '.join(sorted(_CHECKS))}")
        if value is not None and not check[0](value):
            shown = f" {value!r}" if isinstance(value, str | int | float) else ""
            raise ConfigError(f"{name} must be {check[1]}, got {type(value).__name__}{shown[:60]}")


def _all_of(kind: Any) -> Callable[[Any], bool]:
    def check(value: Any) -> bool:
        if not isinstance(value, Mapping):
            return False
        items = cast("Mapping[Any, Any]", value).items()
        return all(isinstance(path, str) and isinstance(item, kind) for path, item in items)

    return check


def _is(kind: Any) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kind)


_CHECKS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "journal": (_is(str | os.PathLike | Journal | OpenRun), "the path of a file, the URL of a database or a Journal"),
    "run_id": (_is(str), "a str"),
    "budget": (_is(Budget), "a Budget"),
    "on_event": (callable, "a function of an event"),
    "stream": (_is(bool), "True or False"),
    "resolve": (_all_of(str | None), "a dict of paths and results (str or None)"),
    "human": (lambda value: callable(getattr(value, "ask", None)), "an object with a method ask (a HumanInput)"),
    "answers": (_all_of(HumanAnswer), "a dict of paths and HumanAnswer"),
    "attach": (callable, "a function of a run"),
}
assert _CHECKS.keys() == RunOptions.__annotations__.keys()
