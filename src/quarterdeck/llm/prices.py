"""What a call costs, by the price list of genai-prices (no network: the list is the installed package's own)."""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from typing import Any, NamedTuple

from quarterdeck.llm.types import UsageMetrics


class _Rates(NamedTuple):
    """USD per million tokens, where the prompt has more than ``above`` tokens."""

    above: int
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
    price = found[1].prices
    if isinstance(price, list):  # it depends on the date, or on the time of the day
        price = found[1].get_prices(datetime.now(tz=UTC))
    known = _rates.get(id(price))
    if known is None:
        known = _rates[id(price)] = (price, _rates_of(price))
    if not known[1]:
        return _by_rules(found, usage)
    rates = next(rates for rates in known[1] if usage.prompt_tokens > rates.above)
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


_rates: dict[int, tuple[Any, tuple[_Rates, ...]]] = {}
"""The rates of each of the list's prices, by its id; the price is held so that the id stays its own."""


def _rates_of(price: Any) -> tuple[_Rates, ...]:
    """The rates, those for the longest prompts first; none where they depend on more than tokens."""
    names = ("input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok")
    prices = [getattr(price, name, None) for name in names]
    if getattr(price, "requests_kcount", None) or (prices[0] is None and prices[1] is None):
        return ()
    starts = {tier.start for value in prices for tier in getattr(value, "tiers", ())}
    rates: list[_Rates] = []
    for above in sorted({-1, *starts}, reverse=True):
        into, out, read, write = (_at(value, above) for value in prices)
        into = into or 0.0
        rates.append(_Rates(above, into, out or 0.0, into if read is None else read, into if write is None else write))
    return tuple(rates)


def _at(value: Any, above: int) -> float | None:
    """A price where the prompt has more than ``above`` tokens: of all of them, not of those above."""
    if value is None:
        return None
    tiers: Any = getattr(value, "tiers", ())
    found = next((tier.price for tier in reversed(tiers) if tier.start <= above), getattr(value, "base", value))
    return float(found)


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
