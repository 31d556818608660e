"""What calls cost."""

from __future__ import annotations

import socket
import timeit

import pytest

from quarterdeck.llm import LLM, UsageMetrics, prices

MILLION = UsageMetrics(prompt_tokens=1_000_000, completion_tokens=1_000_000, total_tokens=2_000_000)


@pytest.mark.parametrize(
    ("model", "usd"),
    [("openai/gpt-4o-mini", 0.75), ("gpt-4o", 2.5 + 10), ("claude-3-haiku-20240307", 0.25 + 1.25)],
)
def test_known_models(model: str, usd: float) -> None:
    assert LLM(model).cost(MILLION) == pytest.approx(usd)


@pytest.mark.parametrize("model", ["openai/no-such-model", "ollama/llama3.2", "hosted_vllm/x", "azure/my-deployment"])
def test_unknown_models_cost_none_not_nothing(model: str) -> None:
    assert LLM(model).cost(MILLION) is None


def test_cached_tokens_have_their_own_price() -> None:
    cached = MILLION.model_copy(update={"cached_prompt_tokens": 400_000})
    assert LLM("gpt-4o").cost(cached) == pytest.approx(0.6 * 2.5 + 0.4 * 1.25 + 10)
    written = MILLION.model_copy(update={"cached_prompt_tokens": 400_000, "cache_creation_tokens": 100_000})
    assert LLM("claude-3-haiku-20240307").cost(written) == pytest.approx(0.5 * 0.25 + 0.4 * 0.03 + 0.1 * 0.30 + 1.25)


def test_a_price_of_ones_own() -> None:
    assert LLM("gpt-4o", price=(1, 2)).cost(MILLION) == pytest.approx(3)
    assert LLM("ollama/llama3.2", price=(0, 0)).cost(MILLION) == 0


def test_prices_that_depend_on_the_number_of_tokens() -> None:
    """Long prompts of this model cost more per token: the short way to a price must not be taken."""
    short = UsageMetrics(prompt_tokens=100_000)
    long = UsageMetrics(prompt_tokens=400_000)
    llm = LLM("gemini/gemini-2.5-pro")
    small, large = llm.cost(short), llm.cost(long)
    assert small is not None
    assert large is not None
    assert large > 4 * small * 1.5


def models() -> list[tuple[str, str]]:
    from genai_prices.data_snapshot import get_snapshot

    wanted = ("openai", "anthropic", "google", "mistral", "deepseek", "x-ai", "groq", "perplexity")
    return [(found.id, model.id) for found in get_snapshot().providers if found.id in wanted for model in found.models]


def test_every_price_agrees_with_the_price_lists_own_calculation() -> None:
    """Short and long prompts, on both sides of the tiers' limits."""
    from genai_prices import Usage, calc_price

    compared = 0
    for provider, model in models():
        for size in (1_000, 200_000, 200_001, 1_000_000):
            mine = UsageMetrics(
                prompt_tokens=size, cached_prompt_tokens=500, cache_creation_tokens=200, completion_tokens=70
            )
            theirs = Usage(input_tokens=size, cache_read_tokens=500, cache_write_tokens=200, output_tokens=70)
            try:
                expected = calc_price(theirs, model, provider_id=provider)
            except (LookupError, ValueError):
                continue
            assert prices.cost(provider, model, mine) == pytest.approx(float(expected.total_price)), (model, size)
            compared += 1
    assert compared > 500


def test_a_lookup_is_quick_and_needs_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    prices._find.cache_clear()  # pyright: ignore[reportPrivateUsage]
    for name in ("gpt-4o", "gemini/gemini-2.5-pro", "openai/unknown"):
        llm = LLM(name)
        llm.cost(MILLION)
        assert min(timeit.repeat(lambda llm=llm: llm.cost(MILLION), number=1000, repeat=5)) / 1000 < 50e-6
