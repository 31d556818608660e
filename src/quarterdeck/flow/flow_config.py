"""Who is asked by all flows of this process (CrewAI's module of the name)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from quarterdeck.flow.human_feedback import HumanFeedbackProvider


class InputProvider(Protocol):
    """Asks for a line of input (CrewAI: ``InputProvider``). ``request_input`` may be async; None is no answer."""

    def request_input(self, message: str, flow: Any, metadata: dict[str, Any] | None = None) -> Any: ...


@dataclass(slots=True)
class FlowConfig:
    """Who is asked where a flow names nobody.

    Args:
        hitl_provider: Asks for ``@human_feedback``.
        input_provider: Asks for ``flow.ask``.
    """

    hitl_provider: HumanFeedbackProvider | None = None
    input_provider: InputProvider | None = None


flow_config = FlowConfig()
"""The configuration of this process."""
