"""Crew: agents and tasks that are run together (CrewAI: ``crewai.Crew``)."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

from pydantic import BaseModel, Field, PrivateAttr, field_validator, model_validator

from quarterdeck.agent.agent import Agent
from quarterdeck.agent.fields import Definition, digest
from quarterdeck.agent.rate import RateLimit
from quarterdeck.concurrency import finish_all, run_sync
from quarterdeck.crew.checks import check_manager, check_process, check_tasks
from quarterdeck.crew.contract import Contract
from quarterdeck.crew.copies import with_agents
from quarterdeck.crew.inputs import checked, each, numbered
from quarterdeck.crew.kickoff import run_crew
from quarterdeck.crew.output import CrewOutput
from quarterdeck.crew.plan import definition_digest
from quarterdeck.crew.process import Process
from quarterdeck.crew.replay import find_source
from quarterdeck.crew.staff import Staff, default_manager, each_once
from quarterdeck.crew.streamed import streamed
from quarterdeck.hooks import Hook, InterceptionPoint
from quarterdeck.llm import BaseLLM, create_llm
from quarterdeck.llm.types import UsageMetrics
from quarterdeck.runtime.handle import RunHandle
from quarterdeck.runtime.options import RunOptions
from quarterdeck.runtime.run import Run
from quarterdeck.task.planned import task_names
from quarterdeck.task.task import Task
from quarterdeck.tools.failure import FailurePolicy

if TYPE_CHECKING:
    from quarterdeck.crew.evaluation import Evaluation
    from quarterdeck.crew.training import Trained

_LATER = "is not supported"


class Crew(Definition):
    """Agents and tasks that are run together. A definition: one Crew object serves any number of runs at once.

    Args:
        agents: The agents; those of the tasks need not be named again.
        tasks: The tasks, in order.
        process: ``Process.sequential``, or ``Process.hierarchical`` with one of manager_llm and manager_agent.
        manager_llm: The model of the manager of a hierarchical crew.
        manager_agent: The manager itself, with goals and tools of its own; not one of ``agents``. It goes before
            manager_llm.
        max_delegations: In one try of a task, how many pieces of work and questions may be handed to coworkers,
            those that coworkers hand on included; then whoever wants more is told so and has to answer. Default 12.
        max_delegation_depth: How far a piece may be handed on by coworkers with ``allow_delegation``: 1 means not at
            all. Default 2.
        planning: Makes a plan for all tasks first, with one call, and puts each task's part into its prompt.
        planning_llm: The model that plans; None: that of the manager, or of the first task's agent.
        name: The crew's name in events and traces.
        verbose: Prints what happens.
        max_rpm: LLM calls a minute of all runs together, for agents that have no ``max_rpm`` of their own.
        cache: Whether results of equal tool calls are used again within a run. Default False.
        stream: ``kickoff`` gives a ``CrewStreamingOutput``: what the agents write, as it comes.
        step_callback: Called with each agent's ``AgentAction`` and ``AgentFinish``.
        task_callback: Called with each ``TaskOutput``.
        before_kickoff_callbacks: Functions that are given the inputs, and may return others.
        after_kickoff_callbacks: Functions that are given the ``CrewOutput``, and may return another.
        tool_failure_policy: What a failed tool call does to a task, where tool, task and agent do not say: ``ignore``,
            ``warn`` (the default: it is an issue of the output) or ``raise``.
        inputs_model: A pydantic model that declares the inputs, with types, defaults and descriptions; by default each
            placeholder is a required input of any type.
        chat_llm: The model that talks with a person in ``quarterdeck chat``; None: that of the first task.
        trained_agents_file: A file of ``train``; its suggestions are put into the agents' prompts.
        config: A dict of these arguments; those given beside it win.
    """

    not_supported: ClassVar[Mapping[str, str]] = {
        "function_calling_llm": f"{_LATER}: the agents' own models make the tool calls",
        "output_log_file": f"{_LATER}: kickoff(journal=...) keeps everything; 'quarterdeck events' prints it",
        "memory": f"{_LATER} in this version",
        "embedder": f"{_LATER} in this version",
        "knowledge_sources": f"{_LATER} in this version",
        "checkpoint": "is not needed: kickoff(journal=..., run_id=...) keeps every step",
        "prompt_file": _LATER,
        "security_config": _LATER,
        "skills": f"{_LATER} in this version",
        "share_crew": "would send data to CrewAI; nothing leaves your machine here",
        "tracing": "would send data to CrewAI; nothing leaves your machine here",
    }

    agents: list[Agent] = Field(default_factory=list[Agent])
    tasks: list[Task] = Field(default_factory=list[Task])
    process: Process = Process.sequential
    manager_llm: Any = None
    manager_agent: Agent | None = None
    max_delegations: int = Field(default=12, ge=1)
    max_delegation_depth: int = Field(default=2, ge=1)
    planning: bool = False
    planning_llm: Any = None
    name: str = "crew"
    verbose: bool = False
    max_rpm: int | None = Field(default=None, ge=1)
    cache: bool = False
    stream: bool = False
    step_callback: Callable[..., Any] | None = None
    task_callback: Callable[..., Any] | None = None
    before_kickoff_callbacks: list[Callable[..., Any]] = Field(default_factory=list[Callable[..., Any]])
    after_kickoff_callbacks: list[Callable[..., Any]] = Field(default_factory=list[Callable[..., Any]])
    inputs_model: type[BaseModel] | None = None
    chat_llm: Any = None
    trained_agents_file: str | os.PathLike[str] | None = None
    tool_failure_policy: FailurePolicy | None = None

    _rate: RateLimit | None = PrivateAttr(default=None)
    _hooks: tuple[Hook, ...] = PrivateAttr(default=())
    _latest: UsageMetrics | None = PrivateAttr(default=None)
    _lessons: dict[str, list[str]] = PrivateAttr(default_factory=dict[str, list[str]])

    @field_validator("manager_llm", "planning_llm", "chat_llm", mode="before")
    @classmethod
    def _make_llm(cls, value: Any) -> BaseLLM | None:
        return None if value is None else create_llm(value)

    @model_validator(mode="after")
    def _check(self) -> Crew:
        check_tasks(self.tasks, managed=self.process is Process.hierarchical)
        check_process(self.process, self.manager_llm, self.manager_agent)
        if self.manager:
            check_manager(self.agents, self.tasks, self.manager)
        return self

    @model_validator(mode="after")
    def _read_trained(self) -> Crew:
        if self.trained_agents_file is not None:
            from quarterdeck.crew import training

            trained = training.read_trained(self.trained_agents_file)
            self._lessons = {role: agent.suggestions for role, agent in trained.items() if agent.suggestions}
        return self

    def model_post_init(self, context: Any) -> None:
        """Makes the rate limit, which all runs share."""
        self._rate = RateLimit(self.max_rpm) if self.max_rpm else None

    @cached_property
    def manager(self) -> Agent | None:
        """Who manages a hierarchical crew; None in a sequential one."""
        if self.process is Process.sequential:
            return None
        return self.manager_agent or (default_manager(self.manager_llm) if self.manager_llm else None)

    @property
    def first_llm(self) -> BaseLLM | None:
        """The model of who does the first task: it judges, and talks with a person, where no other is named."""
        return self.staff.worker(self.tasks[0]).llm if self.tasks else None

    @cached_property
    def definition(self) -> str:
        """Digest of what its tasks and agents say: another text, another digest."""
        return definition_digest(self.tasks, self.staff)

    @cached_property
    def staff(self) -> Staff:
        """Who works in it."""
        agents = each_once([*self.agents, *(task.agent for task in self.tasks)])
        return Staff(tuple(agents), self.manager, self.max_delegations, self.max_delegation_depth, self._lessons)

    @property
    def steps(self) -> list[str]:
        """Names of its tasks in events and paths, in order."""
        return task_names(self.tasks)

    @cached_property
    def contract(self) -> Contract:
        """The inputs that it takes."""
        if self.inputs_model:
            return Contract.of_model(self.inputs_model)
        adding = (InterceptionPoint.EXECUTION_START, InterceptionPoint.INPUT)
        may_add = self.before_kickoff_callbacks or any(hook.point in adding for hook in self._hooks)
        return Contract.of_names(self.fetch_inputs(), complete=not may_add)

    def fetch_inputs(self) -> set[str]:
        """Names of the inputs that the crew needs: the placeholders of its tasks and agents."""
        found: set[str] = set()
        for definition in [*self.tasks, *self.staff.taking_part(self.tasks)]:
            found |= definition.placeholders()
        return found

    @property
    def usage_metrics(self) -> UsageMetrics | None:
        """Tokens and calls of the run that ended last. Where runs overlap, use the output's own ``token_usage``."""
        return self._latest

    def calculate_usage_metrics(self) -> UsageMetrics:
        """``usage_metrics``; zeros before the first run (CrewAI's name)."""
        return self._latest or UsageMetrics()

    @property
    def key(self) -> str:
        """Digest of the keys of its agents and tasks (CrewAI's name)."""
        return digest(*(agent.key for agent in self.agents), *(task.key for task in self.tasks))

    def copy(self) -> Crew:  # pyright: ignore[reportIncompatibleMethodOverride] - CrewAI's name
        """A crew like this one, of copies of its agents and tasks. A run needs none: it changes no definition."""
        return with_agents(self, Agent.copy)

    @property
    def hooks(self) -> tuple[Hook, ...]:
        """The hooks of its runs alone."""
        return self._hooks

    def add_hooks(self, *hooks: Hook) -> None:
        """Calls hooks in this crew's runs alone, after those of all runs.

        Args:
            hooks: Such as ``Hook(InterceptionPoint.PRE_TOOL_CALL, function)``, or ``hooks_of(instance)`` for the
                decorated methods of an object.
        """
        self._hooks = (*self._hooks, *hooks)

    # -- kickoff ------------------------------------------------------------------------------------------

    def kickoff(self, inputs: Mapping[str, Any] | None = None, **options: Unpack[RunOptions]) -> CrewOutput:
        """Runs the crew and waits for its output; for sync code, and inside a notebook. See ``akickoff``."""
        if self._streams(options):
            return self._streamed([inputs], [options])
        return run_sync(self._one(inputs, **options))

    async def kickoff_async(self, inputs: Mapping[str, Any] | None = None, **options: Unpack[RunOptions]) -> CrewOutput:
        """CrewAI's other name of ``akickoff``."""
        return await self.akickoff(inputs, **options)

    async def akickoff(self, inputs: Mapping[str, Any] | None = None, **options: Unpack[RunOptions]) -> CrewOutput:
        """Runs the crew on this event loop.

        Args:
            inputs: Values of the placeholders.
            options: How the run is kept, limited and watched: see ``RunOptions``.

        Raises:
            InputError: An input is missing or cannot be used.
            JournalMismatchError: The run began with other inputs or another crew.
            LLMError: A call to a model failed for good.
            TaskError: A task has no acceptable output.
            FencedError: Another process has taken the run over.
            HookAborted: A hook stopped the run.

        Returns:
            The output; with ``stream=True`` on the crew a ``CrewStreamingOutput``, unless the option says False.
        """
        if self._streams(options):
            return self._streamed([inputs], [options])
        return await self._one(inputs, **options)

    async def _one(self, inputs: Mapping[str, Any] | None, **options: Unpack[RunOptions]) -> CrewOutput:
        return await run_crew(self, inputs, options, self._rate, self._note)

    def _streams(self, options: RunOptions) -> bool:
        return self.stream and options.get("stream") is not False

    def _streamed(self, inputs: Sequence[Mapping[str, Any] | None], options: Sequence[RunOptions]) -> Any:
        """A stream, which is typed as what it is in place of: CrewAI's ``kickoff`` gives the one or the other."""
        return streamed(self._one, list(zip((checked(item) for item in inputs), options, strict=True)))

    def _note(self, usage: UsageMetrics) -> None:
        self._latest = usage

    def start(self, inputs: Mapping[str, Any] | None = None, **options: Unpack[RunOptions]) -> RunHandle[CrewOutput]:
        """Starts a run in the background and returns at once.

        Returns:
            A handle with ``id``, ``result()`` and ``cancel()``.
        """
        run_id = options.get("run_id") or str(uuid.uuid4())

        def begin(attach: Callable[[Run], None]) -> Coroutine[Any, Any, CrewOutput]:
            return self._one(inputs, **{**options, "run_id": run_id, "attach": attach})

        return RunHandle(run_id, begin)

    def kickoff_for_each(self, inputs: Sequence[Mapping[str, Any]], **options: Unpack[RunOptions]) -> list[CrewOutput]:
        """Runs the crew once for each inputs, one run after another; with ``stream=True``, each when it is read."""
        return [self.kickoff(item, **numbered(options, n)) for n, item in enumerate(each(inputs), 1)]

    async def kickoff_for_each_async(
        self, inputs: Sequence[Mapping[str, Any]], **options: Unpack[RunOptions]
    ) -> list[CrewOutput]:
        """CrewAI's other name of ``akickoff_for_each``."""
        return await self.akickoff_for_each(inputs, **options)

    async def akickoff_for_each(
        self, inputs: Sequence[Mapping[str, Any]], **options: Unpack[RunOptions]
    ) -> list[CrewOutput]:
        """Runs the crew once for each inputs, all at once. With a ``run_id``, the runs are ``run_id/1``, ``/2``, …

        When a run fails, the others are finished first; then the first error is raised. With ``stream=True``, it gives
        one ``CrewStreamingOutput`` with the chunks of all, and ``results``.
        """
        given = each(inputs)
        of_each = [numbered(options, n) for n in range(1, len(given) + 1)]
        if self._streams(options):
            return self._streamed(given, of_each)
        return await finish_all([self._one(item, **those) for item, those in zip(given, of_each, strict=True)])

    # -- replay -------------------------------------------------------------------------------------------

    def replay(
        self,
        task_id: str,
        inputs: Mapping[str, Any] | None = None,
        *,
        into: str | None = None,
        **options: Unpack[RunOptions],
    ) -> CrewOutput:
        """Does an earlier run again from a task on, as a new run; for sync code. See ``areplay``."""
        return run_sync(self.areplay(task_id, inputs, into=into, **options))

    async def areplay(
        self,
        task_id: str,
        inputs: Mapping[str, Any] | None = None,
        *,
        into: str | None = None,
        **options: Unpack[RunOptions],
    ) -> CrewOutput:
        """Does an earlier run again from a task on, as a new run (CrewAI: ``replay``).

        The outputs of the tasks before are taken from the earlier run and cost nothing; the crew may have changed. The
        inputs are those that the earlier run worked with: ``before_kickoff`` callbacks are not called again.

        Args:
            task_id: The name or the id of the first task that is done again.
            inputs: Inputs that change.
            into: The new run's id; None makes one.
            options: ``journal``, which is needed; ``run_id``, the earlier run, by default the newest of a crew of this
                name; and the others of ``RunOptions``, for the new run.

        Raises:
            ConfigError: There is no such task, journal or run; a task before has no output there; ``into`` is there.
            InputError: An input is missing or cannot be used.
        """
        source = await find_source(self.name, self.tasks, task_id, checked(inputs), options, into)
        options["run_id"] = into or str(uuid.uuid4())
        return await run_crew(self, source.given, options, self._rate, self._note, source)

    # -- test and train -----------------------------------------------------------------------------------

    def test(
        self,
        n_iterations: int,
        eval_llm: Any = None,
        inputs: Mapping[str, Any] | None = None,
        criteria: str | Mapping[str, str] | None = None,
        **options: Unpack[RunOptions],
    ) -> Evaluation:
        """Runs the crew several times, one run after another, and has each task's output scored from 1 to 10.

        Args:
            n_iterations: How many runs.
            eval_llm: The model that judges; None: that of the first task.
            inputs: Those of each run.
            criteria: What is judged by, for all tasks or by their names; by default their expected output.
            options: Those of a kickoff. With a journal and a ``run_id``, an interrupted test goes on where it was; a
                budget holds for each run, and for judging each.

        Returns:
            Scores with means and spreads, tokens, cost and times. A run that fails is in it, without scores.

        Raises:
            ConfigError: A number, a model or a name is wrong.
            RunError: The judge failed.
        """
        from quarterdeck.crew import evaluation  # its models are not made in each program

        return run_sync(evaluation.evaluate(self, n_iterations, eval_llm, inputs, criteria, **options))

    def train(
        self,
        n_iterations: int,
        filename: str | os.PathLike[str],
        inputs: Mapping[str, Any] | None = None,
        **options: Unpack[RunOptions],
    ) -> Trained:
        """Runs the crew with a person who says of each output what should be better, and makes short rules of it.

        What is said is in the file at once. The rules are made by the agents' own models; edit them as you like.
        ``Crew(trained_agents_file=filename)`` puts them into the agents' prompts.

        Args:
            n_iterations: How many runs.
            filename: A ``.yaml`` or ``.json`` file; what it holds already is added to.
            inputs: Those of each run.
            options: Those of a kickoff; ``human`` is who is asked, by default on the terminal.

        Returns:
            What is in the file: suggestions and feedback by the agents' roles.

        Raises:
            ConfigError: A number or the file is wrong.
            RunError: A run failed or was stopped.
        """
        from quarterdeck.crew import training

        return run_sync(training.train(self, n_iterations, filename, inputs, **options))
