"""An agent on its own: a run with no crew."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, Unpack

from pydantic import BaseModel

from quarterdeck.agent import framing, prompts
from quarterdeck.agent.conversation import conversation, put
from quarterdeck.agent.fields import as_tools
from quarterdeck.agent.framing import Persona
from quarterdeck.agent.guardrail import Review, as_guardrails
from quarterdeck.agent.interpolation import interpolate
from quarterdeck.agent.loop import Answer
from quarterdeck.agent.output import LiteAgentOutput
from quarterdeck.agent.verdict import Hearing, tool_results
from quarterdeck.errors import ConfigError, GuardrailError, InputError, RunStopped
from quarterdeck.events import GuardrailFinished, scope
from quarterdeck.llm.structured import output_schema, parse
from quarterdeck.llm.types import Message
from quarterdeck.runtime.options import RunOptions
from quarterdeck.runtime.place import kickoff_here
from quarterdeck.runtime.receipts import issues, tool_receipts
from quarterdeck.runtime.run import Run
from quarterdeck.tools import BaseTool

if TYPE_CHECKING:
    from quarterdeck.agent.agent import Agent


async def answer(
    agent: Agent,
    messages: str | list[Message],
    response_format: type[BaseModel] | None,
    tools: Sequence[BaseTool] | None = None,
    **options: Unpack[RunOptions],
) -> LiteAgentOutput:
    """Lets an agent answer: see ``Agent.akickoff``; ``tools`` go in place of its own."""
    persona = _persona(agent)
    with scope(crew=None, hooks=(), task=None, task_name="", task_index=None, agent=agent, role=persona.role):
        return await _answer(agent, persona, messages, response_format, tools or agent.tools, **options)


class Assignment(Protocol):
    """What an agent needs of a task."""

    description: str
    expected_output: str
    tools: list[Any]

    @property
    def answer_model(self) -> type[BaseModel] | None:
        """The class that the answer must fit."""
        ...


async def execute(
    agent: Agent, task: Assignment, context: str | None, tools: Sequence[Any] | None, **options: Unpack[RunOptions]
) -> LiteAgentOutput:
    """Lets an agent do a task with no crew: see ``Agent.aexecute_task``."""
    try:
        chosen = as_tools(tools) or task.tools
    except ValueError as error:
        raise ConfigError(f"execute_task: {error}") from None
    description = interpolate(task.description, {}, "the task's description")
    expected = interpolate(task.expected_output, {}, "the task's expected_output")
    prompt = prompts.task(description, expected, context or "", "", None)
    return await answer(agent, prompt, task.answer_model, chosen, **options)


async def _answer(
    agent: Agent,
    persona: Persona,
    messages: str | list[Message],
    response_format: type[BaseModel] | None,
    tools: Sequence[BaseTool],
    **options: Unpack[RunOptions],
) -> LiteAgentOutput:
    told = response_format is not None and agent.needs_schema_text(agent.tools)
    schema = output_schema(response_format).schema if response_format and told else None
    begin = _begin(agent, persona, messages, schema)

    async def within(run: Run) -> LiteAgentOutput:
        async def work() -> LiteAgentOutput:
            first = begin
            if plan := await agent.plan(run, "agent/plan", persona, _asked(messages), tools):
                first = _begin(agent, persona, _with_plan(messages, plan), schema)
            return await _Guarded(agent, run, persona, first, response_format, tools).answer()

        run.kind = "agent"
        await run.begin(persona.role, {"messages": messages}, persona.role)
        return await _ended(run, persona, begin, work)

    return await kickoff_here("agent", options, within)


async def _ended(
    run: Run, persona: Persona, begin: list[Message], work: Callable[[], Awaitable[LiteAgentOutput]]
) -> LiteAgentOutput:
    """The answer, or what there is of it where the run ends early."""
    try:
        output = await work()
    except (RunStopped, asyncio.CancelledError) as error:
        stop = run.stop_behind(error)
        await run.end(stop.status, run.last_text, error=stop.reason, ended_by=stop.ended_by)
        partial_answer = Answer(run.last_text, None, begin)
        return _output(run, persona, partial_answer, status=stop.status, ended_by=stop.ended_by)
    except Exception as error:
        await run.end("failed", error=f"{type(error).__name__}: {error}")
        raise
    receipts = tool_receipts(run.finished)
    found = issues(receipts)
    await run.end("completed", output.raw, issues=found)
    status = "completed_with_issues" if found else "completed"
    more = {"tool_receipts": receipts, "issues": found, "status": status}
    return output.model_copy(update={"token_usage": run.usage, "cost_usd": run.cost_usd, **more})


class _Guarded:
    """The tries of an agent on its own: until its guardrails let an answer pass."""

    def __init__(
        self,
        agent: Agent,
        run: Run,
        persona: Persona,
        begin: list[Message],
        model: type[BaseModel] | None,
        tools: Sequence[BaseTool],
    ) -> None:
        self.agent = agent
        self.run = run
        self.persona = persona
        self.begin = begin
        self.model = model
        self.tools = tools
        contents = [message.get("content") for message in begin if message["role"] == "user"]
        self._asked = [content for content in contents if isinstance(content, str)]
        self._attempt = 0

    async def answer(self) -> LiteAgentOutput:
        first = await self._tried(self.begin)
        guardrails = as_guardrails(self.agent.guardrail)
        if not guardrails:
            return first
        review = Review(f"agent {self.persona.role!r}", guardrails, self.agent.guardrail_max_retries)

        async def again(verdict: GuardrailFinished, refused: LiteAgentOutput) -> LiteAgentOutput:
            return await self._tried(
                [*refused.messages, {"role": "user", "content": prompts.refused(verdict.feedback)}]
            )

        return await review.accept(first, hearing=self._hearing, again=again, replaced=self._replaced)

    async def _tried(self, messages: list[Message]) -> LiteAgentOutput:
        self._attempt += 1
        path = f"agent/{self._attempt}"
        answer = await self.agent.work(self.run, path, self.persona, messages, tools=self.tools, model=self.model)
        return _output(self.run, self.persona, answer)

    def _hearing(self, number: int) -> Hearing:
        path = f"agent/{self._attempt}/guardrail/{number}"
        return Hearing(
            self.run,
            path,
            llm=self.agent.llm,
            role=self.persona.role,
            sources=lambda: [*self._asked, *tool_results(self.run, "agent")],
            wait=self.agent.waiter(self.run, path),
        )

    def _replaced(self, text: str, before: LiteAgentOutput) -> LiteAgentOutput:
        parsed = None
        if self.model:
            try:
                parsed = parse(text, self.model)
            except ValueError as error:
                raise GuardrailError(
                    f"agent {self.persona.role!r}: the guardrail's output does not fit {self.model.__name__}: {error}"
                ) from None
        return _output(self.run, self.persona, Answer(text, parsed, before.messages))


def _output(
    run: Run, persona: Persona, answer: Answer, status: str = "completed", ended_by: str = ""
) -> LiteAgentOutput:
    return LiteAgentOutput(
        raw=answer.text,
        pydantic=answer.parsed,
        agent_role=persona.role,
        token_usage=run.usage,
        cost_usd=run.cost_usd,
        status=status,
        ended_by=ended_by,
        tool_receipts=tool_receipts(run.finished),
        messages=answer.messages,
    )


def _begin(agent: Agent, persona: Persona, messages: Any, schema: dict[str, Any] | None) -> list[Message]:
    if isinstance(messages, str) and messages.strip():
        return framing.first_messages(agent, persona, prompts.task(messages, "", "", "", schema))
    system = framing.system(agent, persona)
    return conversation(messages, system, schema, system_role=agent.use_system_prompt)


def _asked(messages: str | list[Message]) -> str:
    """What is asked for, in words."""
    if isinstance(messages, str):
        return messages
    return "\n\n".join(str(message["content"]) for message in messages if isinstance(message.get("content"), str))


def _with_plan(messages: str | list[Message], plan: str) -> str | list[Message]:
    if isinstance(messages, str):
        return prompts.task(messages, "", "", "", None, plan)
    messages = list(messages)
    put(messages, -1, prompts.task("", "", "", "", None, plan).strip())
    return messages


def _persona(agent: Agent) -> Persona:
    missing = tuple(sorted(agent.placeholders()))
    if missing:
        raise InputError(
            f"agent {agent.role!r} needs the inputs {', '.join(missing)}, and on its own it takes none: "
            "write them out, or run it in a Crew",
            missing,
        )
    return agent.persona({})
