"""What can happen in a run: one frozen, typed event for each thing, to JSON and back.

An event is *durable* when the journal keeps it: it then has a ``seq``, its place in the run. The others (a step that
begins, a piece of text) are only shown to whoever watches. The JSON form carries ``v``, the version of this
module's format; fields may be added within a version, never renamed or removed.
"""

from __future__ import annotations

import functools
import itertools
import json
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal, Self, cast, get_args

from quarterdeck.errors import ConfigError

VERSION = 1

RunStatus = Literal["completed", "failed", "limited", "cancelled", "in_doubt", "pending_human_input"]
"""How a run can end. ``limited``: a budget ended it; ``in_doubt``: a tool that must not be repeated was under way
when the process died, and a person has to say whether it happened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened.

    Args:
        run_id: The run that it happened in; set by the run.
        seq: Its place in the run's journal, from 1; None for an event that the journal does not keep.
        time: When it happened, in seconds since 1970.
        path: The step, such as ``research/1/llm/2`` (task, attempt, kind, number); "" for the run itself.
    """

    type: ClassVar[str] = ""
    durable: ClassVar[bool] = True

    run_id: str = ""
    seq: int | None = None
    time: float = field(default_factory=time.time)
    path: str = ""

    def stamped(self, run_id: str, seq: int | None) -> Self:
        """This event as part of a run. It is stamped in place, before anybody else has seen it."""
        object.__setattr__(self, "run_id", run_id)
        object.__setattr__(self, "seq", seq)
        return self

    def to_dict(self) -> dict[str, Any]:
        """The event as a plain dict, with ``v`` and ``type``; values are the event's own, not copies."""
        data: dict[str, Any] = {"v": VERSION, "type": self.type}
        for name in _names(type(self)):
            data[name] = getattr(self, name)
        return data

    def to_json(self) -> str:
        """The event as one line of JSON, with ``v`` and ``type``: see ``json_of``."""
        return json_of(self.to_dict())


@functools.cache
def _names(kind: type[Event]) -> tuple[str, ...]:
    return tuple(f.name for f in fields(kind))


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def json_of(data: Any) -> str:
    """A value as one line of JSON.

    It is JSON for every reader (RFC 8259) and can be encoded as UTF-8: numbers that JSON does not have are
    written as their names (``"NaN"``, ``"Infinity"``, ``"-Infinity"``), and where a text holds an unpaired
    surrogate, all that is not ASCII is written as escapes.
    """
    try:
        text = _encode(data)
    except ValueError:
        text = _encode(_with_named_numbers(data))
    return text if text.isascii() or is_unicode(text) else json.dumps(json.loads(text), separators=(",", ":"))


