"""What came of a crew's run."""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny

from quarterdeck.events import RunStatus
from quarterdeck.llm.types import UsageMetrics
from quarterdeck.runtime.receipts import ToolReceipt, failures
from quarterdeck.task.output import TaskOutput

OutputStatus = RunStatus | Literal["completed_with_issues"]
"""A run's status, or of a completed run: that tools failed, and nothing made up for it. The run's own status is
``completed`` then, in the journal and on the server."""


class CrewOutput(BaseModel):
    """The output of a run (CrewAI: ``CrewOutput``).

    Args:
        raw: The last task's text; of a run that ended early, the last text there is.
        pydantic: The last task's instance, where it gives one.
        json_dict: The last task's dict, where it gives one.
        tasks_output: The outputs of the finished tasks, in the crew's order.
        token_usage: Tokens and calls of the whole run, each call counted once.
        cost_usd: Cost of the whole run; None where a model's price is not known.
        run_id: The run's id.
        tool_receipts: All tool calls of the run, with what came of each; also those of tasks that were not finished.
        issues: The failed tool calls that need attention, in words.
        status: ``completed``, or ``completed_with_issues`` where there are some; ``limited`` by the budget,
            ``cancelled``, ``in_doubt`` or ``pending_human_input``: then the output is partial.
        ended_by: The limit that ended it (such as ``max_llm_calls``), or the path of the step in doubt or of the
            question to a person.
        reason: The same in words, with what to do.
    """

    model_config = ConfigDict(protected_namespaces=())

    raw: str = ""
    pydantic: SerializeAsAny[BaseModel] | None = None
    json_dict: dict[str, Any] | None = None
    tasks_output: list[TaskOutput] = Field(default_factory=list[TaskOutput])
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

    @property
    def tool_failures(self) -> list[ToolReceipt]:
        """The tool calls that failed, those left out whose policy is ``ignore``."""
        return failures(self.tool_receipts)

    @property
    def has_tool_failures(self) -> bool:
        """Whether one did."""
        return bool(self.tool_failures)

    @property
    def usage_metrics(self) -> dict[str, int]:
        """``token_usage`` as a dict."""
        return self.token_usage.model_dump()

    @property
    def json(self) -> str | None:  # pyright: ignore[reportIncompatibleMethodOverride] - CrewAI's name
        """The JSON text of the last task's ``output_json``.

        Raises:
            ValueError: The last task has no ``output_json``.
        """
        if self.json_dict is None:
            raise ValueError("the last task gives no JSON: set output_json=YourModel on it")
        return json.dumps(self.json_dict, ensure_ascii=False)

    def to_dict(self) -> dict[str, Any]:
        """The structured output as a dict; empty where there is none."""
        if self.json_dict is not None:
            return self.json_dict
        return self.pydantic.model_dump() if self.pydantic else {}

    def __getitem__(self, key: str) -> Any:
        if self.pydantic is not None and hasattr(self.pydantic, key):
            return getattr(self.pydantic, key)
        if self.json_dict is not None and key in self.json_dict:
            return self.json_dict[key]
        raise KeyError(f"{key!r} is not in the structured output; it has {sorted(self.to_dict())}")

    def __str__(self) -> str:
        if self.pydantic:
            return str(self.pydantic)
        return json.dumps(self.json_dict, ensure_ascii=False) if self.json_dict is not None else self.raw
