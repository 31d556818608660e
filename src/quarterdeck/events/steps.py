"""Events of what is done there: by agents, models, tools, guardrails and persons."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from quarterdeck.events.event import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentStarted(Event):
    """An agent began to work: one try of a task, a piece that was handed to it, or a question to it alone.

    Args:
        agent: The agent's role.
        tools: The names of its tools.
        prompt: What it is asked to do.
    """

    type: ClassVar[str] = "agent.started"
    durable: ClassVar[bool] = False
    agent: str
    tools: list[str] = field(default_factory=list[str])
    prompt: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentFinished(Event):
    """An agent has an answer, or has failed.

    Args:
        agent: The agent's role.
        output: Its answer.
        error: What went wrong; "" where nothing did.
    """

    type: ClassVar[str] = "agent.finished"
    durable: ClassVar[bool] = False
    agent: str
    output: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanStarted(Event):
    """An agent begins to plan its work. In a run that goes on, also where the plan is there already.

    Args:
        agent: The agent's role.
    """

    type: ClassVar[str] = "plan.started"
    durable: ClassVar[bool] = False
    agent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanFinished(Event):
    """An agent has a plan, or goes on without one.

    Args:
        agent: The agent's role.
        plan: Its steps as numbered lines; empty where there is no plan.
        ready: Whether the model said that it is ready.
        attempts: How many attempts it took.
        error: Why there is none, or why it was not looked over to the end.
    """

    type: ClassVar[str] = "plan.finished"
    durable: ClassVar[bool] = False
    agent: str = ""
    plan: str = ""
    ready: bool = False
    attempts: int = 1
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
        policy: What a failed call does to the task: ``ignore``, ``warn`` or ``raise``; "" where it did not fail.
        changed: True where a hook changed the output: it is not what an equal call would give.
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
    policy: str = ""
    changed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardrailStarted(Event):
    """A guardrail is asked about an output.

    Args:
        guardrail: The guardrail's name.
    """

    type: ClassVar[str] = "guardrail.started"
    durable: ClassVar[bool] = False
    guardrail: str


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
class ConditionDecided(Event):
    """A conditional task's condition has said whether the task is to be done.

    Args:
        task: The task's name.
        met: Whether it is; else it is skipped.
    """

    type: ClassVar[str] = "condition.decided"
    task: str
    met: bool


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
