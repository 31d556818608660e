"""What came of a flow's run."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from quarterdeck.crew.output import OutputStatus
from quarterdeck.flow.values import to_json
from quarterdeck.llm.types import UsageMetrics
from quarterdeck.runtime.receipts import ToolReceipt


class FlowOutput(BaseModel):
    """The output of a flow's run, complete or not.

    Args:
        raw: The result as text; of a run that ended early, the last result there is.
        result: What the last method that finished returned.
        state: The state.
        method_outputs: What each method returned, in the order in which they finished.
        token_usage: Tokens and calls of the whole run, each call counted once.
        cost_usd: Cost of the whole run; None where a model's price is not known.
        run_id: The run's id.
        tool_receipts: The tool calls of its crews and agents, with what came of each; ``task`` is the method.
        issues: The failed tool calls that need attention, in words.
        status: ``completed``, or ``completed_with_issues`` where there are some; ``limited`` by the budget,
            ``cancelled``, ``in_doubt`` or ``pending_human_input``: then the output is partial.
        ended_by: The limit that ended it, or the path of the step in doubt or of the question to a person.
        reason: The same in words, with what to do.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    raw: str = ""
    result: Any = None
    state: Any = None
    method_outputs: list[Any] = Field(default_factory=list[Any])
    token_usage: UsageMetrics = Field(default_factory=UsageMetrics)
    cost_usd: float | None = None
    run_id: str = ""
    tool_receipts: list[ToolReceipt] = Field(default_factory=list[ToolReceipt], repr=False)
    issues: list[str] = Field(default_factory=list[str])
    status: OutputStatus = "completed"
    ended_by: str = ""
    reason: str = ""

    @property
    def partial(self) -> bool:
        """True where the run ended before its work was done."""
        return self.status not in ("completed", "completed_with_issues")

    def __str__(self) -> str:
        return self.raw


def as_text(result: Any) -> str:
    """A method's result as text: a text itself, a crew's or an agent's own text, else JSON."""
    if result is None:
        return ""
    if isinstance(result, str):
        return result
    raw = getattr(result, "raw", None)
    if isinstance(raw, str):
        return raw
    if isinstance(result, BaseModel):
        return result.model_dump_json()
    return json.dumps(to_json(result, "the result", strict=False)[0], ensure_ascii=False)
