"""Guardrails: functions that judge a task's output before it is accepted."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, cast

from quarterdeck.concurrency import call
from quarterdeck.errors import GuardrailError
from quarterdeck.events import GuardrailFinished
from quarterdeck.runtime.run import Run
from quarterdeck.task.output import TaskOutput


async def judge(run: Run, path: str, guardrail: Callable[..., Any], output: TaskOutput) -> GuardrailFinished:
    """Asks a guardrail about an output, or takes its verdict from the journal.

    Args:
        run: The run.
        path: The verdict's path, such as ``research/1/guardrail/1``.
        guardrail: The function.
        output: The output.

    Raises:
        GuardrailError: The function returned no pair of a bool and a value.
    """
    done = run.finished.get(path)
    if isinstance(done, GuardrailFinished):
        return done
    name = getattr(guardrail, "__name__", type(guardrail).__name__)
    before = _content(output)  # the guardrail may change the output in place
    ok, value = _verdict(name, await call(guardrail, output))
    event = GuardrailFinished(
        path=path,
        guardrail=name,
        ok=ok,
        feedback="" if ok else str(value),
        output=_replacement(name, value, before) if ok else None,
    )
    await run.record(event)
    return event


def _verdict(name: str, answer: Any) -> tuple[bool, Any]:
    pair = cast("tuple[Any, ...]", answer) if isinstance(answer, tuple) else ()
    if len(pair) != 2 or not isinstance(pair[0], bool):
        raise GuardrailError(f"guardrail {name} must return (True, output) or (False, why), it returned {answer!r}")
    ok, value = pair
    if ok and value is None:
        raise GuardrailError(f"guardrail {name} returned (True, None); return (True, output)")
    return ok, value


def _replacement(name: str, value: Any, before: dict[str, Any]) -> dict[str, Any] | None:
    """The text that the guardrail put in place of the output's; None where it left the output as it was."""
    if isinstance(value, str):
        return {"raw": value}
    if not isinstance(value, TaskOutput):
        kind = type(value).__name__
        raise GuardrailError(f"guardrail {name} returned (True, {kind}); expected the TaskOutput or a str")
    after = _content(value)
    if after == before:
        return None
    if after["raw"] != before["raw"]:
        return {"raw": value.raw}
    if after["pydantic"] != before["pydantic"] and value.pydantic:  # the text follows the instance
        return {"raw": value.pydantic.model_dump_json(by_alias=True)}
    return {"raw": json.dumps(value.json_dict, ensure_ascii=False)}


def _content(output: TaskOutput) -> dict[str, Any]:
    return output.model_dump(mode="json", include={"raw", "pydantic", "json_dict"})
