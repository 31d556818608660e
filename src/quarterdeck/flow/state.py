"""A flow's state: a pydantic model or a dict that always has an ``id``."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from pydantic import BaseModel, Field, ValidationError, create_model

from quarterdeck.crew.contract import Contract
from quarterdeck.errors import ConfigError, InputError
from quarterdeck.flow.values import Classes, from_json, name_of, to_json

State = Any
"""A pydantic model's instance, or a dict."""


class FlowState(BaseModel):
    """The base of a flow's state (CrewAI: ``FlowState``).

    Args:
        id: The state's id, which is the run's where that is not given another.
    """

    id: str = Field(default_factory=lambda: str(uuid.uuid4()))


class _Free(BaseModel, extra="allow"):
    """The contract of a flow with a dict as its state: any inputs."""


@dataclass(frozen=True)
class StateKind:
    """What a flow's state is.

    Args:
        model: The model, with an ``id``; None for a dict.
        initial: Fields that are set at the beginning.
    """

    model: type[BaseModel] | None = None
    initial: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def known(self) -> dict[str, type[Any]]:
        """The model by its name: with the id that it was given, it is not that of its module."""
        return {name_of(self.model): self.model} if self.model else {}

    def new(self, values: Mapping[str, Any], state_id: str) -> State:
        """The state that a run begins with.

        Args:
            values: What is set besides the initial fields; of a model, those that are fields.
            state_id: Its id.

        Raises:
            InputError: A field is missing or does not fit.
        """
        fields: dict[str, Any] = {**copied(self.initial), **values, "id": state_id}
        if self.model is None:
            return fields
        if self.model.model_config.get("extra") != "allow":
            names = {name for field, info in self.model.model_fields.items() for name in (field, info.alias)}
            fields = {name: fields[name] for name in fields if name in names}
        try:
            return self.model.model_validate(fields, by_name=True, by_alias=True)
        except ValidationError:
            Contract.of_model(self.model).check(fields)
            raise

    def restore(self, data: Any, classes: Mapping[str, str]) -> State:
        """A state from its JSON."""
        fields = from_json(data, {place: name for place, name in classes.items() if place})
        if self.model is None:
            return fields
        try:
            return self.model.model_validate(fields, by_name=True, by_alias=True)
        except ValidationError as error:
            raise InputError(f"the state that was kept does not fit {self.model.__name__} any more: {error}") from None

    @property
    def contract(self) -> Contract:
        """The inputs that the flow takes: the state's fields, but for the id."""
        if self.model is None:
            return Contract.of_model(_Free)
        given: dict[str, Any] = {}
        for name, info in self.model.model_fields.items():
            if name == "id":
                continue
            changed = copy.copy(info)
            if name in self.initial:
                changed.default, changed.default_factory = self.initial[name], None
            given[name] = (info.annotation, changed)
        return Contract.of_model(create_model(self.model.__name__, __config__=None, **given))


def kind_of(state: Any, initial: Any, flow: str) -> StateKind:
    """What the state of a flow is.

    Args:
        state: The class in ``Flow[...]``, or None.
        initial: ``initial_state``: a model, an instance of one, a dict, or a function that makes one of these.
        flow: The flow's name, for the error.

    Raises:
        ConfigError: It is none of these.
    """
    if initial is not None and not isinstance(initial, type | dict | BaseModel) and callable(initial):
        initial = cast("Any", initial)()
    fields: dict[str, Any] = {}
    if isinstance(initial, BaseModel):
        fields = {name: getattr(initial, name) for name in type(initial).model_fields}
        state = type(initial)
    elif isinstance(initial, dict):
        fields = dict(cast("dict[str, Any]", initial))
    elif isinstance(initial, type):
        state = initial
    elif initial is not None:
        raise ConfigError(f"flow {flow}: initial_state must be a pydantic model or a dict, got {initial!r}")
    if state is None or state is dict or getattr(state, "__origin__", None) is dict:
        return StateKind(None, fields)
    if not (isinstance(state, type) and issubclass(state, BaseModel)):
        raise ConfigError(f"flow {flow}: the state must be a pydantic model or dict, got {state!r}")
    return StateKind(_with_id(state), fields)


def _with_id(model: type[BaseModel]) -> type[BaseModel]:
    if "id" in model.model_fields:
        return model
    return create_model(model.__name__, __base__=(model, FlowState), __module__=model.__module__)


def id_of(state: State) -> str:
    """A state's id."""
    return str(state.get("id", "") if isinstance(state, dict) else getattr(state, "id", ""))  # pyright: ignore


