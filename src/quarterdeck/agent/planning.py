"""An agent's plan: made before it works on a task, looked over again until it is ready, and put into the prompt."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import BaseModel, Field, field_validator

from quarterdeck.agent import framing, prompts
from quarterdeck.agent.fields import Definition
from quarterdeck.agent.framing import Persona
from quarterdeck.agent.loop import Loop
from quarterdeck.errors import MalformedResponseError, OutputFormatError
from quarterdeck.events import PlanFinished, PlanStarted
from quarterdeck.llm import BaseLLM, create_llm
from quarterdeck.llm.types import Message
from quarterdeck.runtime.run import Run
from quarterdeck.tools import BaseTool

if TYPE_CHECKING:
    from quarterdeck.agent.agent import Agent

logger = logging.getLogger("quarterdeck")

_ATTEMPTS = {"low": 1, "medium": 2, "high": 3}
_ONCE = "does nothing here: the plan is made before the work and not changed during it; leave it out"


class PlanningConfig(Definition):
    """How an agent plans: steps, before the work, looked over until they are ready (CrewAI: ``PlanningConfig``).

    Args:
        reasoning_effort: How often the plan is looked over where ``max_attempts`` is not given: ``low`` makes it in one
            attempt, ``medium`` in two at most, ``high`` in three at most.
        max_attempts: How many attempts the plan may take; fewer where the model says that it is ready.
        max_steps: How many steps it may have; more are cut off. Default 20.
        system_prompt: Replaces the agent's system prompt while it plans.
        plan_prompt: Replaces the words that ask for the plan; they stand after the task.
        refine_prompt: Replaces the words that ask to look it over.
        llm: The model that plans; None: the agent's.
    """

    not_supported: ClassVar[Mapping[str, str]] = {
        "observe_steps": _ONCE,
        "max_replans": _ONCE,
        "max_step_iterations": "does nothing here: Agent(max_iter=...) holds the calls of the whole task; leave it out",
        "step_timeout": "does nothing here: Agent(max_execution_time=...) holds the time of a try; leave it out",
    }

    reasoning_effort: Literal["low", "medium", "high"] = "medium"
    max_attempts: int | None = Field(default=None, ge=1)
    max_steps: int = Field(default=20, ge=1)
    system_prompt: str | None = None
    plan_prompt: str | None = None
    refine_prompt: str | None = None
    llm: Any = None

    @field_validator("llm", mode="before")
    @classmethod
    def _make_llm(cls, value: Any) -> BaseLLM | None:
        return None if value is None else create_llm(value)

    @property
    def attempts(self) -> int:
        """How many attempts a plan may take."""
        return self.max_attempts or _ATTEMPTS[self.reasoning_effort]


class Plan(BaseModel):
    """What the model is asked for."""

    steps: list[str] = Field(min_length=1, description="What to do, in order")
    ready: bool = Field(description="False where the plan has gaps and should be looked over")


async def make_plan(
    agent: Agent,
    config: PlanningConfig,
    run: Run,
    path: str,
    persona: Persona,
    prompt: str,
    tools: Sequence[BaseTool],
    wait: Callable[[], Awaitable[None]] | None,
) -> str:
    """A plan for a task as numbered lines. It is kept like any work: its calls are steps below ``path``.

    Args:
        agent: Who plans.
        config: How.
        run: The run.
        path: Such as ``research/plan``; the attempts are ``research/plan/1``, ``…/2``.
        persona: The agent's texts.
        prompt: The task.
        tools: What the agent will have.
        wait: Awaited before each call (a rate limit).

    Returns:
        The plan; empty where the model gave none that can be used: the work then goes on without one.

    Raises:
        LLMError: A call to the model failed.
    """
    llm: BaseLLM = config.llm or agent.llm
    messages = _begin(agent, config, llm, persona, prompt, tools)

    def attempt(number: int) -> Loop:
        return Loop(
            run=run,
            path=f"{path}/{number}",
            llm=llm,
            role=persona.role,
            messages=messages,
            model=Plan,
            max_tokens=agent.max_tokens,
            shrink=agent.respect_context_window,
            wait=wait,
        )

    run.emit(PlanStarted(path=path, agent=persona.role))
    plan, attempts, wrong = await _refined(config, messages, attempt)
    if wrong:
        logger.warning("run %s: %s goes on %s: %s", run.id, path, "with its plan" if plan else "with none", wrong)
    text = prompts.numbered(plan.steps[: config.max_steps]) if plan else ""
    ready = plan is not None and plan.ready
    run.emit(PlanFinished(path=path, agent=persona.role, plan=text, ready=ready, attempts=attempts, error=wrong))
    return text


async def _refined(
    config: PlanningConfig, messages: list[Message], attempt: Callable[[int], Loop]
) -> tuple[Plan | None, int, str]:
    """The plan, how many attempts it took, and what was wrong with the last one."""
    plan: Plan | None = None
    for number in range(1, config.attempts + 1):
        if plan is not None:
            messages.append({"role": "user", "content": config.refine_prompt or prompts.REFINE_PLAN})
        try:
            answer = await attempt(number).answer()
        except (OutputFormatError, MalformedResponseError) as error:
            return plan, number, str(error)
        assert isinstance(answer.parsed, Plan)
        plan = answer.parsed
        if plan.ready:
            return plan, number, ""
    return plan, config.attempts, ""


def _begin(
    agent: Agent, config: PlanningConfig, llm: BaseLLM, persona: Persona, prompt: str, tools: Sequence[BaseTool]
) -> list[Message]:
    system = config.system_prompt or framing.system(agent, persona)
    parts = [prompt]
    if tools:
        parts.append(f"Tools: {', '.join(tool.name for tool in tools)}")
    parts.append(config.plan_prompt or prompts.make_plan(config.max_steps))
    if not llm.supports_output_schema():
        parts.append(prompts.schema(Plan.model_json_schema()))
    text = "\n\n".join(parts)
    if agent.use_system_prompt:
        return [{"role": "system", "content": system}, {"role": "user", "content": text}]
    return [{"role": "user", "content": f"{system}\n\n{text}"}]
