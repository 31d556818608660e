"""What came of a task."""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny

from quarterdeck.llm.types import Message
from quarterdeck.runtime.receipts import ToolReceipt, failures

OutputFormat = Literal["raw", "json", "pydantic"]


class TaskOutput(BaseModel):
    """A task's accepted output (CrewAI: ``TaskOutput``).

    Args:
        description: The task's description, with the inputs put in.
        name: The task's name.
        expected_output: What was expected.
        raw: The answer's text.
        pydantic: The instance of ``output_pydantic`` or ``response_model``.
        json_dict: The dict, for ``output_json``.
        agent: The role of the agent that did it.
        output_format: Which of the three forms it is.
        tool_receipts: The tool calls that it took, with what came of each.
        messages: The conversation that led to it; empty where the task was done in an earlier segment.
    """

    model_config = ConfigDict(protected_namespaces=())

    description: str
    name: str | None = None
    expected_output: str | None = None
    raw: str = ""
    pydantic: SerializeAsAny[BaseModel] | None = None
    json_dict: dict[str, Any] | None = None
    agent: str
    output_format: OutputFormat = "raw"
    tool_receipts: list[ToolReceipt] = Field(default_factory=list[ToolReceipt], repr=False)
    messages: list[Message] = Field(default_factory=list[Message], repr=False)

    @property
    def tool_failures(self) -> list[ToolReceipt]:
        """The tool calls that failed, those left out whose policy is ``ignore``."""
        return failures(self.tool_receipts)

    @property
    def has_tool_failures(self) -> bool:
        """Whether one did."""
        return bool(self.tool_failures)

    @property
    def summary(self) -> str:
        """The first ten words of the description."""
        return " ".join(self.description.split()[:10]) + "..."

    @property
    def json(self) -> str | None:  # pyright: ignore[reportIncompatibleMethodOverride] - CrewAI's name
        """The JSON text of an ``output_json`` task.

        Raises:
            ValueError: The task has no ``output_json``.
        """
        if self.output_format != "json":
            raise ValueError("the task gives no JSON: set output_json=YourModel on it")
        return json.dumps(self.json_dict, ensure_ascii=False)

    def to_dict(self) -> dict[str, Any]:
        """The structured output as a dict; empty where there is none."""
        if self.json_dict is not None:
            return self.json_dict
        return self.pydantic.model_dump() if self.pydantic else {}

    def __str__(self) -> str:
        if self.pydantic:
            return str(self.pydantic)
        return json.dumps(self.json_dict, ensure_ascii=False) if self.json_dict is not None else self.raw