def dump(state: State, what: str, *, strict: bool = True) -> tuple[dict[str, Any], Classes]:
    """A state as JSON; see ``values.to_json``."""
    data, classes = to_json(state, what, strict=strict)
    classes.pop("", None)  # the flow knows its own class
    return data, classes


# -- methods side by side ---------------------------------------------------------------------------------


class Fork:
    """A copy of the state for one of several methods that run side by side, and what it has changed there.

    Args:
        state: The run's state.
    """

    def __init__(self, state: State) -> None:
        self._before = copied(state)
        self.state = copied(state)

    def merge_into(self, state: State) -> None:
        """Puts what was changed into the run's state, which others may have changed meanwhile."""
        before, mine, theirs = fields_of(self._before), fields_of(self.state), fields_of(state)
        merged = _merged_dicts(before, mine, theirs)
        for name in theirs.keys() - merged.keys():
            _remove(state, name)
        for name, value in merged.items():
            if name not in theirs or value is not theirs[name]:
                _set(state, name, value)


def copied(state: Any) -> Any:
    """A copy of a state; a part that cannot be copied (a lock, a client) is shared."""
    try:
        return copy.deepcopy(state)
    except Exception:
        pass
    if isinstance(state, dict):
        return {name: copied(value) for name, value in cast("dict[Any, Any]", state).items()}
    if isinstance(state, BaseModel):
        return state.model_copy(update={name: copied(value) for name, value in fields_of(state).items()})
    return state


def own_containers(value: Any) -> Any:
    """Lists, dicts and sets anew, with the same things in them."""
    if type(value) is list:
        return [own_containers(item) for item in cast("list[Any]", value)]
    if type(value) is dict:
        return {key: own_containers(item) for key, item in cast("dict[Any, Any]", value).items()}
    return set(cast("set[Any]", value)) if type(value) is set else value


def fields_of(state: State) -> dict[str, Any]:
    if isinstance(state, BaseModel):
        return dict(state.__dict__) | (state.model_extra or {})
    return cast("dict[str, Any]", state)


def _set(state: State, name: str, value: Any) -> None:
    if isinstance(state, BaseModel):
        setattr(state, name, value)
    else:
        state[name] = value


def _remove(state: State, name: str) -> None:
    if isinstance(state, BaseModel):
        delattr(state, name)
    else:
        del state[name]


_MISSING: Any = object()


def _merged_dicts(before: dict[Any, Any], mine: dict[Any, Any], theirs: dict[Any, Any]) -> dict[Any, Any]:
    merged: dict[Any, Any] = {}
    for name in [*theirs, *(name for name in mine if name not in theirs)]:
        value = _merged(before.get(name, _MISSING), mine.get(name, _MISSING), theirs.get(name, _MISSING))
        if value is not _MISSING:
            merged[name] = value
    return merged


def _merged(before: Any, mine: Any, theirs: Any) -> Any:
    """Both changes to one value. What both have added to is the sum of it; else the later one wins."""
    if _same(before, mine):
        return theirs
    if _same(before, theirs) or type(mine) is not type(theirs):
        return mine
    if isinstance(mine, BaseModel) and type(before) is type(mine):
        fields = _merged_dicts(fields_of(before), fields_of(mine), fields_of(theirs))
        return mine.model_copy(update=fields)
    if isinstance(mine, dict):
        base = cast("dict[Any, Any]", before) if isinstance(before, dict) else {}
        return _merged_dicts(base, cast("dict[Any, Any]", mine), theirs)
    if type(before) is type(mine):
        return _sum(before, mine, theirs)
    if before is _MISSING and type(mine) in (int, float, str, list, tuple, set, frozenset):
        return _sum(type(mine)(), mine, theirs)
    return mine


def _sum(before: Any, mine: Any, theirs: Any) -> Any:
    if isinstance(mine, int | float) and not isinstance(mine, bool):
        return theirs + (mine - before)
    if isinstance(mine, set | frozenset):
        return (theirs | (mine - before)) - (before - mine)  # pyright: ignore[reportUnknownVariableType]
    if isinstance(mine, str) and not before:  # set, rather than added to
        return mine
    if isinstance(mine, list | tuple | str) and mine[: len(before)] == before:
        return theirs + mine[len(before) :]  # pyright: ignore[reportUnknownVariableType]
    return mine  # pyright: ignore[reportUnknownVariableType]


def _same(one: Any, other: Any) -> bool:
    if one is other:
        return True
    try:
        return type(one) is type(other) and bool(one == other)
    except Exception:  # an array, say, which has no one answer
        return False
