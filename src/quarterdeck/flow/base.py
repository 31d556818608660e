"""What a flow is, and what it shows of its last run: the part of ``Flow`` that runs nothing."""

from __future__ import annotations

import uuid
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar, cast, get_args, get_origin

from pydantic import BaseModel

from quarterdeck.crew.contract import Contract
from quarterdeck.errors import ConfigError
from quarterdeck.events import Event
from quarterdeck.flow.definition import Graph, graph_of, under_way
from quarterdeck.flow.execution import Execution
from quarterdeck.flow.flow_config import InputProvider
from quarterdeck.flow.human_feedback import HumanFeedbackResult
from quarterdeck.flow.inputs import refuse
from quarterdeck.flow.persistence import FlowPersistence, Persisting
from quarterdeck.flow.plot import mermaid, page
from quarterdeck.flow.state import State, StateKind, id_of, kind_of
from quarterdeck.llm.types import UsageMetrics

T = TypeVar("T", bound="dict[str, Any] | BaseModel")


class FlowBase(Generic[T]):
    """A flow's definition, and its last run: see ``Flow``."""

    initial_state: Any = None
    name: str = "Flow"
    max_method_calls: int = 100
    stream: bool = False
    input_provider: InputProvider | None = None
    persisting: Persisting | None = None

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
        persistence: FlowPersistence | None = None,
        input_provider: InputProvider | None = None,
        **fields: Any,
    ) -> None:
        refuse(tracing=tracing, memory=memory, checkpoint=checkpoint)
        del suppress_flow_events, defer_trace_finalization  # nothing is printed or sent
        if name is not None:
            self.name = name
        if max_method_calls is not None:
            self.max_method_calls = max_method_calls
        if initial_state is not None:
            self.initial_state = initial_state
        if stream is not None:
            self.stream = stream
        if persistence is not None:
            self.persisting = Persisting(persistence)
        if input_provider is not None:
            self.input_provider = input_provider
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

    def under_way(self, events: Sequence[Event]) -> list[str]:
        """The methods that a run with these events so far is at."""
        return under_way(self.graph, events)

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

    @property
    def human_feedback_history(self) -> list[HumanFeedbackResult]:
        """What persons have said in the run."""
        return list(self._execution.feedback) if self._execution else []

    @property
    def last_human_feedback(self) -> HumanFeedbackResult | None:
        """What a person has said last."""
        return self.human_feedback_history[-1] if self.human_feedback_history else None

    def _store(self) -> FlowPersistence | None:
        """Where states are kept; None where they are not."""
        marks = [method.mark.persisting for method in self.graph.methods.values()]
        persisting = next((item for item in [self.persisting, *marks] if item), None)
        return persisting.store() if persisting else None

    # -- as a picture -------------------------------------------------------------------------------------

    def to_mermaid(self) -> str:
        """The flow as Mermaid text: a flowchart of its methods."""
        return mermaid(self.graph)

    def plot(self, filename: str = "crewai_flow.html", show: bool = True) -> str:
        """Writes the flow as a picture: one HTML page with all that it needs in it (CrewAI: ``plot``).

        Args:
            filename: The file; ``.html`` is added where it is missing.
            show: Whether it is opened in the browser.

        Returns:
            The file's path.
        """
        path = Path(filename if filename.endswith((".html", ".htm")) else f"{filename}.html").resolve()
        path.write_text(page(self.name, self.graph), encoding="utf-8")
        if show:
            webbrowser.open(path.as_uri())
        return str(path)


def _state_type(cls: type[Any]) -> Any:
    """The class in ``Flow[...]``, of this class or a base."""
    for owner in cls.__mro__:
        for base in vars(owner).get("__orig_bases__", ()):
            origin = get_origin(base)
            if isinstance(origin, type) and issubclass(origin, FlowBase) and not isinstance(get_args(base)[0], TypeVar):
                return get_args(base)[0]
    return None
