"""An agent on its own: a run with no crew."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Unpack

from pydantic import BaseModel

from quarterdeck.agent import framing, prompts
from quarterdeck.agent.conversation import conversation
from quarterdeck.agent.framing import Persona
from quarterdeck.agent.loop import Answer
from quarterdeck.agent.output import LiteAgentOutput
from quarterdeck.errors import InputError, RunStopped
from quarterdeck.events import scope
from quarterdeck.llm.types import Message
from quarterdeck.runtime.options import RunOptions
from quarterdeck.runtime.run import Run, open_run

if TYPE_CHECKING:
    from quarterdeck.agent.agent import Agent


async def answer(
    agent: Agent,
    messages: str | list[Message],
    response_format: type[BaseModel] | None,
    **options: Unpack[RunOptions],
) -> LiteAgentOutput:
    """Lets an agent answer: see ``Agent.akickoff``."""
    persona = _persona(agent)
    with scope(crew=None, task=None, task_name="", task_index=None, agent=agent, role=persona.role):
        return await _answer(agent, persona, messages, response_format, **options)


async def _answer(
    agent: Agent,
    persona: Persona,
    messages: str | list[Message],
    response_format: type[BaseModel] | None,
    **options: Unpack[RunOptions],
) -> LiteAgentOutput:
    schema = response_format.model_json_schema() if response_format and agent.needs_schema_text() else None
    begin = _begin(agent, persona, messages, schema)
    run = await open_run(**options)
    await run.begin(persona.role, {"messages": messages}, persona.role)
    try:
        answer = await agent.work(run, "agent/1", persona, begin, model=response_format)
    except (RunStopped, asyncio.CancelledError) as error:
        stop = run.stop_behind(error)
        await run.end(stop.status, run.last_text, error=stop.reason, ended_by=stop.ended_by)
        partial_answer = Answer(run.last_text, None, begin)
        return _output(run, persona, partial_answer, status=stop.status, ended_by=stop.ended_by)
    except Exception as error:
        await run.end("failed", error=f"{type(error).__name__}: {error}")
        raise
    await run.end("completed", answer.text)
    return _output(run, persona, answer)


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
        messages=answer.messages,
    )


def _begin(agent: Agent, persona: Persona, messages: Any, schema: dict[str, Any] | None) -> list[Message]:
    if isinstance(messages, str) and messages.strip():
        return framing.first_messages(agent, persona, prompts.task(messages, "", "", "", schema))
    system = framing.system(agent, persona)
    return conversation(messages, system, schema, system_role=agent.use_system_prompt)


def _persona(agent: Agent) -> Persona:
    missing = tuple(sorted(agent.placeholders()))
    if missing:
        raise InputError(
            f"agent {agent.role!r} needs the inputs {', '.join(missing)}, and on its own it takes none: "
            "write them out, or run it in a Crew",
            missing,
        )
    return agent.persona({})
