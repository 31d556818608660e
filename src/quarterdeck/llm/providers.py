"""Which provider a model's name means, where it is, and where its key comes from."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Literal

from quarterdeck.errors import ConfigError

DEFAULT_MODEL = "gpt-4o-mini"
MODEL_VARIABLES = ("QUARTERDECK_MODEL", "OPENAI_MODEL_NAME", "MODEL")

_ALL = re.compile("")


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider of models.

    Args:
        name: The prefix in ``LLM("name/model")``.
        base_url: Where it is; "" where it must be given.
        key_variables: Environment variables that may hold the key, best first; none where no key is needed.
        url_variables: Environment variables that may hold another base URL, best first.
        wire: The protocol it speaks; ``azure`` is OpenAI's with the deployment in the URL.
        prices: Its id in genai-prices, where that is not its name; "" keeps the name.
        json_schema: Which models take ``response_format`` of type ``json_schema``; None: none does.
        schema_with_tools: Which of them take it in a call that offers tools too. Gemini 2 refuses such a call; vLLM,
            Ollama and their like answer in the schema and never call a tool.
        stream_options: Whether it takes ``stream_options``; the others send the usage of a stream unasked.
        key_optional: No error when no key is found (a server of one's own).
        path: Added to a base URL that has no path.
    """

    name: str
    base_url: str
    key_variables: tuple[str, ...] = ()
    url_variables: tuple[str, ...] = ()
    wire: Literal["openai", "azure", "anthropic"] = "openai"
    prices: str = ""
    json_schema: re.Pattern[str] | None = _ALL
    schema_with_tools: re.Pattern[str] | None = _ALL
    stream_options: bool = True
    key_optional: bool = False
    path: str = ""

    def key(self, given: str | None, optional: bool = False) -> str:
        """The key: the one given, else the first variable that is set; "" where none is needed.

        Args:
            given: The key that the user gave.
            optional: Whether the provider can do without, whoever it is.

        Raises:
            ConfigError: There is none.
        """
        key = given or _first_set(self.key_variables)
        if not key and not (optional or self.key_optional):
            names = " or ".join(self.key_variables)
            raise ConfigError(f"no API key for {self.name}: set {names}, or pass LLM(..., api_key=...)")
        return key

    def url(self, given: str | None) -> str:
        """The base URL without a slash at its end.

        Raises:
            ConfigError: There is none.
        """
        url = given or _first_set(self.url_variables) or self.base_url
        if not url:
            names = " or ".join(self.url_variables)
            raise ConfigError(f"no base URL for {self.name}: set {names}, or pass LLM(..., base_url=...)")
        url = url.rstrip("/")
        if self.path:
            url = url if "://" in url else f"http://{url}"
            url += self.path if url.count("/") == 2 else ""
        return url

    def takes_schema(self, model: str) -> bool:
        """Whether a model takes a JSON schema for its answer."""
        return self.json_schema is not None and self.json_schema.match(model) is not None

    def takes_schema_with_tools(self, model: str) -> bool:
        """Whether a model that takes a JSON schema takes it beside tools."""
        return self.schema_with_tools is not None and self.schema_with_tools.match(model) is not None


def _first_set(variables: tuple[str, ...]) -> str:
    return next((value for name in variables if (value := os.environ.get(name, "").strip())), "")


_NOT_THE_OLD_ONES = re.compile(r"(?!gpt-3\.5|gpt-4(-|$)|chatgpt-|o1-mini|o1-preview|gpt-4o-2024-05-13)")

