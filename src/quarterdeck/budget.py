"""What a run may use, and what it has used."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from quarterdeck.errors import ConfigError, RunStopped

_SMALL_REMAINDER = 4096
"""Tokens. Where less is left, an answer is held to it; a higher number would break models' own upper limits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Limits of one run. Each is checked before a call is sent; None means no limit.

    A run that reaches one ends with status ``limited``: steps under way are finished and kept, nothing new is
    begun, and the output holds what is done so far.

    Args:
        max_tokens: Prompt and completion tokens of all LLM calls. A call is not sent if its prompt alone would
            pass the limit (by an estimate of four characters a token), and its answer is held to what is left.
        max_cost_usd: Cost of all LLM calls in USD. Needs models whose price is known.
        max_llm_calls: Number of LLM calls; tries of one call count once.
        max_tool_calls: Number of tool calls.
        max_seconds: Time that the run is under way, over all its segments; interrupts a call under way.
        max_input_chars: Characters of the prompt of any single LLM call.

    Raises:
        ConfigError: A limit is no positive number.
    """

    max_tokens: int | None = None
    max_cost_usd: float | None = None
    max_llm_calls: int | None = None
    max_tool_calls: int | None = None
    max_seconds: float | None = None
    max_input_chars: int | None = None

    def __post_init__(self) -> None:
        for item in fields(self):
            value: object = getattr(self, item.name)
            if value is None:
                continue
            whole = item.name not in ("max_cost_usd", "max_seconds")
            kinds = int if whole else (int, float)
            if isinstance(value, bool) or not isinstance(value, kinds) or not 0 < value < math.inf:
                kind = "a whole number" if whole else "a number"
                raise ConfigError(f"Budget {item.name} must be {kind} above 0 or None, got {value!r}")


@dataclass(slots=True)
class Meter:
    """What a run has used, against its budget. It lives in the run, on one event loop."""

    budget: Budget
    tokens: int = 0
    cost_usd: float = 0.0
    cost_known: bool = True
    llm_calls: int = 0
    tool_calls: int = 0
    reserved_tokens: int = 0

    def before_llm(self, chars: int, *, priced: bool, model: str) -> int | None:
        """Takes one LLM call from the budget.

        Args:
            chars: Characters of the prompt.
            priced: Whether the model's price is known.
            model: The model, for the error.

        Returns:
            The most tokens that the answer may have, or None.

        Raises:
            RunStopped: A limit is reached.
            ConfigError: ``max_cost_usd`` is set and the model's price is not known.
        """
        limits = self.budget
        if limits.max_llm_calls is not None and self.llm_calls >= limits.max_llm_calls:
            raise _reached("max_llm_calls", limits.max_llm_calls, self.llm_calls)
        if limits.max_input_chars is not None and chars > limits.max_input_chars:
            raise _reached("max_input_chars", limits.max_input_chars, chars)
        if limits.max_cost_usd is not None:
            if not priced:
                raise ConfigError(
                    f"Budget max_cost_usd cannot be kept: the price of {model!r} is not known; "
                    "give it with LLM(..., price=(usd_per_million_input, usd_per_million_output))"
                )
            if self.cost_usd >= limits.max_cost_usd:
                raise _reached("max_cost_usd", limits.max_cost_usd, self.cost_usd)
        cap = self._reserve_tokens(chars // 4)
        self.llm_calls += 1
        return cap

    def _reserve_tokens(self, estimate: int) -> int | None:
        limit = self.budget.max_tokens
        if limit is None:
            return None
        left = limit - self.tokens - self.reserved_tokens - estimate
        if left <= 0:
            raise _reached("max_tokens", limit, self.tokens + self.reserved_tokens + estimate)
        self.reserved_tokens += estimate
        return left if left < _SMALL_REMAINDER else None

    def after_llm(self, chars: int, tokens: int, cost_usd: float | None) -> None:
        """Books an LLM call that was taken with ``before_llm``: its tokens (0 where it failed) and cost."""
        if self.budget.max_tokens is not None:
            self.reserved_tokens -= chars // 4
        self.book(tokens, cost_usd)

    def book(self, tokens: int, cost_usd: float | None) -> None:
        """Books tokens and their cost; None: the price is not known."""
        self.tokens += tokens
        if cost_usd is None:
            self.cost_known = False
        else:
            self.cost_usd += cost_usd

    def before_tool(self) -> None:
        """Takes one tool call from the budget.

        Raises:
            RunStopped: The limit is reached.
        """
        limit = self.budget.max_tool_calls
        if limit is not None and self.tool_calls >= limit:
            raise _reached("max_tool_calls", limit, self.tool_calls)
        self.tool_calls += 1


def _reached(limit: str, allowed: float, used: float) -> RunStopped:
    reason = f"the budget's {limit} of {allowed:g} is reached (at {used:g})"
    return RunStopped("limited", reason, limit, allowed=float(allowed), used=float(used))
