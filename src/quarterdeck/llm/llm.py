"""LLM: a model of any provider, named as ``provider/model``."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, Self, cast

from pydantic import BaseModel

from quarterdeck.errors import ConfigError
from quarterdeck.llm import anthropic, openai, prices
from quarterdeck.llm.base import BaseLLM
from quarterdeck.llm.failures import Caller
from quarterdeck.llm.http import Call, post, stream
from quarterdeck.llm.providers import PROVIDERS, Provider, default_model, resolve
from quarterdeck.llm.structured import output_schema
from quarterdeck.llm.types import LLMRequest, LLMResponse, OnDelta, OutputSchema, UsageMetrics

_AZURE_VERSION = "2024-10-21"

_SEES = re.compile(
    r"gpt-4o|gpt-4\.1|gpt-4-turbo|gpt-[5-9]|^o1$|^o3(?!-mini)|^o[4-9]|claude|gemini|gemma-?[3-9]|pixtral|llava|llama-?4|"
    r"mistral-(small|medium|large)|grok-[4-9]|vision|[-_]vl\b|vl[-:]",
    re.IGNORECASE,
)
_CALLS_NO_TOOLS = re.compile(r"^o1-(mini|preview)|^gpt-3\.5-turbo-instruct|^sonar")


class _Stream(Protocol):
    def feed(self, event: dict[str, Any]) -> None: ...
    def result(self) -> LLMResponse: ...


class _Wire(Protocol):
    """A protocol: a module with these functions."""

    def url(self, llm: LLM) -> str: ...
    def headers(self, llm: LLM, key: str) -> dict[str, str]: ...
    def body(self, llm: LLM, request: LLMRequest, stream: bool) -> dict[str, Any]: ...
    def response(self, who: Caller, data: dict[str, Any]) -> LLMResponse: ...
    @property
    def Stream(self) -> Callable[[Caller, OnDelta | None], _Stream]: ...


_WIRES: dict[str, _Wire] = {"openai": openai, "azure": openai, "anthropic": anthropic}


class LLM(BaseLLM):
    """A model of a provider (CrewAI: ``crewai.LLM``).

    ``LLM("openai/gpt-4o-mini")`` speaks the provider's own protocol (the table is in ``llm/providers.py``);
    ``local/...`` is a model in this process; a prefix that is in no table is passed to LiteLLM, where the extra
    is installed.

    Args:
        model: ``provider/model``, or a name alone. None: ``QUARTERDECK_MODEL``, then ``OPENAI_MODEL_NAME``, then
            ``MODEL``, else ``gpt-4o-mini``.
        temperature: Sampling temperature; None, as everywhere here, leaves the provider's default.
        timeout: Seconds for one whole try, from connecting to the last byte; None: no limit.
        connect_timeout: Seconds to connect.
        read_timeout: Seconds without a byte. A model that does not stream is silent until it has its answer.
        max_retries: How often a call that failed in a way that may pass is sent again.
        top_p: Nucleus sampling.
        n: How many answers the provider makes; the first is used.
        stop: Texts that end an answer. Where the model takes none, the answer is cut at them.
        max_tokens: Upper limit of an answer in tokens.
        max_completion_tokens: The same, by its newer name.
        presence_penalty: As the provider defines it.
        frequency_penalty: As the provider defines it.
        logit_bias: As the provider defines it.
        response_format: A pydantic class that each answer must fit, or the provider's own dict.
        seed: As the provider defines it.
        logprobs: As the provider defines it.
        top_logprobs: As the provider defines it.
        reasoning_effort: ``minimal``, ``low``, ``medium`` or ``high``.
        thinking: Anthropic's ``thinking`` dict, in place of ``reasoning_effort``.
        api_key: The key; else the provider's environment variable is read at each call.
        base_url: Where the provider is; else its environment variable, else its public address.
        api_base: The same, by LiteLLM's name.
        api_version: Azure's API version.
        stream: Ask for the answer piece by piece even where nobody watches.
        provider: The provider, where it is not to be read from ``model``.
        custom_openai: ``base_url`` speaks OpenAI's protocol, and all of ``model`` is the model's name there.
        is_litellm: Use LiteLLM.
        price: USD per million input and output tokens, in place of the price list's.
        default_headers: Headers added to each call.
        callbacks: Taken for compatibility; subscribe to events instead.
        additional_params: Put into each call's body; so is every argument that has no name here.

    Raises:
        ConfigError: The model's name is empty, or needs an extra that is not installed. A missing key is told at
            the first call.
    """

    def __new__(cls, model: str | None = None, *args: Any, **kwargs: Any) -> Self:
        """Picks the class that serves the model."""
        kind = _other_class(model, kwargs) if cls is LLM else None
        if kind is None or issubclass(kind, LLM):
            return cast("Self", object.__new__(kind or cls))
        return cast("Self", kind(model or default_model(), *args, **kwargs))

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles without choosing a class again."""
        return object.__new__, (type(self),), self.__dict__

    def __init__(
        self,
        model: str | None = None,
        temperature: float | None = None,
        *,
        timeout: float | None = 600.0,
        connect_timeout: float | None = 10.0,
        read_timeout: float | None = None,
        max_retries: int = 4,
        top_p: float | None = None,
        n: int | None = None,
        stop: str | Sequence[str] | None = None,
        max_tokens: int | None = None,
        max_completion_tokens: int | None = None,
        presence_penalty: float | None = None,
        frequency_penalty: float | None = None,
        logit_bias: Mapping[Any, float] | None = None,
        response_format: type[BaseModel] | dict[str, Any] | None = None,
        seed: int | None = None,
        logprobs: bool | int | None = None,
        top_logprobs: int | None = None,
        reasoning_effort: str | None = None,
        thinking: dict[str, Any] | None = None,
        api_key: str | None = None,
        base_url: str | None = None,
        api_base: str | None = None,
        api_version: str | None = None,
        stream: bool = False,
        provider: str | None = None,
        custom_openai: bool = False,
        is_litellm: bool = False,
        price: tuple[float, float] | None = None,
        default_headers: Mapping[str, str] | None = None,
        callbacks: Any = None,
        additional_params: dict[str, Any] | None = None,
        **more: Any,
    ) -> None:
        del is_litellm, callbacks
        name, model = resolve(model or default_model(), provider, custom_openai)
        super().__init__(
            model,
            temperature,
            stop=stop,
            max_tokens=_whole("max_tokens", max_tokens),
            api_key=api_key,
            base_url=base_url or api_base,
            provider=name,
            timeout=timeout,
            max_retries=max_retries,
            price=price,
            **{**(additional_params or {}), **more},
        )
        self.connect_timeout = connect_timeout
        self.read_timeout = read_timeout
        self.top_p = top_p
        self.n = n
        self.max_completion_tokens = _whole("max_completion_tokens", max_completion_tokens)
        self.presence_penalty = presence_penalty
        self.frequency_penalty = frequency_penalty
        self.logit_bias = logit_bias
        self.response_format = response_format
        self.seed = seed
        self.logprobs = logprobs
        self.top_logprobs = top_logprobs
        self.reasoning_effort = reasoning_effort
        self.thinking = thinking
        self.api_version = api_version
        self.stream = stream
        self.default_headers = dict(default_headers or {})

    def __repr__(self) -> str:
        return f"LLM({f'{self.provider}/{self.model}'!r})"

    # -- what the wire needs to know ------------------------------------------------------------------------

    @property
    def _at(self) -> Provider:
        return PROVIDERS[self.provider]

    @property
    def wire(self) -> str:
        """The provider's protocol: ``openai``, ``azure`` or ``anthropic``."""
        return self._at.wire

    @property
    def stream_options(self) -> bool:
        """Whether the provider takes ``stream_options``."""
        return self._at.stream_options

    def base(self) -> str:
        """The base URL; raises ConfigError where there is none."""
        return self._at.url(self.base_url)

    def azure_version(self) -> str:
        """Azure's API version."""
        found = self.api_version or os.environ.get("AZURE_API_VERSION") or os.environ.get("OPENAI_API_VERSION")
        return found or _AZURE_VERSION

    def stop_texts(self, request: LLMRequest) -> list[str]:
        """This model's and the request's stop texts."""
        return list(dict.fromkeys([*self.stop, *request.stop]))

    # -- what the model can do ------------------------------------------------------------------------------

    def supports_function_calling(self) -> bool:
        return not _CALLS_NO_TOOLS.match(self.model)

    def supports_output_schema(self) -> bool:
        return self._at.takes_schema(self.model)

    def supports_schema_with_tools(self) -> bool:
        return self.supports_output_schema() and self._at.takes_schema_with_tools(self.model)

    def supports_stop_words(self) -> bool:
        return not (self.wire != "anthropic" and openai.is_reasoning_model(self.model))

    def supports_multimodal(self) -> bool:
        return _SEES.search(self.model) is not None

    def get_context_window_size(self) -> int:
        return prices.context_window(self._at.prices or self.provider, self.model)

    def cost(self, usage: UsageMetrics) -> float | None:
        if self.price is not None:
            return super().cost(usage)
        return prices.cost(self._at.prices or self.provider, self.model, usage)

    # -- one call -------------------------------------------------------------------------------------------

    async def complete(self, request: LLMRequest, on_delta: OnDelta | None = None) -> LLMResponse:
        """Makes one call, with no retry and no whole-call limit: those are ``send``'s.

        Raises:
            ConfigError: There is no key, or no base URL.
            LLMError: The call failed.
        """
        if request.output_schema is None and self.response_format is not None:
            request = self._with_response_format(request)
        wire, who = _WIRES[self.wire], self._caller()
        streams = self.stream or on_delta is not None
        call = self._call(wire, who, request, streams)
        if not streams:
            return self._cut(request, wire.response(who, await post(call)))
        answer = wire.Stream(who, on_delta)
        async with contextlib.aclosing(stream(call)) as events:
            async for event in events:
                answer.feed(event)
        return self._cut(request, answer.result())

    def _with_response_format(self, request: LLMRequest) -> LLMRequest:
        form = self.response_format
        if isinstance(form, type):
            return replace(request, output_schema=output_schema(form))
        given = form.get("json_schema") if form and self.wire == "anthropic" else None
        if not given:
            return request  # the wire sends it as it is
        return replace(request, output_schema=OutputSchema(given.get("name", "answer"), given["schema"]))

    def _caller(self) -> Caller:
        return Caller(self.provider, self.model, self._at.key(self.api_key, optional=bool(self.base_url)))

    def _call(self, wire: _Wire, who: Caller, request: LLMRequest, streams: bool) -> Call:
        headers = {"Content-Type": "application/json", **wire.headers(self, who.key), **self.default_headers}
        if request.step_key:
            headers["Idempotency-Key"] = request.step_key
        body = wire.body(self, request, streams)
        return Call(wire.url(self), headers, body, who, self.connect_timeout, self.read_timeout)

    def _cut(self, request: LLMRequest, answer: LLMResponse) -> LLMResponse:
        """The answer up to the first stop text, where the provider may not have stopped there itself."""
        stop = self.stop_texts(request)
        if not stop or (len(stop) <= openai.MOST_STOP_TEXTS and self.supports_stop_words()):
            return answer
        ends = [end for text in stop if (end := answer.text.find(text)) >= 0]
        return replace(answer, text=answer.text[: min(ends)]) if ends else answer


