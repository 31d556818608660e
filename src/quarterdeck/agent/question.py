"""One question to a model that is no agent's conversation, answered by an instance of a class: a step of a run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar, Unpack

from pydantic import BaseModel

from quarterdeck.agent import prompts
from quarterdeck.agent.loop import Loop
from quarterdeck.errors import JournalError, RunError, RunStopped
from quarterdeck.llm import BaseLLM
from quarterdeck.llm.structured import output_schema
from quarterdeck.runtime.options import RunOptions
from quarterdeck.runtime.run import Run, open_run

V = TypeVar("V", bound=BaseModel)


async def ask_model(
    run: Run,
    path: str,
    llm: BaseLLM,
    system: str,
    text: str,
    model: type[V],
    *,
    role: str = "",
    wait: Callable[[], Awaitable[None]] | None = None,
) -> V:
    """Asks, and has an answer that does not fit repaired.

    Args:
        run: The run that it is part of.
        path: The question's path; the calls are ``{path}/llm/1`` and so on.
        llm: The model.
        system: What it is to do.
        text: The question.
        model: The class that the answer must fit.
        role: Who asks, for the events.
        wait: Awaited before each call.

    Raises:
        LLMError: The call failed.
        MalformedResponseError: The answer is empty.
        OutputFormatError: The answer still does not fit after the repairs.
        RunStopped: The run was stopped.
    """
    if not llm.supports_output_schema():
        text = f"{text}\n\n{prompts.schema(output_schema(model).schema)}"
    messages = [{"role": "system", "content": system}, {"role": "user", "content": text}]
    answer = await Loop(run, path, llm, role, messages, model=model, wait=wait).answer()
    assert isinstance(answer.parsed, model)
    return answer.parsed


@asynccontextmanager
async def asking(name: str, given: dict[str, Any], **options: Unpack[RunOptions]) -> AsyncGenerator[Run]:
    """A run for questions that belong to no crew's run, begun and ended.

    Args:
        name: What it is for, as events name it.
        given: What is asked about: a run of the same id that is gone on with must be about the same.
        options: How it is kept, limited and watched.

    Raises:
        RunError: It was stopped by a limit.
    """
    run = await open_run(**options)
    await run.begin(name, given, name)
    try:
        yield run
    except (RunStopped, asyncio.CancelledError) as error:
        stop = run.stop_behind(error)
        await run.end(stop.status, run.last_text, error=stop.reason, ended_by=stop.ended_by)
        raise RunError(f"{name} was stopped: {stop.reason}") from None
    except JournalError:
        raise
    except Exception as error:
        await run.end("failed", error=f"{type(error).__name__}: {error}")
        raise
    await run.end("completed", run.last_text)
