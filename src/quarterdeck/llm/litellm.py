"""Providers beyond our own protocols, through LiteLLM (the extra ``litellm``)."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import os
from typing import Any

from quarterdeck.errors import ConfigError, LLMError, LLMTimeoutError
from quarterdeck.llm import openai
from quarterdeck.llm.failures import Caller, failure_from
from quarterdeck.llm.llm import LLM
from quarterdeck.llm.providers import Provider
from quarterdeck.llm.types import LLMRequest, LLMResponse, OnDelta, UsageMetrics


class LiteLLM(LLM):
    """A model that LiteLLM reaches; ``LLM`` makes one for a prefix that it does not know itself.

    LiteLLM finds the key in the provider's own environment variables. It is loaded at the first use of the model,
    sends no telemetry, and tries nothing again itself: that is ``send``'s work.

    Args:
        model: The model's name, in LiteLLM's spelling.
        temperature: As for ``LLM``.
        settings: As for ``LLM``; ``connect_timeout`` and ``read_timeout`` are LiteLLM's own.

    Raises:
        ConfigError: The extra is not installed.
    """

    def __init__(self, model: str | None = None, temperature: float | None = None, **settings: Any) -> None:
        if importlib.util.find_spec("litellm") is None:
            raise ConfigError(
                f"model {model!r} is reached through LiteLLM, which is not installed: "
                "pip install 'quarterdeck[litellm]', or set custom_openai=True and base_url= for a server that "
                "speaks OpenAI's protocol"
            )
        super().__init__(model, temperature, **settings)
        self._name = f"{self.provider}/{self.model}"

    @property
    def _at(self) -> Provider:
        return Provider(self.provider, "", key_optional=True)

    def supports_function_calling(self) -> bool:
        return bool(_litellm().supports_function_calling(self._name))

    def supports_output_schema(self) -> bool:
        return bool(_litellm().supports_response_schema(self._name))

    def supports_multimodal(self) -> bool:
        return bool(_litellm().supports_vision(self._name))

    def get_context_window_size(self) -> int:
        with contextlib.suppress(Exception):  # it raises plain ones for models that it does not list
            return _litellm().get_model_info(self._name).get("max_input_tokens") or 0
        return 0

    def cost(self, usage: UsageMetrics) -> float | None:
        if self.price is not None:
            return super().cost(usage)
        with contextlib.suppress(Exception):  # as above
            into, out = _litellm().cost_per_token(
                model=self._name,
                prompt_tokens=usage.prompt_tokens,
                completion_tokens=usage.completion_tokens,
                cache_read_input_tokens=usage.cached_prompt_tokens,
                cache_creation_input_tokens=usage.cache_creation_tokens,
            )
            return into + out
        return None

    async def complete(self, request: LLMRequest, on_delta: OnDelta | None = None) -> LLMResponse:
        """Makes one call; raises as ``LLM.complete`` does."""
        if request.output_schema is None and self.response_format is not None:
            request = self._with_response_format(request)
        who = Caller(self.provider, self.model, self.api_key or "")
        streams = self.stream or on_delta is not None
        base: Any = importlib.import_module("openai").OpenAIError  # the root of LiteLLM's errors
        try:
            answer = await _litellm().acompletion(**self._arguments(request, streams))
            if not streams:
                return self._cut(request, openai.response(who, answer.model_dump()))
            collected = openai.Stream(who, on_delta)
            async for chunk in answer:
                collected.feed(chunk.model_dump())
        except base as error:
            raise _failure(who, error) from error
        return self._cut(request, collected.result())

    def _arguments(self, request: LLMRequest, streams: bool) -> dict[str, Any]:
        headers = dict(self.default_headers)
        if request.step_key:
            headers["Idempotency-Key"] = request.step_key
        return {
            **openai.body(self, request, streams),
            "model": self._name,
            "api_key": self.api_key,
            "api_base": self.base_url,
            "api_version": self.api_version,
            "thinking": self.thinking,
            "timeout": self.timeout,
            "num_retries": 0,
            "max_retries": 0,
            "drop_params": True,  # what a provider does not take is left out, as with our own wires
            "extra_headers": headers or None,
        }


@functools.cache
def _litellm() -> Any:
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else importing it fetches a file
    litellm: Any = importlib.import_module("litellm")
    litellm.suppress_debug_info = True
    litellm.telemetry = False
    return litellm


def _failure(who: Caller, error: Any) -> LLMError:
    text = str(getattr(error, "message", error))
    if type(error).__name__ in ("Timeout", "APITimeoutError"):
        return LLMTimeoutError(f"{who}: {who.safe(text)}", model=who.model)
    headers: Any = getattr(getattr(error, "response", None), "headers", None) or {}
    status = getattr(error, "status_code", None)
    return failure_from(who, status if isinstance(status, int) else 500, headers, text.encode())
