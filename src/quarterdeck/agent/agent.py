"""Agent: who does the work (CrewAI: ``crewai.Agent``)."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar, Unpack

from pydantic import BaseModel, Field, PrivateAttr, ValidationInfo, field_validator, model_validator

from quarterdeck.agent import alone, framing
from quarterdeck.agent.alone import Assignment
from quarterdeck.agent.delegation import CoworkerTool
from quarterdeck.agent.fields import Definition, as_tools, digest, distinct
from quarterdeck.agent.framing import PROMPT, RESPONSE, Persona
from quarterdeck.agent.guardrail import check_guardrails
from quarterdeck.agent.interpolation import interpolate, placeholders
from quarterdeck.agent.loop import Answer, Loop
from quarterdeck.agent.output import LiteAgentOutput
from quarterdeck.agent.planning import PlanningConfig, make_plan
from quarterdeck.agent.rate import RateLimit, wait_for
from quarterdeck.concurrency import run_sync
from quarterdeck.errors import TaskTimeoutError
from quarterdeck.events import AgentFinished, AgentStarted, current_scope, scope
from quarterdeck.llm import BaseLLM, create_llm
from quarterdeck.llm.types import Message
from quarterdeck.runtime.options import RunOptions
from quarterdeck.runtime.run import Run
from quarterdeck.tools import BaseTool
from quarterdeck.tools.failure import FailurePolicy
from quarterdeck.tools.names import name_tools

T = TypeVar("T")

_LATER = "is not supported"


class Agent(Definition):
    """Who does the work. A definition: it can be used by any number of runs at once.

    Args:
        role: What the agent is, such as ``Researcher``; may hold ``{input}`` placeholders, as goal and backstory may.
        goal: What it wants.
        backstory: What else it should know about itself.
        llm: A model: its name (``openai/gpt-4o-mini``), an ``LLM``, a ``BaseLLM``, or a dict of LLM's arguments. None
            takes the default model (see ``LLM``).
        tools: Tools it may call.
        max_iter: Calls to the model in one task before it must give its final answer. Default 25.
        max_rpm: LLM calls a minute, over all runs; None takes the crew's.
        max_execution_time: Seconds it may take for one try of a task; None: no limit.
        max_retry_limit: How often a task is tried again when the model's answer was unusable. Default 2.
        verbose: Prints what happens.
        step_callback: Called with an ``AgentAction`` after each tool call and an ``AgentFinish`` at the end.
        callbacks: More of these.
        cache: Whether results of equal tool calls may be used again, where the crew has ``cache=True``.
        allow_delegation: Lets it hand work to the crew's other agents, and ask them; see docs/hierarchy.md.
        planning: Makes a plan before the work; see docs/hierarchy.md. What it costs is one or two calls more.
        planning_config: How it plans; ``planning`` need not be given besides.
        reasoning: CrewAI's older name of ``planning``.
        max_reasoning_attempts: The older name of ``PlanningConfig(max_attempts=...)``.
        respect_context_window: Cuts a conversation that no longer fits the model, and goes on; else it fails.
        use_system_prompt: False puts everything into one user message, for models without a system role.
        system_template: Replaces the system prompt; ``{{ .System }}`` (what it would have been), ``{role}``, ``{goal}``
            and ``{backstory}`` are put in. Together with a prompt_template it makes one user message.
        prompt_template: Replaces the user prompt; ``{{ .Prompt }}`` is where the task goes.
        response_template: What the answer stands in: the part before ``{{ .Response }}`` ends the prompt, the part
            after it ends the answer.
        inject_date: Tells the agent today's date.
        date_format: Its format (strftime).
        max_tokens: Upper limit of each answer, in tokens.
        tool_failure_policy: What a failed tool call does to a task: ``ignore``, ``warn`` or ``raise``; None takes the
            crew's.
        guardrail: Judges the answers of ``kickoff``: a function that is given the ``LiteAgentOutput`` and returns
            ``(True, output)`` or ``(False, why)``, a sentence, which a model checks, or a list of these. Tasks have
            their own.
        guardrail_max_retries: How often each may send an answer back. Default 3.
        config: A dict of these arguments; those given beside it win.
    """

    not_supported: ClassVar[Mapping[str, str]] = {
        "function_calling_llm": f"{_LATER}: the agent's own model makes the tool calls",
        "allow_code_execution": f"{_LATER}: give the agent a tool that runs code in a sandbox of yours",
        "code_execution_mode": "has no meaning here; leave it out",
        "multimodal": "is not needed: give images as content parts to a model that takes them",
        "from_repository": f"{_LATER}: it is a service of CrewAI",
        "a2a": _LATER,
        "apps": f"{_LATER}: it is a service of CrewAI",
        "mcps": f"{_LATER} in this version",
        "skills": f"{_LATER} in this version",
        "memory": f"{_LATER} in this version",
        "knowledge": f"{_LATER} in this version",
        "knowledge_sources": f"{_LATER} in this version",
        "knowledge_config": f"{_LATER} in this version",
        "knowledge_storage": f"{_LATER} in this version",
        "embedder": f"{_LATER} in this version",
        "cache_handler": f"{_LATER}: results are kept by the run, with Crew(cache=True)",
        "checkpoint": "is not needed: kickoff(journal=..., run_id=...) keeps every step",
        "security_config": _LATER,
        "executor_class": f"{_LATER}: there is one loop",
    }

    unset: ClassVar[Mapping[str, Any]] = {"code_execution_mode": "safe"}

    role: str
    goal: str
    backstory: str = ""
    llm: Any = Field(default=None, validate_default=True)
    tools: list[Any] = Field(default_factory=list[Any])
    max_iter: int = Field(default=25, ge=1)
    max_rpm: int | None = Field(default=None, ge=1)
    max_execution_time: float | None = Field(default=None, gt=0)
    max_retry_limit: int = Field(default=2, ge=0)
    verbose: bool = False
    step_callback: Callable[..., Any] | None = None
    callbacks: list[Callable[..., Any]] = Field(default_factory=list[Callable[..., Any]])
    cache: bool = True
    allow_delegation: bool = False
    planning: bool = False
    planning_config: PlanningConfig | None = None
    reasoning: bool = False
    max_reasoning_attempts: int | None = Field(default=None, ge=1)
    respect_context_window: bool = True
    use_system_prompt: bool = True
    system_template: str | None = None
    prompt_template: str | None = None
    response_template: str | None = None
    inject_date: bool = False
    date_format: str = "%Y-%m-%d"
    max_tokens: int | None = Field(default=None, ge=1)
    tool_failure_policy: FailurePolicy | None = None
    guardrail: Any = None
    guardrail_max_retries: int = Field(default=3, ge=0)

    _id: str = PrivateAttr(default_factory=lambda: str(uuid.uuid4()))
    _rate: RateLimit | None = PrivateAttr(default=None)

    @property
    def id(self) -> str:
        """A unique id of this object."""
        return self._id

    @field_validator("llm", mode="before")
    @classmethod
    def _make_llm(cls, value: Any) -> BaseLLM:
        return create_llm(value)

    @field_validator("tools", mode="before")
    @classmethod
    def _make_tools(cls, value: Any) -> list[BaseTool]:
        return as_tools(value)

    @field_validator("guardrail", mode="before")
    @classmethod
    def _check_guardrail(cls, value: Any) -> Any:
        return check_guardrails(value)

    @field_validator("prompt_template", "response_template")
    @classmethod
    def _check_template(cls, value: str | None, info: ValidationInfo) -> str | None:
        token = PROMPT if info.field_name == "prompt_template" else RESPONSE
        if value and token not in value:
            raise ValueError(f"{info.field_name} needs {token}, which is where it goes; got {value[:60]!r}")
        return value

    @model_validator(mode="after")
    def _check_planning(self) -> Agent:
        if self.max_reasoning_attempts is None:
            return self
        if self.planning_config is not None:
            raise ValueError("max_reasoning_attempts: give it as planning_config=PlanningConfig(max_attempts=...)")
        if not (self.planning or self.reasoning):
            raise ValueError("max_reasoning_attempts does nothing without reasoning=True")
        return self

    def model_post_init(self, context: Any) -> None:
        """Makes the rate limit, which all runs share."""
        self._rate = RateLimit(self.max_rpm) if self.max_rpm else None

    @property
    def key(self) -> str:
        """Digest of its role, goal and backstory (CrewAI's name)."""
        return digest(self.role, self.goal, self.backstory)

    def copy(self) -> Agent:  # pyright: ignore[reportIncompatibleMethodOverride] - CrewAI's name
        """An agent like this one, with a ``max_rpm`` of its own."""
        return self.again()

    def placeholders(self) -> set[str]:
        """Names of the inputs that its texts need."""
        return placeholders(self.role) | placeholders(self.goal) | placeholders(self.backstory)

    def persona(self, inputs: Mapping[str, Any]) -> Persona:
        """Its texts with the inputs put in.

        Raises:
            InputError: An input is missing.
        """
        where = f"agent {self.role!r}"
        return Persona(
            interpolate(self.role, inputs, f"{where} role"),
            interpolate(self.goal, inputs, f"{where} goal"),
            interpolate(self.backstory, inputs, f"{where} backstory"),
        )

    def needs_schema_text(self, tools: Sequence[BaseTool]) -> bool:
        """Whether its model has to be told an answer's schema in words, in a conversation with these tools."""
        return not (self.llm.supports_schema_with_tools() if tools else self.llm.supports_output_schema())

    @property
    def plans(self) -> bool:
        """Whether it plans before it works."""
        return self.planning_config is not None or self.planning or self.reasoning

    async def plan(
        self,
        run: Run,
        path: str,
        persona: Persona,
        prompt: str,
        tools: Sequence[BaseTool],
        rate: RateLimit | None = None,
    ) -> str:
        """A plan for what a prompt asks, as numbered lines; empty where the agent makes none. See ``make_plan``.

        Raises:
            TaskTimeoutError: It took longer than ``max_execution_time``.
            LLMError: A call to the model failed.
        """
        if not self.plans:
            return ""
        config = self.planning_config or PlanningConfig(max_attempts=self.max_reasoning_attempts)
        wait = self.waiter(run, path, rate)
        with scope(agent=self, role=persona.role):
            work = make_plan(self, config, run, path, persona, prompt, tools, wait)
            return await _within(self.max_execution_time, persona.role, work)

    async def work(
        self,
        run: Run,
        path: str,
        persona: Persona,
        messages: list[Message],
        *,
        tools: Sequence[BaseTool] | None = None,
        model: type[BaseModel] | None = None,
        cache: bool = False,
        rate: RateLimit | None = None,
        step_callback: Callable[..., Any] | None = None,
        policy: FailurePolicy | None = None,
    ) -> Answer:
        """Works on one conversation until there is an answer.

        Args:
            run: The run that it is part of.
            path: The path of this try.
            persona: Its texts.
            messages: How the conversation begins; grows.
            tools: Tools in place of its own.
            model: The class that the answer must fit.
            cache: Whether the crew caches tool results.
            rate: The crew's rate limit, used where the agent has none.
            step_callback: The crew's.
            policy: The task's ``tool_failure_policy``.

        Raises:
            ToolExecutionFailedError: A tool failed, and the policy is ``raise``.
            TaskTimeoutError: It took longer than ``max_execution_time``.
            LLMError: A call to the model failed.
        """
        named = name_tools(self.tools if tools is None else tools)
        loop = Loop(
            run=run,
            path=path,
            llm=self.llm,
            role=persona.role,
            messages=messages,
            tools=named,
            model=model,
            max_iter=self.max_iter,
            max_tokens=self.max_tokens,
            stop=framing.stop(self),
            shrink=self.respect_context_window,
            cache=cache and self.cache,
            wait=self.waiter(run, path, rate),
            policy=policy or self.tool_failure_policy or run.tool_failure_policy,
            on_step=distinct([self.step_callback, *self.callbacks, step_callback]),
            last=frozenset(name for name, tool in named.items() if isinstance(tool, CoworkerTool)),
        )
        here = current_scope()
        work = _told(loop, _within(self.max_execution_time, persona.role, loop.answer()))
        if here.agent is self and here.role == persona.role:  # its own task
            return await work
        with scope(agent=self, role=persona.role):
            return await work

    def waiter(self, run: Run, path: str, rate: RateLimit | None = None) -> Callable[[], Awaitable[None]] | None:
        """What is awaited before each call to its model; None where nothing limits it. Arguments as in ``work``."""
        return wait_for(self._rate or rate, run, path)

    # -- an agent on its own ------------------------------------------------------------------------------

    def kickoff(
        self,
        messages: str | list[Message],
        response_format: type[BaseModel] | None = None,
        **options: Unpack[RunOptions],
    ) -> Any:
        """Lets the agent answer on its own, with no crew. Options are those of ``akickoff``.

        Returns:
            A ``LiteAgentOutput``; called inside a running event loop, a coroutine that gives one (as in CrewAI).
        """
        work = self.akickoff(messages, response_format, **options)
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return run_sync(work)
        return work

    async def kickoff_async(
        self,
        messages: str | list[Message],
        response_format: type[BaseModel] | None = None,
        **options: Unpack[RunOptions],
    ) -> LiteAgentOutput:
        """CrewAI's other name of ``akickoff``."""
        return await self.akickoff(messages, response_format, **options)

    async def akickoff(
        self,
        messages: str | list[Message],
        response_format: type[BaseModel] | None = None,
        **options: Unpack[RunOptions],
    ) -> LiteAgentOutput:
        """Lets the agent answer on its own, with no crew.

        Args:
            messages: A question, or a conversation in OpenAI's form.
            response_format: The class that the answer must fit.
            options: How the run is kept, limited and watched: see ``RunOptions``.

        Raises:
            LLMError: A call to the model failed.
            ConfigError: ``messages`` is empty or of another form.
            InputError: Its role, goal or backstory has placeholders.
        """
        return await alone.answer(self, messages, response_format, **options)

    def message(self, content: str, **options: Unpack[RunOptions]) -> str:
        """The text of the answer to one message. Options are those of ``akickoff``."""
        return run_sync(self.akickoff(content, **options)).raw

    def execute_task(
        self,
        task: Assignment,
        context: str | None = None,
        tools: Sequence[Any] | None = None,
        **options: Unpack[RunOptions],
    ) -> str:
        """Does a task with no crew, for sync code: see ``aexecute_task``."""
        return run_sync(self.aexecute_task(task, context, tools, **options))

    async def aexecute_task(
        self,
        task: Assignment,
        context: str | None = None,
        tools: Sequence[Any] | None = None,
        **options: Unpack[RunOptions],
    ) -> str:
        """Does a task with no crew, and gives the answer's text (CrewAI's name).

        It is the agent's part alone: guardrails, callbacks and files are the task's; ``Task.execute_sync`` does them.

        Args:
            task: A ``Task``.
            context: What it should know.
            tools: Tools in place of the task's and the agent's.
            options: Those of ``akickoff``.

        Raises:
            LLMError: A call to the model failed.
            InputError: The task or the agent has placeholders.
        """
        return (await alone.execute(self, task, context, tools, **options)).raw


async def _told(loop: Loop, work: Awaitable[Answer]) -> Answer:
    """Awaits the work, and shows its beginning and end to whoever watches."""
    run, path = loop.run, loop.path
    if not run.watched:
        return await work
    prompt = str(loop.messages[-1].get("content") or "")
    run.emit(AgentStarted(path=path, agent=loop.role, tools=list(loop.tools), prompt=prompt))
    try:
        answer = await work
    except Exception as error:
        run.emit(AgentFinished(path=path, agent=loop.role, error=f"{type(error).__name__}: {error}"))
        raise
    run.emit(AgentFinished(path=path, agent=loop.role, output=answer.text))
    return answer


async def _within(seconds: float | None, role: str, work: Awaitable[T]) -> T:
    """Awaits the work for at most so long."""
    if seconds is None:
        return await work
    timer = asyncio.timeout(seconds)
    try:
        async with timer:
            return await work
    except TimeoutError:
        if not timer.expired():
            raise
        raise TaskTimeoutError(f"agent {role!r} took longer than its max_execution_time of {seconds:g} s") from None
