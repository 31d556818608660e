"""Guardrails: who judges an output before it is accepted, and what becomes of the verdict."""

from __future__ import annotations

import inspect
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast, get_args, get_origin, runtime_checkable

from pydantic import BaseModel

from quarterdeck.agent.llm_guardrail import LLMGuardrail
from quarterdeck.agent.verdict import Hearing, ModelGuardrail
from quarterdeck.concurrency import call
from quarterdeck.errors import GuardrailError
from quarterdeck.events import GuardrailFinished, GuardrailStarted

Guardrail = Callable[..., Any]


@runtime_checkable
class Judged(Protocol):
    """What a guardrail judges: a ``TaskOutput`` or a ``LiteAgentOutput``."""

    raw: str


T = TypeVar("T", bound=Judged)


@dataclass(frozen=True, slots=True)
class Review:
    """The guardrails of a task, or of an agent on its own.

    Args:
        where: Whose they are, for errors.
        guardrails: They.
        max_retries: How often each may refuse before it is an error.
    """

    where: str
    guardrails: Sequence[Guardrail]
    max_retries: int

    async def accept(
        self,
        output: T,
        *,
        hearing: Callable[[int], Hearing],
        again: Callable[[GuardrailFinished, T], Awaitable[T]],
        replaced: Callable[[str, T], T],
    ) -> T:
        """Works until every guardrail lets the output pass: a new answer is shown to all of them again.

        Args:
            output: The first answer.
            hearing: What the guardrail of a number, from 1, may look at besides.
            again: Asks for a better answer after a refusal.
            replaced: Makes an output of the text that a guardrail put in place of the answer's.

        Raises:
            GuardrailError: One refused once more than it may, or gave no verdict.
        """
        refusals = [0] * len(self.guardrails)
        number = 0
        while number < len(self.guardrails):
            verdict = await judge(self.guardrails[number], output, hearing(number + 1))
            if verdict.ok:
                if verdict.output is not None:
                    output = replaced(verdict.output["raw"], output)
                number += 1
                continue
            if refusals[number] == self.max_retries:
                raise GuardrailError(
                    f"{self.where}: guardrail {verdict.guardrail} refused the output after "
                    f"{refusals[number]} retries: {verdict.feedback}"
                )
            refusals[number] += 1
            output = await again(verdict, output)
            number = 0
        return output


async def judge(guardrail: Guardrail, output: Any, hearing: Hearing) -> GuardrailFinished:
    """Asks a guardrail about an output, or takes its verdict from the journal.

    Args:
        guardrail: A function, or a guardrail that asks a model.
        output: The output.
        hearing: The run, the verdict's path (such as ``research/1/guardrail/1``), and what else there is to look at.

    Raises:
        GuardrailError: There is no verdict: the function returned no pair of a bool and a value, or the model's
            answer cannot be read.
    """
    run, path = hearing.run, hearing.path
    done = run.finished.get(path)
    if isinstance(done, GuardrailFinished):
        return done
    run.check()
    name = _name(guardrail)
    if run.watched:
        run.emit(GuardrailStarted(path=path, guardrail=name))
    if isinstance(guardrail, ModelGuardrail):
        ok, feedback = await guardrail.verdict(output.raw, hearing)
        event = GuardrailFinished(path=path, guardrail=name, ok=ok, feedback=feedback)
    else:
        event = await _by_function(path, name, guardrail, output)
    await run.record(event)
    return event


def _name(guardrail: Guardrail) -> str:
    if isinstance(guardrail, ModelGuardrail):
        return guardrail.name
    return getattr(guardrail, "__name__", type(guardrail).__name__)


async def _by_function(path: str, name: str, guardrail: Guardrail, output: BaseModel) -> GuardrailFinished:
    kind = type(output)
    before = _content(output)  # the guardrail may change the output in place
    ok, value = _pair(name, await call(guardrail, output))
    if not ok:
        return GuardrailFinished(path=path, guardrail=name, ok=False, feedback=str(value))
    replacement = _replacement(name, value, kind, before)
    return GuardrailFinished(path=path, guardrail=name, ok=True, output=replacement)


def _pair(name: str, answer: Any) -> tuple[bool, Any]:
    pair = cast("tuple[Any, ...]", answer) if isinstance(answer, tuple) else ()
    if len(pair) != 2 or not isinstance(pair[0], bool):
        raise GuardrailError(f"guardrail {name} must return (True, output) or (False, why), it returned {answer!r}")
    ok, value = pair
    if ok and value is None:
        raise GuardrailError(f"guardrail {name} returned (True, None); return (True, output)")
    return ok, value


def _replacement(name: str, value: Any, kind: type[BaseModel], before: dict[str, Any]) -> dict[str, Any] | None:
    """The text that the guardrail put in place of the output's; None where it left the output as it was."""
    if isinstance(value, str):
        return {"raw": value}
    if not isinstance(value, kind):
        got = type(value).__name__
        raise GuardrailError(f"guardrail {name} returned (True, {got}); expected the {kind.__name__} or a str")
    after = _content(value)
    if after == before:
        return None
    if after["raw"] != before["raw"]:
        return {"raw": after["raw"]}
    instance = getattr(value, "pydantic", None)
    if after["pydantic"] != before["pydantic"] and isinstance(instance, BaseModel):  # the text follows the instance
        return {"raw": instance.model_dump_json(by_alias=True)}
    return {"raw": json.dumps(after.get("json_dict"), ensure_ascii=False)}


def _content(output: BaseModel) -> dict[str, Any]:
    return output.model_dump(mode="json", include={"raw", "pydantic", "json_dict"})


# -- definitions ------------------------------------------------------------------------------------------


def as_guardrails(*given: Any) -> list[Guardrail]:
    """The guardrails of a definition's fields, in order: None, one or several; a sentence is checked by a model."""
    found: list[Guardrail] = []
    for value in given:
        for item in cast("list[Any]", value) if isinstance(value, list | tuple) else [value]:
            if item is not None:
                found.append(LLMGuardrail(item) if isinstance(item, str) else item)
    return found


def check_guardrails(value: Any) -> Any:
    """Checks what a definition's field was given; see ``as_guardrails``.

    Raises:
        ValueError: One is no guardrail.
    """
    for item in cast("list[Any]", value) if isinstance(value, list | tuple) else [value]:
        if isinstance(item, str):
            LLMGuardrail(item)
        elif item is not None and not isinstance(item, ModelGuardrail):
            _check_function(item)
    return cast("Any", value)


def _check_function(function: Any) -> None:
    """A guardrail takes one output and, if annotated, returns a pair (CrewAI's rule)."""
    if not callable(function) or isinstance(function, type):
        raise ValueError(
            f"a guardrail must be a function (output) -> (bool, Any) or a sentence, got {type(function).__name__} "
            f"{str(function)[:60]!r}"
        )
    signature = inspect.signature(function)
    needed = [
        p
        for p in signature.parameters.values()
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    name = getattr(function, "__name__", repr(function))
    if len(needed) != 1:
        raise ValueError(f"guardrail {name} must take one argument, the TaskOutput; it takes {len(needed)}")
    returns = signature.return_annotation
    if returns is signature.empty or isinstance(returns, str):
        return
    arguments = get_args(returns)
    if get_origin(returns) is not tuple or len(arguments) != 2 or arguments[0] is not bool:
        raise ValueError(f"guardrail {name} must return tuple[bool, Any], its annotation says {returns!r}")
