"""``@human_feedback``: a person judges a method's result, and may choose what comes next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Feedback:
    """How a person is asked about a method's result.

    Args:
        message: What the person is asked.
        emit: The outcomes that there can be; () where the feedback has none.
        llm: The model that reads an outcome from the feedback.
        default_outcome: The outcome of an empty feedback; None: the first one.
        metadata: Given on to whoever asks.
        provider: Who asks; None: whoever is asked in this run.
    """

    message: str
    emit: tuple[str, ...] = ()
    llm: Any = None
    default_outcome: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    provider: Any = None
