"""What a flow's kickoff is given: inputs of the state, a trigger's payload, the state to begin with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from quarterdeck.concurrency import call_in_thread
from quarterdeck.errors import ConfigError, InputError
from quarterdeck.events import Event, MethodFinished
from quarterdeck.flow.persistence import FlowPersistence
from quarterdeck.flow.values import from_json
from quarterdeck.runtime.run import Run

PAYLOAD = "crewai_trigger_payload"
"""The input that starts with a parameter of this name are given."""
RESTORE = "restore_from_state_id"
"""The input that names the state to begin with; kickoff has an argument of the name."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """The inputs of one kickoff.

    Args:
        values: Those of the state.
        payload: A trigger's payload.
        restore: Id of the state that is forked; "" where none is.
    """

    values: dict[str, Any] = field(default_factory=dict[str, Any])
    payload: Any = None
    restore: str = ""

    @property
    def id(self) -> str:
        """The state's id, where it is given."""
        return str(self.values.get("id") or "")


def inputs_of(given: Any) -> Inputs:
    """The inputs as they were given, taken apart.

    Raises:
        InputError: They are no dict with names.
    """
    if given is None:
        return Inputs()
    if not isinstance(given, Mapping):
        raise InputError(f"inputs must be a dict of names and values, got {type(given).__name__}")
    values = dict(cast("Mapping[str, Any]", given))
    if not all(isinstance(name, str) for name in values):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InputError(f"names of inputs must be str, got {list(values)}")
    payload, restore = values.pop(PAYLOAD, None), values.pop(RESTORE, None)
    if restore is not None and not isinstance(restore, str):
        raise InputError(f"{RESTORE} must be the id of a state, got {restore!r}")
    return Inputs(values, payload, restore or "")


async def load_state(flow: str, state_id: str, store: FlowPersistence | None, run: Run) -> dict[str, Any]:
    """A state that was kept: where ``@persist`` keeps it, else by the run of that id in the same journal.

    Raises:
        InputError: There is none.
    """
    found = await call_in_thread(store.load_state, state_id) if store else None
    if found is None:
        found = _last_state(await run.events_of(state_id))
    if found is not None:
        return found
    where = "its persistence" if store else "its journal" if run.kept else ""
    if not where:
        raise InputError(f"flow {flow} keeps no states to restore {state_id!r} from: put @persist() on the class")
    raise InputError(
        f"flow {flow} has no state with the id {state_id!r} in {where}; leave it out to begin with a new one"
    )


def _last_state(events: list[Event]) -> dict[str, Any] | None:
    """The state that a run had after its last method."""
    ends = [event for event in events if isinstance(event, MethodFinished) and event.path.count("/") == 1]
    return from_json(ends[-1].state, ends[-1].state_classes) if ends else None


_REFUSED = {
    "tracing": "would send data to CrewAI; nothing leaves your machine here",
    "memory": "is not supported in this version",
    "checkpoint": "is not needed: kickoff(journal=..., run_id=...) keeps every step",
    "from_checkpoint": "is not needed: kickoff(journal=..., run_id=...) goes on from the last step",
    "input_files": "is not supported in this version",
}


def refuse(**given: Any) -> None:
    """Refuses arguments of CrewAI that have no meaning here, where they are set.

    Raises:
        ConfigError: One is.
    """
    for name, value in given.items():
        if value:
            raise ConfigError(f"Flow {name} {_REFUSED[name]}")
