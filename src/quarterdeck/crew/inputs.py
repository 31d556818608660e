"""The inputs of a kickoff, as they are given."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from quarterdeck.agent.interpolation import as_text
from quarterdeck.errors import InputError
from quarterdeck.runtime.options import RunOptions


def checked(inputs: Any) -> dict[str, Any]:
    """A copy of a kickoff's inputs: a run's inputs cannot change under it.

    Raises:
        InputError: They are no dict of names and values that can be written into a text.
    """
    if inputs is None:
        return {}
    if not isinstance(inputs, Mapping):
        raise InputError(f"inputs must be a dict of names and values, got {type(inputs).__name__}")
    checked: dict[str, Any] = {}
    for name, value in inputs.items():  # pyright: ignore[reportUnknownVariableType] - a user's mapping
        if not isinstance(name, str):
            raise InputError(f"names of inputs must be str, got {name!r}")
        as_text(name, value)
        checked[name] = value
    return json.loads(json.dumps(checked))


def each(inputs: Any) -> Sequence[Mapping[str, Any]]:
    """The inputs of several runs.

    Raises:
        InputError: They are no list.
    """
    if isinstance(inputs, list | tuple):
        return cast("Sequence[Mapping[str, Any]]", inputs)
    raise InputError(f"kickoff_for_each takes a list of inputs, one dict for each run; got {type(inputs).__name__}")


def numbered(options: RunOptions, number: int) -> RunOptions:
    """The options of one of several runs."""
    run_id = options.get("run_id")
    return {**options, "run_id": f"{run_id}/{number}"} if run_id else options
