"""``@human_feedback``: a person judges a method's result, and may choose what comes next."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from pydantic import BaseModel, Field

from quarterdeck.errors import ConfigError
from quarterdeck.flow.decorators import as_labels, marked

if TYPE_CHECKING:
    from quarterdeck.flow.output import FlowOutput

F = TypeVar("F", bound=Callable[..., Any])


class HumanFeedbackResult(BaseModel):
    """What a person said of a method's result: what the method's listeners are given (CrewAI: ``HumanFeedbackResult``).

    Args:
        output: What the method returned.
        feedback: What the person said; "" where nothing.
        outcome: The outcome read from it; None where the method has no ``emit``.
        timestamp: When it came.
        method_name: The method.
        metadata: That of ``@human_feedback``.
    """

    output: Any = None
    feedback: str = ""
    outcome: str | None = None
    timestamp: datetime = Field(default_factory=lambda: datetime.now(UTC))
    method_name: str = ""
    metadata: dict[str, Any] = Field(default_factory=dict[str, Any])


@dataclass(slots=True)
class PendingFeedbackContext:
    """A question to a person, for a provider (CrewAI: ``PendingFeedbackContext``).

    Args:
        flow_id: The state's id.
        flow_class: The flow's class, as ``module.Name``.
        method_name: The method.
        method_output: What it returned.
        message: What the person is asked.
        emit: The outcomes that there can be.
        default_outcome: The outcome of an empty feedback.
        metadata: That of ``@human_feedback``.
        path: The question's path in the run, such as ``review/1/human/1``.
        run_id: The run.
        requested_at: When it was asked, in ISO 8601.
        trail: The events of the methods that have finished, for ``from_pending``.
    """

    flow_id: str
    flow_class: str
    method_name: str
    method_output: Any
    message: str
    emit: list[str] | None = None
    default_outcome: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])
    path: str = ""
    run_id: str = ""
    requested_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat())
    trail: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def to_dict(self) -> dict[str, Any]:
        """It as a dict."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PendingFeedbackContext:
        """It from its dict."""
        return cls(**{item.name: data[item.name] for item in fields(cls) if item.name in data})


class HumanFeedbackPending(Exception):
    """Raised by a provider whose answer comes later; ``kickoff`` then returns it (CrewAI: ``HumanFeedbackPending``).

    Go on with ``MyFlow.from_pending(flow_id).resume(feedback)``; a journaled run also with the same ``kickoff`` and
    ``answers={pending.ended_by: HumanAnswer(True, feedback)}``.

    Args:
        context: The question.
        callback_info: What the provider wants kept with it, such as where it has asked.
        message: In words.
    """

    output: FlowOutput

    def __init__(
        self,
        context: PendingFeedbackContext,
        callback_info: dict[str, Any] | None = None,
        message: str | None = None,
    ) -> None:
        super().__init__(message or f"{context.method_name!r} waits for a person's feedback")
        self.context = context
        self.callback_info = callback_info or {}

    @property
    def status(self) -> str:
        """``pending_human_input``."""
        return self.output.status

    @property
    def ended_by(self) -> str:
        """The question's path."""
        return self.output.ended_by

    @property
    def reason(self) -> str:
        """The same in words."""
        return self.output.reason

    @property
    def raw(self) -> str:
        """What the person is to judge, as text."""
        return self.output.raw


class HumanFeedbackProvider(Protocol):
    """Asks a person (CrewAI: ``HumanFeedbackProvider``). ``request_feedback`` may be async, and may raise
    ``HumanFeedbackPending``."""

    def request_feedback(self, context: PendingFeedbackContext, flow: Any) -> Any: ...


@dataclass(frozen=True, slots=True)
class Feedback:
    """How a person is asked about a method's result: see ``human_feedback``."""

    message: str
    emit: tuple[str, ...] = ()
    llm: Any = None
    default_outcome: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    provider: HumanFeedbackProvider | None = None


DEFAULT_LLM = "default"
"""Stands for the default model."""


def human_feedback(
    message: str,
    emit: Sequence[str] | None = None,
    llm: Any = DEFAULT_LLM,
    default_outcome: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    provider: HumanFeedbackProvider | None = None,
    learn: bool = False,
    learn_source: str = "hitl",
    learn_strict: bool = False,
) -> Callable[[F], F]:
    """Asks a person about a method's result (CrewAI: ``human_feedback``). Its listeners get a ``HumanFeedbackResult``.

    Args:
        message: What the person is asked.
        emit: Outcomes to listen to. The method is then a router: the outcome that the feedback means is its label.
        llm: The model that reads the outcome from the feedback, where it is not one of the outcomes by itself; by
            default the default model, None: none, the words decide.
        default_outcome: The outcome of an empty feedback; by default the first.
        metadata: Given on to the provider and the result.
        provider: Who asks; by default ``flow_config.hitl_provider``, else whoever is asked in this run (``human=``).
        learn: Not supported.
        learn_source: Not supported.
        learn_strict: Not supported.

    Raises:
        ConfigError: An argument is wrong.
    """
    del learn_source, learn_strict
    if learn:
        raise ConfigError("human_feedback learn is not supported in this version")
    if not isinstance(message, str) or not message.strip():  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(f"human_feedback message must be what the person is asked, got {message!r}")
    labels = as_labels(emit, "human_feedback") or ()
    if default_outcome is not None and default_outcome not in labels:
        raise ConfigError(f"human_feedback default_outcome must be one of emit {list(labels)}, got {default_outcome!r}")
    if provider is not None and not callable(getattr(provider, "request_feedback", None)):
        raise ConfigError(f"human_feedback provider needs a method request_feedback, got {type(provider).__name__}")
    feedback = Feedback(message, labels, llm, default_outcome, dict(metadata or {}), provider)

    def decorate(function: F) -> F:
        marked(function, "human_feedback").feedback = feedback
        return function

    return decorate
