"""Flow: methods that call each other by events, with a state (CrewAI: ``crewai.flow.flow.Flow``)."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Mapping
from typing import Any, ClassVar, Generic, Self, TypeVar, Unpack, cast, get_args, get_origin

from pydantic import BaseModel

from quarterdeck.concurrency import run_sync
from quarterdeck.crew.contract import Contract
from quarterdeck.errors import ConfigError, InputError, JournalError, RunStopped
from quarterdeck.events import RunStatus, scope
from quarterdeck.flow.conditions import and_, or_
from quarterdeck.flow.decorators import listen, router, start
from quarterdeck.flow.definition import Graph, graph_of
from quarterdeck.flow.execution import Execution
from quarterdeck.flow.output import FlowOutput, as_text
from quarterdeck.flow.state import FlowState, State, StateKind, copied, dump, fields_of, id_of, kind_of
from quarterdeck.flow.values import to_json
from quarterdeck.llm.types import UsageMetrics
from quarterdeck.runtime.options import RunOptions
from quarterdeck.runtime.place import kickoff_here
from quarterdeck.runtime.run import Run

__all__ = ["Flow", "FlowState", "and_", "listen", "or_", "router", "start"]

T = TypeVar("T", bound="dict[str, Any] | BaseModel")

PAYLOAD = "crewai_trigger_payload"
"""The input that starts with a parameter of this name are given."""


class Flow(Generic[T]):
    """Methods that call each other by events, with a state: subclass it, and mark methods with ``@start``, ``@listen``
    and ``@router`` (CrewAI: ``Flow``).

    ``Flow[State]`` has an instance of a pydantic model as its state, ``Flow`` a dict; both always have an ``id``. One
    Flow object serves any number of runs at once: each run has an object of its own, with a state of its own, which the
    methods are bound to. After ``kickoff`` the object shows the run that ended last.

    Methods that run side by side each work on a copy of the state; what they have changed is put together when they
    finish: numbers, lists, sets and texts that both have added to have both additions, else the later change wins.

    Args:
        persistence: Where ``@persist`` keeps the state.
        name: The flow's name in events and traces; by default the class's.
        max_method_calls: How often one method may be called in a run. Default 100.
        initial_state: The fields' first values: a model's instance, a model or a dict.
        fields: First values of fields of the state.

    Raises:
        ConfigError: A field is none of the state's, or one of CrewAI's arguments has no meaning here. When the class
            is made: its methods do not fit together.
    """

    initial_state: Any = None
    name: str = "Flow"
    max_method_calls: int = 100
    stream: bool = False

    graph: ClassVar[Graph] = Graph({})

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in vars(cls):
            cls.name = cls.__name__
        cls.graph = graph_of(cls)

    def __init__(
        self,
        *,
        name: str | None = None,
        max_method_calls: int | None = None,
        initial_state: Any = None,
        stream: bool | None = None,
        tracing: bool | None = None,
        suppress_flow_events: bool = False,
        defer_trace_finalization: bool = False,
        memory: Any = None,
        checkpoint: Any = None,
        **fields: Any,
    ) -> None:
        _refuse(tracing=tracing, memory=memory, checkpoint=checkpoint)
        del suppress_flow_events, defer_trace_finalization  # nothing is printed or sent
        if name is not None:
            self.name = name
        if max_method_calls is not None:
            self.max_method_calls = max_method_calls
        if initial_state is not None:
            self.initial_state = initial_state
        if stream is not None:
            self.stream = stream
        kind = kind_of(_state_type(type(self)), self.initial_state, self.name)
        unknown = fields.keys() - kind.model.model_fields.keys() if kind.model else set[str]()
        if unknown:
            raise ConfigError(
                f"flow {self.name}: {', '.join(sorted(unknown))} is no argument and no field of its state"
            )
        self.__dict__["_kind"] = StateKind(kind.model, kind.initial | fields)

    # -- what it is ---------------------------------------------------------------------------------------

    @property
    def _state_kind(self) -> StateKind:
        kind = self.__dict__.get("_kind")
        if kind is None:  # a subclass with an __init__ that does not call this one's
            kind = self.__dict__["_kind"] = kind_of(_state_type(type(self)), self.initial_state, self.name)
        return kind

    @property
    def definition(self) -> str:
        """Digest of its methods and their conditions."""
        return self.graph.digest

    @property
    def steps(self) -> list[str]:
        """Names of its methods, in order."""
        return list(self.graph.methods)

    @property
    def contract(self) -> Contract:
        """The inputs that it takes: the fields of its state."""
        return self._state_kind.contract

    # -- its last run -------------------------------------------------------------------------------------

    @property
    def _execution(self) -> Execution | None:
        return self.__dict__.get("_current")

    @property
    def state(self) -> T:
        """The state: in a method, of its run; outside, of the run that ended last; before that, the first state, which
        may be changed."""
        execution = self._execution
        return cast("T", execution.state if execution else self._first_state())

    def _first_state(self) -> State:
        if "_first" not in self.__dict__:
            self.__dict__["_first"] = self._state_kind.new(self.__dict__.get("_template", {}), str(uuid.uuid4()))
        return self.__dict__["_first"]

    @property
    def flow_id(self) -> str:
        """The state's id."""
        return id_of(self.state)

    @property
    def method_outputs(self) -> list[Any]:
        """What each method returned, in the order in which they finished."""
        return list(self._execution.outputs) if self._execution else []

    @property
    def usage_metrics(self) -> UsageMetrics:
        """Tokens and calls of the run, each call counted once."""
        return self._execution.run.usage.model_copy() if self._execution else UsageMetrics()

    # -- kickoff ------------------------------------------------------------------------------------------

    def kickoff(
        self,
        inputs: Mapping[str, Any] | None = None,
        input_files: Any = None,
        from_checkpoint: Any = None,
        **options: Unpack[RunOptions],
    ) -> Any:
        """Runs the flow and waits for its result; for sync code, and inside a notebook. See ``akickoff``."""
        return run_sync(self.akickoff(inputs, input_files, from_checkpoint, **options))

    async def kickoff_async(
        self,
        inputs: Mapping[str, Any] | None = None,
        input_files: Any = None,
        from_checkpoint: Any = None,
        **options: Unpack[RunOptions],
    ) -> Any:
        """CrewAI's other name of ``akickoff``."""
        return await self.akickoff(inputs, input_files, from_checkpoint, **options)

    async def akickoff(
        self,
        inputs: Mapping[str, Any] | None = None,
        input_files: Any = None,
        from_checkpoint: Any = None,
        **options: Unpack[RunOptions],
    ) -> Any:
        """Runs the flow on this event loop.

        Args:
            inputs: First values of the state's fields; ``crewai_trigger_payload`` goes to the starts that take it.
            input_files: Not supported.
            from_checkpoint: Not needed: see ``run_id`` in ``RunOptions``.
            options: How the run is kept, limited and watched: see ``RunOptions``.

        Returns:
            What the last method that finished returned. Where the run ended early, a ``FlowOutput`` that says why.

        Raises:
            InputError: A field of the state is missing or does not fit.
            JournalMismatchError: The run began with other inputs or another flow.
            RecursionError: A method was called more than ``max_method_calls`` times.
            TaskError: A result or the state cannot be kept in the journal.
            Exception: What a method raised.
        """
        _refuse(input_files=input_files, from_checkpoint=from_checkpoint)
        flow = self._of_run()
        try:
            output = await flow._run(inputs, options)  # pyright: ignore[reportPrivateUsage] - the same class
        finally:
            self.__dict__.update(flow.__dict__)
        return output.result if output.status == "completed" else output

    async def arun(self, inputs: Mapping[str, Any] | None = None, **options: Unpack[RunOptions]) -> FlowOutput:
        """As ``akickoff``, with all that came of the run, and without showing it on this object: for servers."""
        return await self._of_run()._run(inputs, options)

    def _of_run(self) -> Self:
        """An object for one run: it has what this one has, and a state of its own."""
        flow = object.__new__(type(self))
        with _copying:
            flow.__dict__.update(self.__dict__)
            first = self.__dict__.pop("_first", None)  # its id is that of one run
        flow.__dict__.pop("_current", None)
        if first is not None:
            self.__dict__["_template"] = fields_of(copied(first))
            flow.__dict__["_template"] = self.__dict__["_template"]
        return flow

    async def _run(self, inputs: Any, options: RunOptions) -> FlowOutput:
        if not self.graph.methods:
            raise ConfigError(f"flow {self.name} has no methods: mark one with @start()")
        given, payload = _checked(inputs)
        template: dict[str, Any] = dict(self.__dict__.get("_template", {}))
        first = self.__dict__.pop("_first", None)
        state_id = str(
            given.get("id") or options.get("run_id") or (id_of(first) if first is not None else uuid.uuid4())
        )
        if self.stream:
            options = {"stream": True, **options}

        async def work(run: Run) -> FlowOutput:
            made: list[State] = []

            async def prepare(_: dict[str, Any]) -> dict[str, Any]:
                made.append(self._state_kind.new({**template, **given}, state_id))
                return dump(made[0], f"flow {self.name}: state", strict=run.kept)[0]

            shown = to_json(inputs or {}, f"flow {self.name}: inputs", strict=run.kept)[0]
            begun = await run.begin(self.name, shown, self.definition, prepare)
            state = made[0] if made else self._state_kind.restore(begun, {})
            first_payload = run.given.get(PAYLOAD) if payload is None else payload
            execution = Execution(self, self.graph, self._state_kind, run, state, first_payload)
            self.__dict__["_current"] = execution
            return await self._end(run, execution)

        with scope(flow=self, crew=None, task=None, task_name="", task_index=None, agent=None, role=""):
            return await kickoff_here(self.name, options, work, new_id=state_id)

    async def _end(self, run: Run, execution: Execution) -> FlowOutput:
        try:
            await execution.all()
        except (RunStopped, asyncio.CancelledError) as error:
            stop = run.stop_behind(error)
            output = self._output(execution, stop.status, stop.ended_by, stop.reason)
            await run.end(output.status, output.raw, error=stop.reason, ended_by=stop.ended_by)
            return output
        except JournalError:
            raise
        except Exception as error:
            await run.end("failed", as_text(execution.result), error=f"{type(error).__name__}: {error}")
            raise
        output = self._output(execution)
        await run.end("completed", output.raw)
        return output

    def _output(
        self, execution: Execution, status: RunStatus = "completed", ended_by: str = "", reason: str = ""
    ) -> FlowOutput:
        run = execution.run
        return FlowOutput(
            raw=as_text(execution.result),
            result=execution.result,
            state=execution.state,
            method_outputs=list(execution.outputs),
            token_usage=run.usage.model_copy(),
            cost_usd=run.cost_usd,
            run_id=run.id,
            status=status,
            ended_by=ended_by,
            reason=reason,
        )