_TABLE = (
    Provider(
        "openai",
        "https://api.openai.com/v1",
        ("OPENAI_API_KEY",),
        ("OPENAI_BASE_URL", "OPENAI_API_BASE"),
        json_schema=_NOT_THE_OLD_ONES,
    ),
    Provider("anthropic", "https://api.anthropic.com", ("ANTHROPIC_API_KEY",), ("ANTHROPIC_BASE_URL",), "anthropic"),
    Provider(
        "azure",
        "",
        ("AZURE_API_KEY", "AZURE_OPENAI_API_KEY"),
        ("AZURE_ENDPOINT", "AZURE_OPENAI_ENDPOINT", "AZURE_API_BASE"),
        "azure",
    ),
    Provider(
        "gemini",
        "https://generativelanguage.googleapis.com/v1beta/openai",
        ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        ("GEMINI_BASE_URL",),
        prices="google",
        schema_with_tools=re.compile(r"gemini-[3-9]"),
    ),
    Provider(
        "groq",
        "https://api.groq.com/openai/v1",
        ("GROQ_API_KEY",),
        ("GROQ_BASE_URL",),
        json_schema=re.compile(r".*(gpt-oss|llama-4|kimi-k2)"),
        schema_with_tools=None,
    ),
    Provider("mistral", "https://api.mistral.ai/v1", ("MISTRAL_API_KEY",), ("MISTRAL_BASE_URL",), stream_options=False),
    Provider(
        "deepseek", "https://api.deepseek.com/v1", ("DEEPSEEK_API_KEY",), ("DEEPSEEK_BASE_URL",), json_schema=None
    ),
    Provider("openrouter", "https://openrouter.ai/api/v1", ("OPENROUTER_API_KEY",), ("OPENROUTER_BASE_URL",)),
    Provider("xai", "https://api.x.ai/v1", ("XAI_API_KEY",), ("XAI_BASE_URL",), prices="x-ai"),
    Provider(
        "together_ai", "https://api.together.xyz/v1", ("TOGETHER_API_KEY", "TOGETHERAI_API_KEY"), prices="together"
    ),
    Provider("fireworks_ai", "https://api.fireworks.ai/inference/v1", ("FIREWORKS_API_KEY",), prices="fireworks"),
    Provider(
        "cerebras",
        "https://api.cerebras.ai/v1",
        ("CEREBRAS_API_KEY",),
        ("CEREBRAS_BASE_URL",),
        schema_with_tools=None,
    ),
    Provider(
        "dashscope",
        "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        ("DASHSCOPE_API_KEY",),
        ("DASHSCOPE_BASE_URL",),
        json_schema=None,
    ),
    Provider("perplexity", "https://api.perplexity.ai", ("PERPLEXITY_API_KEY", "PERPLEXITYAI_API_KEY")),
    Provider("nvidia_nim", "https://integrate.api.nvidia.com/v1", ("NVIDIA_NIM_API_KEY", "NVIDIA_API_KEY")),
    Provider("moonshot", "https://api.moonshot.ai/v1", ("MOONSHOT_API_KEY",), ("MOONSHOT_BASE_URL",)),
    Provider(
        "ollama",
        "http://localhost:11434/v1",
        ("OLLAMA_API_KEY",),
        ("OLLAMA_BASE_URL", "OLLAMA_API_BASE", "OLLAMA_HOST"),
        schema_with_tools=None,
        key_optional=True,
        path="/v1",  # OLLAMA_HOST is a host and a port
    ),
    Provider(
        "hosted_vllm",
        "http://localhost:8000/v1",
        ("HOSTED_VLLM_API_KEY", "VLLM_API_KEY"),
        ("HOSTED_VLLM_API_BASE", "VLLM_BASE_URL"),
        schema_with_tools=None,
        key_optional=True,
    ),
    Provider(
        "lm_studio",
        "http://localhost:1234/v1",
        ("LM_STUDIO_API_KEY",),
        ("LM_STUDIO_API_BASE",),
        schema_with_tools=None,
        key_optional=True,
    ),
)

_OTHER_NAMES = {
    "claude": "anthropic",
    "azure_openai": "azure",
    "google": "gemini",
    "mistralai": "mistral",
    "x-ai": "xai",
    "together": "together_ai",
    "fireworks": "fireworks_ai",
    "ollama_chat": "ollama",
    "vllm": "hosted_vllm",
}

_BY_NAME = {provider.name: provider for provider in _TABLE}
PROVIDERS = _BY_NAME | {other: _BY_NAME[name] for other, name in _OTHER_NAMES.items()}
"""The providers by every name they have."""

_BARE_NAMES = (
    (re.compile(r"claude-"), "anthropic"),
    (re.compile(r"gemini-"), "gemini"),
    (re.compile(r"(mistral|ministral|codestral|magistral|pixtral|devstral|open-mi[sx]tral)-"), "mistral"),
    (re.compile(r"deepseek-(chat|reasoner)$"), "deepseek"),
    (re.compile(r"grok-"), "xai"),
)
"""What a name with no prefix means; all others are OpenAI's."""


def default_model() -> str:
    """The model that is meant when none is named."""
    return _first_set(MODEL_VARIABLES) or DEFAULT_MODEL


def resolve(model: str, provider: str | None = None, custom_openai: bool = False) -> tuple[str, str]:
    """The provider's name and the model's name there.

    Args:
        model: ``provider/model``, or a name alone: the provider is then inferred, and is OpenAI by default.
        provider: The provider, where it is not to be read from the name.
        custom_openai: A server that speaks OpenAI's protocol: the whole name is the model's.

    Returns:
        The provider in this module's own spelling (``google`` becomes ``gemini``); a prefix that is not in the
        table is returned as it is.

    Raises:
        ConfigError: The name is empty.
    """
    prefix, slash, rest = model.partition("/")
    if not model.strip() or (slash and not rest.strip()):
        raise ConfigError(f"model={model!r} names no model; expected e.g. 'openai/gpt-4o-mini'")
    if custom_openai:
        return "openai", model
    if provider:
        known = PROVIDERS[provider].name if provider in PROVIDERS else provider
        same = slash and (PROVIDERS[prefix].name if prefix in PROVIDERS else prefix) == known
        return known, rest if same else model
    if not slash:
        return next((name for pattern, name in _BARE_NAMES if pattern.match(model)), "openai"), model
    return PROVIDERS[prefix].name if prefix in PROVIDERS else prefix, rest