def _with_named_numbers(value: Any) -> Any:
    """A copy in which each number that JSON does not have is its name."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: _with_named_numbers(item) for key, item in cast("dict[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_with_named_numbers(item) for item in cast("list[Any]", value)]
    return value


def is_unicode(text: str) -> bool:
    """Whether a text can be encoded: it holds no unpaired surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(Event):
    """A run began, or (``segment`` > 1) went on after it had been interrupted.

    Args:
        crew: The crew's name.
        given: The inputs as they were given.
        inputs: The inputs that it works with: after ``before_kickoff``, with defaults put in.
        definition: Digest of the crew's definition.
        segment: 1 for the first start, then one more for each time that it goes on.
    """

    type: ClassVar[str] = "run.started"
    crew: str
    given: dict[str, Any] = field(default_factory=dict[str, Any])
    inputs: dict[str, Any] = field(default_factory=dict[str, Any])
    definition: str = ""
    segment: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished(Event):
    """A run ended, in the way that ``status`` says.

    Args:
        status: How it ended.
        output: The final (or partial) output's text.
        error: What went wrong, in words.
        ended_by: The limit that ended it, or the path of the step in doubt.
        usage: Tokens and calls of the whole run, by ``UsageMetrics``' names.
        cost_usd: Cost of the whole run; None where a price is not known.
        seconds: Time that the run was under way.
    """

    type: ClassVar[str] = "run.finished"
    status: RunStatus
    output: str = ""
    error: str = ""
    ended_by: str = ""
    usage: dict[str, int] = field(default_factory=dict[str, int])
    cost_usd: float | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskStarted(Event):
    """A task began.

    Args:
        task: The task's name.
        agent: The role of the agent that does it.
        index: The task's place in the crew, from 0.
    """

    type: ClassVar[str] = "task.started"
    durable: ClassVar[bool] = False
    task: str
    agent: str = ""
    index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFinished(Event):
    """A task has its accepted output.

    Args:
        output: The ``TaskOutput`` as a dict.
        seconds: Time from the task's start in this segment.
    """

    type: ClassVar[str] = "task.finished"
    task: str
    agent: str = ""
    index: int = 0
    output: dict[str, Any] = field(default_factory=dict[str, Any])
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFailed(Event):
    """A task could not be done; the run fails."""

    type: ClassVar[str] = "task.failed"
    task: str
    agent: str = ""
    index: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LLMStarted(Event):
    """A call to a model is about to be sent."""

    type: ClassVar[str] = "llm.started"
    durable: ClassVar[bool] = False
    model: str
    agent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LLMDelta(Event):
    """A piece of a model's answer."""

    type: ClassVar[str] = "llm.delta"
    durable: ClassVar[bool] = False
    text: str
    agent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LLMRetried(Event):
    """A call to a model failed and will be sent again.

    Args:
        error: What went wrong.
        attempt: The number of the try that failed, from 1.
        wait: Seconds until the next one.
    """

    type: ClassVar[str] = "llm.retried"
    durable: ClassVar[bool] = False
    model: str
    error: str
    attempt: int
    wait: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LLMFinished(Event):
    """A model has answered: the checkpoint of a paid call.

    Args:
        model: The model that was called.
        messages: The prompt: the whole conversation that was sent.
        tools: Names of the tools that the model was offered.
        text: The answer's text.
        tool_calls: The calls the model wants made, in OpenAI's form.
        finish_reason: Why the answer ended.
        reasoning: The model's reasoning, where it is shown.
        usage: Tokens of this call, by ``UsageMetrics``' names.
        cost_usd: Cost of this call; None where the price is not known.
        seconds: Time from first sending to the answer, retries included.
        response_id: The provider's id.
    """

    type: ClassVar[str] = "llm.finished"
    model: str
    agent: str = ""
    messages: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    tools: list[str] = field(default_factory=list[str])
    text: str = ""
    tool_calls: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    finish_reason: str = "stop"
    reasoning: str | None = None
    usage: dict[str, int] = field(default_factory=dict[str, int])
    cost_usd: float | None = None
    seconds: float = 0.0
    response_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LLMFailed(Event):
    """A call to a model failed for good."""

    type: ClassVar[str] = "llm.failed"
    durable: ClassVar[bool] = False
    model: str
    error: str
    error_type: str = ""
    agent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolStarted(Event):
    """A tool that is safe to repeat is about to be called."""

    type: ClassVar[str] = "tool.started"
    durable: ClassVar[bool] = False
    tool: str
    arguments: dict[str, Any] = field(default_factory=dict[str, Any])
    agent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolIntended(Event):
    """A tool that must not be repeated (``retry="never"``) is about to be called; kept before it is."""

    type: ClassVar[str] = "tool.intended"
    tool: str
    arguments: dict[str, Any] = field(default_factory=dict[str, Any])
    agent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolFinished(Event):
    """A tool was called, or its call was refused.

    Args:
        arguments: The arguments as they were given to the tool; the model's own where they did not fit.
        output: What the model is told.
        ok: False where the call failed.
        error: The whole error, with its traceback, for the trace; the model does not see it.
        reason: Why the call failed, in CrewAI's words (``invalid_input``, ``exception``, ``usage_limit``, …); or "".
        cached: True where an earlier result was used again.
        seconds: Time the tool took.
        is_answer: True where the output is the task's answer (``result_as_answer``).
    """

    type: ClassVar[str] = "tool.finished"
    tool: str
    arguments: dict[str, Any] = field(default_factory=dict[str, Any])
    agent: str = ""
    output: str = ""
    ok: bool = True
    error: str = ""
    reason: str = ""
    cached: bool = False
    seconds: float = 0.0
    is_answer: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardrailFinished(Event):
    """A guardrail has judged a task's output.

    Args:
        guardrail: The guardrail's name.
        ok: Whether it let the output pass.
        feedback: What it said where it did not.
        output: The output it put in place of the task's, or None.
    """

    type: ClassVar[str] = "guardrail.finished"
    guardrail: str
    ok: bool
    feedback: str = ""
    output: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HumanRequested(Event):
    """A person is asked about a task's output; the run may end its segment until the answer is there.

    Args:
        task: The task's name.
        agent: The agent's role.
        output: What the person is to judge.
        question: What the person is asked.
    """

    type: ClassVar[str] = "human.requested"
    task: str
    agent: str = ""
    output: str = ""
    question: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HumanAnswered(Event):
    """A person has answered.

    Args:
        approved: Whether the output is accepted.
        feedback: What the person said.
    """

    type: ClassVar[str] = "human.answered"
    task: str
    approved: bool
    feedback: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitReached(Event):
    """A limit ended the run, or an agent's loop (``max_iter``).

    Args:
        limit: The limit's name.
        allowed: Its value.
        used: What had been used.
    """

    type: ClassVar[str] = "limit.reached"
    durable: ClassVar[bool] = False
    limit: str
    allowed: float
    used: float


