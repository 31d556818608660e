"""What a call costs, by the price list of genai-prices (no network: the list is the installed package's own)."""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from quarterdeck.llm.types import UsageMetrics


class _Rates(NamedTuple):
    """USD per million tokens."""

    input: float
    output: float
    cache_read: float
    cache_write: float


def cost(provider: str, model: str, usage: UsageMetrics) -> float | None:
    """The price of a call in USD.

    Args:
        provider: The provider's id in genai-prices, such as ``openai`` or ``google``.
        model: The model's name there.
        usage: The call's tokens; cached ones have their own price.

    Returns:
        None where the list does not know the provider or the model.
    """
    found = _find(provider, model)
    if found is None:
        return None
    rates = _flat(provider, model)
    if rates is None:
        return _by_rules(found, usage)
    read, written = usage.cached_prompt_tokens, usage.cache_creation_tokens
    fresh = max(0, usage.prompt_tokens - read - written)
    into = fresh * rates.input + read * rates.cache_read + written * rates.cache_write
    return (into + usage.completion_tokens * rates.output) / 1e6


def context_window(provider: str, model: str) -> int:
    """The context window in tokens; 0 where the list does not know it."""
    found = _find(provider, model)
    return (found[1].context_window or 0) if found else 0


@functools.lru_cache(maxsize=1024)
def _find(provider: str, model: str) -> tuple[Any, Any] | None:
    """The list's provider and model."""
    from genai_prices.data_snapshot import get_snapshot

    try:
        return get_snapshot().find_provider_model(model, None, provider, None)
    except LookupError:
        return None


@functools.lru_cache(maxsize=1024)
def _flat(provider: str, model: str) -> _Rates | None:
    """The model's rates, where they depend neither on the time nor on the number of tokens."""
    found = _find(provider, model)
    if found is None or isinstance(found[1].prices, list):
        return None
    price = found[1].prices
    names = ("input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok")
    values = [getattr(price, name, None) for name in names]
    if not all(value is None or isinstance(value, Decimal) for value in values) or getattr(price, "requests_kcount", 0):
        return None
    into, out, read, write = (None if value is None else float(value) for value in values)
    if into is None and out is None:
        return None
    into = into or 0.0
    return _Rates(into, out or 0.0, into if read is None else read, into if write is None else write)


def _by_rules(found: tuple[Any, Any], usage: UsageMetrics) -> float | None:
    from genai_prices import Usage

    provider, model = found
    used = Usage(
        input_tokens=usage.prompt_tokens,
        cache_read_tokens=usage.cached_prompt_tokens,
        cache_write_tokens=usage.cache_creation_tokens,
        output_tokens=usage.completion_tokens,
    )
    now = datetime.now(tz=UTC)
    try:
        return float(model.calc_price(used, provider, genai_request_timestamp=now).total_price)
    except (LookupError, ValueError):
        return None