def _whole(name: str, value: float | None) -> int | None:
    """CrewAI takes floats for limits."""
    if value is None:
        return None
    if value < 1:
        raise ConfigError(f"{name} must be at least 1, got {value!r}; leave it out for no limit")
    return int(value)


def _other_class(model: str | None, kwargs: dict[str, Any]) -> type[BaseLLM] | None:
    """The class that serves a model whose protocol is not one of ours; None where it is."""
    provider, custom = kwargs.get("provider"), kwargs.get("custom_openai", False)
    name, _ = resolve(model or default_model(), provider, custom)
    if name == "local":
        from quarterdeck.llm.local import LocalLLM

        return LocalLLM
    if name in PROVIDERS and not kwargs.get("is_litellm"):
        return None
    from quarterdeck.llm.litellm import LiteLLM

    return LiteLLM


def create_llm(value: str | BaseLLM | Mapping[str, Any] | None) -> BaseLLM:
    """A model from what users give where one is asked for (CrewAI: ``create_llm``).

    Args:
        value: A model; its name; a dict of ``LLM``'s arguments, where ``model_name`` and ``deployment_name`` also
            name the model; None for the default one.

    Raises:
        ConfigError: It is none of these.
    """
    if isinstance(value, BaseLLM):
        return value
    if value is None or isinstance(value, str):
        return LLM(value)
    if isinstance(value, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        settings = dict(value)
        names = [settings.pop(key, None) for key in ("model", "model_name", "deployment_name")]
        return LLM(next((name for name in names if name), None), **settings)
    raise ConfigError(f"llm must be a model's name, a dict, an LLM or None, got {type(value).__name__}")
