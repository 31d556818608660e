"""Receipts: which tools ran in a run, with what outcome; read from the run's finished steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from quarterdeck.events import Event, ToolFinished

_NO_FAULT = ("usage_limit", "blocked")
"""Calls that were not made because somebody had said so: a limit, a hook."""


@dataclass(slots=True, kw_only=True)
class ToolReceipt:
    """One call of a tool that a model asked for.

    Args:
        task: The task's name; ``agent`` for an agent on its own.
        agent: The role of the agent that called.
        tool: The tool's name.
        ok: Whether it did what it was asked.
        reason: Why it did not, in CrewAI's words: ``tool_reported``, ``exception``, ``mcp_error``, ``usage_limit``,
            ``unknown_tool``, ``invalid_input``, ``blocked``.
        message: What the model was told of the failure.
        handled: Whether a failure needs nobody's attention: a later call of the same tool in the same task succeeded
            (of any tool, where the model had named one that is not there), the policy is ``ignore``, or the call was
            refused by ``max_usage_count`` or a hook.
        policy: What a failure does to the task: ``ignore``, ``warn`` or ``raise``; "" where there was none.
        cached: Whether an earlier result was used again.
        seconds: Time the tool took.
        path: The step's path, such as ``research/1/tool/2``.
    """

    task: str
    agent: str
    tool: str
    ok: bool
    reason: str = ""
    message: str = ""
    handled: bool = True
    policy: str = ""
    cached: bool = False
    seconds: float = 0.0
    path: str

    def __str__(self) -> str:
        said = " ".join(self.message.split())
        outcome = "ok" if self.ok else f"failed ({self.reason}): {said if len(said) <= 200 else said[:200] + '…'}"
        return f"{self.task}: {self.tool} {outcome} [{self.path}]"


def tool_receipts(finished: Mapping[str, Event], task: str | None = None) -> list[ToolReceipt]:
    """The receipts of a run, in order.

    Args:
        finished: The run's finished steps by their paths; others than tool calls are passed over.
        task: Only those of this task.
    """
    calls = [
        (path, event)
        for path, event in finished.items()
        if isinstance(event, ToolFinished) and (task is None or path.partition("/")[0] == task)
    ]
    found: list[ToolReceipt] = []
    succeeded: set[tuple[str, str]] = set()  # later than the one that is looked at
    for path, event in reversed(calls):
        name = path.partition("/")[0]
        handled = event.ok or event.policy == "ignore" or event.reason in _NO_FAULT
        if not handled:
            wanted = "" if event.reason == "unknown_tool" else event.tool
            handled = (name, wanted) in succeeded
        if event.ok:
            succeeded |= {(name, event.tool), (name, "")}
        found.append(_receipt(event, name, handled))
    return found[::-1]


def _receipt(event: ToolFinished, task: str, handled: bool) -> ToolReceipt:
    return ToolReceipt(
        task=task,
        agent=event.agent,
        tool=event.tool,
        ok=event.ok,
        reason=event.reason,
        message="" if event.ok else event.output,
        handled=handled,
        policy=event.policy,
        cached=event.cached,
        seconds=event.seconds,
        path=event.path,
    )


def failures(receipts: Iterable[ToolReceipt]) -> list[ToolReceipt]:
    """The failed calls, but for those that the policy ``ignore`` leaves out."""
    return [receipt for receipt in receipts if not receipt.ok and receipt.policy != "ignore"]


def issues(receipts: Iterable[ToolReceipt]) -> list[str]:
    """What needs attention: the failed calls that were not handled, in words."""
    return [str(receipt) for receipt in receipts if not receipt.handled]