AnyEvent = (
    RunStarted
    | RunFinished
    | TaskStarted
    | TaskFinished
    | TaskFailed
    | LLMStarted
    | LLMDelta
    | LLMRetried
    | LLMFinished
    | LLMFailed
    | ToolStarted
    | ToolIntended
    | ToolFinished
    | GuardrailFinished
    | HumanRequested
    | HumanAnswered
    | LimitReached
)
EVENT_TYPES: Mapping[str, type[Event]] = {kind.type: kind for kind in get_args(AnyEvent)}


@functools.cache
def _adapter(kind: type[Event]) -> Any:
    from pydantic import TypeAdapter  # not needed to make events, only to read them

    return TypeAdapter(kind)


def event_from_dict(data: Mapping[str, Any]) -> Event:
    """An event from its dict form, checked.

    Raises:
        ConfigError: The version is newer than this one knows, the type is unknown, or a field does not fit.
    """
    version = data.get("v", VERSION)
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ConfigError(f"event 'v' must be a whole number from 1, got {version!r}")
    if version > VERSION:
        raise ConfigError(f"event format {version} is newer than this version's {VERSION}: upgrade quarterdeck")
    kind = EVENT_TYPES.get(str(data.get("type")))
    if kind is None:
        raise ConfigError(f"event type {data.get('type')!r} is not known; known are {sorted(EVENT_TYPES)}")
    known = {name: data[name] for name in _names(kind) if name in data}
    try:
        return _adapter(kind).validate_python(known)
    except ValueError as error:
        raise ConfigError(f"event {kind.type} cannot be read: {error}") from None


def event_from_json(text: str) -> Event:
    """An event from its JSON form; raises as ``event_from_dict`` does."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"an event must be a JSON object: {error}") from None
    if not isinstance(data, dict):
        raise ConfigError(f"an event must be a JSON object, got {text[:60]!r}")
    return event_from_dict(data)  # pyright: ignore[reportUnknownArgumentType]


Subscriber = Callable[[Event], None]

_subscribers: dict[int, tuple[Subscriber, tuple[type[Event], ...]]] = {}
_numbers = itertools.count()
_lock = threading.Lock()


def subscribe(function: Subscriber, *types: type[Event]) -> Callable[[], None]:
    """Calls ``function`` with the events of every run in this process, in order within a run.

    It is called on the event loop: it must be quick and must not block. An exception in it is logged and
    does not disturb the run.

    Args:
        function: Called with each event.
        types: Only these event classes; none means all.

    Returns:
        A function that ends the subscription.
    """
    with _lock:
        number = next(_numbers)
        _subscribers[number] = (function, types or (Event,))

    def unsubscribe() -> None:
        with _lock:
            _subscribers.pop(number, None)

    return unsubscribe


def subscribers() -> list[tuple[Subscriber, tuple[type[Event], ...]]]:
    """The functions subscribed now, with the classes that each wants."""
    return list(_subscribers.values())
