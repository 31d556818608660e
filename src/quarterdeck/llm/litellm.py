"""Providers beyond our own protocols, through LiteLLM (the extra ``litellm``)."""

from __future__ import annotations

from typing import Any

from quarterdeck.errors import ConfigError
from quarterdeck.llm.base import BaseLLM


class LiteLLM(BaseLLM):
    """A model that LiteLLM reaches."""

    def __init__(self, model: str, *args: Any, **kwargs: Any) -> None:
        raise ConfigError(f"model {model!r} needs LiteLLM: pip install 'quarterdeck[litellm]'")