_copying = threading.Lock()


def _state_type(cls: type[Any]) -> Any:
    """The class in ``Flow[...]``, of this class or a base."""
    for owner in cls.__mro__:
        for base in vars(owner).get("__orig_bases__", ()):
            origin = get_origin(base)
            if isinstance(origin, type) and issubclass(origin, Flow) and not isinstance(get_args(base)[0], TypeVar):
                return get_args(base)[0]
    return None


def _checked(inputs: Any) -> tuple[dict[str, Any], Any]:
    """The inputs without the trigger's payload, and that."""
    if inputs is None:
        return {}, None
    if not isinstance(inputs, Mapping):
        raise InputError(f"inputs must be a dict of names and values, got {type(inputs).__name__}")
    given = dict(cast("Mapping[str, Any]", inputs))
    if not all(isinstance(name, str) for name in given):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InputError(f"names of inputs must be str, got {list(given)}")
    return {name: value for name, value in given.items() if name != PAYLOAD}, given.get(PAYLOAD)


_REFUSED = {
    "tracing": "would send data to CrewAI; nothing leaves your machine here",
    "memory": "is not supported in this version",
    "checkpoint": "is not needed: kickoff(journal=..., run_id=...) keeps every step",
    "from_checkpoint": "is not needed: kickoff(journal=..., run_id=...) goes on from the last step",
    "input_files": "is not supported in this version",
}


def _refuse(**given: Any) -> None:
    for name, value in given.items():
        if value:
            raise ConfigError(f"Flow {name} {_REFUSED[name]}")
