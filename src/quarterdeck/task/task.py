"""Task: what is to be done (CrewAI: ``crewai.Task``)."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import PurePath
from typing import Any, ClassVar, Final, Unpack, cast

from pydantic import BaseModel, Field, PrivateAttr, field_validator, model_validator

from quarterdeck.agent.agent import Agent
from quarterdeck.agent.fields import Definition, as_tools, digest
from quarterdeck.agent.guardrail import as_guardrails, check_guardrails
from quarterdeck.agent.interpolation import placeholders
from quarterdeck.concurrency import background_loop, run_sync
from quarterdeck.llm.structured import is_wrapped, output_schema
from quarterdeck.runtime.options import RunOptions
from quarterdeck.task import alone
from quarterdeck.task.output import TaskOutput
from quarterdeck.tools import BaseTool
from quarterdeck.tools.failure import FailurePolicy

_LATER = "is not supported"


class _NotSpecified:
    """The default of ``context``: not given, which is not the same as None."""

    def __repr__(self) -> str:
        return "NOT_SPECIFIED"


NOT_SPECIFIED: Final = _NotSpecified()

_SHELL = re.compile(r"[|><&;`*?\[\]()\n\r\0]|\$")
_TEMPLATE = re.compile(r"\{([^{}]*)\}")


class Task(Definition):
    """What is to be done. A definition: it can be used by any number of runs at once.

    Args:
        description: What to do; may hold ``{input}`` placeholders, as expected_output and output_file may.
        expected_output: What the result looks like.
        agent: Who does it.
        name: Its name in outputs, events and the journal; by default ``task_1``, ``task_2``, …
        context: Tasks whose outputs it is given. Not given: those of all tasks before it; None or []: none.
        tools: Tools in place of the agent's.
        async_execution: Lets the next task begin at once; whoever needs this one's output waits for it.
        output_pydantic: The class that the answer must fit; the output's ``pydantic`` is an instance.
        output_json: The same, but the output's ``json_dict`` is a dict.
        response_model: As ``output_pydantic`` (CrewAI's name where the provider enforces the schema).
        output_file: Path of a file that the output is written to.
        create_directory: Makes the file's folder where it is missing.
        callback: Called with the ``TaskOutput``.
        guardrail: A function that is given the ``TaskOutput`` and returns ``(True, output)`` or ``(False, why)``; or
            a sentence, which a model checks (``LLMGuardrail``).
        guardrails: Several, in order.
        guardrail_max_retries: How often each may send the task back. Default 3.
        tool_failure_policy: What a failed tool call does to the task: ``ignore``, ``warn`` (notes it in the output) or
            ``raise``; None takes the agent's, then the crew's, then ``warn``. A tool's own comes first.
        human_input: Asks a person before the output is accepted; feedback sends the task back, as often as needed.
        markdown: Asks for Markdown.
        allow_crewai_trigger_context: Whether it is told the input ``crewai_trigger_payload``; None: the first task of a
            sequential crew is.
        config: A dict of these arguments; those given beside it win.
    """

    not_supported: ClassVar[Mapping[str, str]] = {
        "converter_cls": f"{_LATER}: answers are checked against the model and repaired",
        "input_files": f"{_LATER} in this version",
        "security_config": _LATER,
        "max_retries": "is called guardrail_max_retries",
    }

    description: str
    expected_output: str
    agent: Agent | None = None
    name: str | None = None
    context: Any = NOT_SPECIFIED
    tools: list[Any] = Field(default_factory=list[Any])
    async_execution: bool = False
    output_pydantic: type[BaseModel] | None = None
    output_json: type[BaseModel] | None = None
    response_model: type[BaseModel] | None = None
    output_file: str | None = None
    create_directory: bool = True
    callback: Callable[..., Any] | None = None
    guardrail: Any = None
    guardrails: Any = Field(default_factory=list[Any])
    guardrail_max_retries: int = Field(default=3, ge=0)
    tool_failure_policy: FailurePolicy | None = None
    human_input: bool = False
    markdown: bool = False
    allow_crewai_trigger_context: bool | None = None

    _id: str = PrivateAttr(default_factory=lambda: str(uuid.uuid4()))
    _latest: TaskOutput | None = PrivateAttr(default=None)

    @property
    def id(self) -> str:
        """A unique id of this object."""
        return self._id

    @property
    def output(self) -> TaskOutput | None:
        """The output of the run that finished last. Where runs overlap, use the run's own ``tasks_output``."""
        return self._latest

    @property
    def context_tasks(self) -> list[Task] | None:
        """The tasks whose outputs it is given; None: those before it."""
        return None if self.context is NOT_SPECIFIED else list(self.context or ())

    @property
    def answer_model(self) -> type[BaseModel] | None:
        """The class that the answer must fit."""
        return self.output_pydantic or self.output_json or self.response_model

    def all_guardrails(self) -> list[Callable[..., Any]]:
        """Those of ``guardrail``, then those of ``guardrails``; a sentence as an ``LLMGuardrail``."""
        return as_guardrails(self.guardrail, self.guardrails)

    def set_latest(self, output: TaskOutput) -> None:
        """Keeps an output for ``output``; called by the crew at the end of a task."""
        self._latest = output

    @property
    def key(self) -> str:
        """Digest of its description and expected output (CrewAI's name)."""
        return digest(self.description, self.expected_output)

    def copy(  # pyright: ignore[reportIncompatibleMethodOverride] - CrewAI's name
        self, agents: Sequence[Agent] = (), task_mapping: Mapping[str, Task] | None = None
    ) -> Task:
        """A task like this one, with an ``id`` of its own.

        Args:
            agents: Agents to take its own one's place, by role.
            task_mapping: Tasks to take the places of those in its context, by their ``key``.
        """
        changes: dict[str, Any] = {}
        if self.agent:
            changes["agent"] = next((agent for agent in agents if agent.role == self.agent.role), self.agent)
        if self.context_tasks is not None:
            changes["context"] = [(task_mapping or {}).get(item.key, item) for item in self.context_tasks]
        return self.again(**changes)

    # -- a task on its own --------------------------------------------------------------------------------

    def execute_sync(
        self,
        agent: Agent | None = None,
        context: str | None = None,
        tools: Sequence[Any] | None = None,
        **options: Unpack[RunOptions],
    ) -> TaskOutput:
        """Does the task with no crew, for sync code: see ``aexecute_sync``."""
        return run_sync(self.aexecute_sync(agent, context, tools, **options))

    def execute_async(
        self,
        agent: Agent | None = None,
        context: str | None = None,
        tools: Sequence[Any] | None = None,
        **options: Unpack[RunOptions],
    ) -> Future[TaskOutput]:
        """Begins the task in the background, and returns at once: ``.result()`` waits for the output."""
        work = self.aexecute_sync(agent, context, tools, **options)
        return asyncio.run_coroutine_threadsafe(work, background_loop())

    async def aexecute_sync(
        self,
        agent: Agent | None = None,
        context: str | None = None,
        tools: Sequence[Any] | None = None,
        **options: Unpack[RunOptions],
    ) -> TaskOutput:
        """Does the task with no crew, with its guardrails, callbacks and file (CrewAI's name).

        Args:
            agent: Who does it; by default the task's agent.
            context: What it should know.
            tools: Tools in place of the task's and the agent's.
            options: How the run is kept, limited and watched: see ``RunOptions``.

        Raises:
            ConfigError: There is no agent.
            InputError: The task or the agent has placeholders.
            LLMError: A call to the model failed.
            TaskError: There is no acceptable output, or the run ended early.
        """
        return await alone.execute(self, agent, context, tools, **options)

    def placeholders(self) -> set[str]:
        """Names of the inputs that its texts need."""
        names = placeholders(self.description) | placeholders(self.expected_output)
        return names | placeholders(self.output_file or "")

    @field_validator("tools", mode="before")
    @classmethod
    def _make_tools(cls, value: Any) -> list[BaseTool]:
        return as_tools(value)

    @field_validator("context")
    @classmethod
    def _check_context(cls, value: Any) -> Any:
        if value is None or value is NOT_SPECIFIED:
            return value
        given = list(cast("list[Any]", value)) if isinstance(value, list | tuple) else [value]
        for item in given:
            if not isinstance(item, Task):
                raise ValueError(f"context must be a list of Task, got {type(item).__name__} {str(item)[:60]!r}")
        return given

    @field_validator("guardrail", "guardrails", mode="before")
    @classmethod
    def _check_guardrails(cls, value: Any) -> Any:
        return check_guardrails(value)

    @field_validator("output_file")
    @classmethod
    def _check_output_file(cls, value: str | None) -> str | None:
        if value is None:
            return None
        for name in _TEMPLATE.findall(value):
            if not name.isidentifier():
                raise ValueError(f"output_file has the placeholder {{{name}}}, which is no input's name")
        if ".." in PurePath(value).parts or value.startswith("~") or _SHELL.search(value):
            raise ValueError(f"output_file {value!r} must be a plain path without '..', '~', '$' or shell characters")
        return value

    @model_validator(mode="after")
    def _check_models(self) -> Task:
        if self.output_pydantic and self.output_json:
            raise ValueError("a task takes one of output_pydantic and output_json, got both")
        if self.answer_model:
            output_schema(self.answer_model)
        if self.output_json and is_wrapped(self.output_json):
            raise ValueError(
                f"output_json {self.output_json.__name__} is no object, so it makes no dict; use output_pydantic"
            )
        if self.response_model and self.answer_model is not self.response_model:
            raise ValueError(
                f"response_model {self.response_model.__name__} is another class than "
                f"{'output_pydantic' if self.output_pydantic else 'output_json'}; give one of them"
            )
        return self
