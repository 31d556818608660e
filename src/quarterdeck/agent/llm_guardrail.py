"""LLMGuardrail and HallucinationGuardrail: guardrails that ask a model."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field, field_validator

from quarterdeck.agent import prompts
from quarterdeck.agent.verdict import Hearing, ModelGuardrail
from quarterdeck.errors import ConfigError

_MAX_SOURCE = 24_000
"""Characters of one source that a hallucination check reads; of a longer one, head and tail."""


class GuardrailVerdict(BaseModel):
    """What a model says of an output.

    Args:
        valid: Whether it meets the condition.
        feedback: Where it does not: what is wrong, and what would be right.
    """

    valid: bool
    feedback: str = ""

    @field_validator("feedback", mode="before")
    @classmethod
    def _nothing(cls, value: Any) -> Any:
        return "" if value is None else value  # many models write null where there is nothing to say


class LLMGuardrail(ModelGuardrail):
    """A condition in words, checked by a model (CrewAI: ``LLMGuardrail``). ``guardrail="a sentence"`` makes one.

    Args:
        description: The condition, such as ``At most 100 words, and no brand names``.
        llm: The model that judges: a name, an ``LLM`` or a ``BaseLLM``; None takes the agent's own.

    Raises:
        ConfigError: The condition is empty, or the model is none.
    """

    def __init__(self, description: str, llm: Any = None) -> None:
        if not isinstance(description, str) or not description.strip():  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(f"a guardrail in words needs a sentence, got {description!r}")
        super().__init__(llm)
        self.description = description

    @property
    def name(self) -> str:
        text = " ".join(self.description.split())
        return repr(text if len(text) <= 60 else f"{text[:59]}…")

    async def verdict(self, output: str, hearing: Hearing) -> tuple[bool, str]:
        said = await self.ask(hearing, prompts.GUARDRAIL, prompts.guardrail(self.description, output), GuardrailVerdict)
        return said.valid, "" if said.valid else said.feedback.strip() or f"it does not meet: {self.description}"


class HallucinationVerdict(BaseModel):
    """What a model says of an output's faith to its sources.

    Args:
        unsupported: The claims that the sources do not bear out.
        score: From 0, nothing is borne out, to 10, all of it is.
    """

    unsupported: list[str] = Field(description="Claims of the output that the sources do not support, one each")
    score: float = Field(ge=0, le=10, description="10: every claim is supported; 0: none is")


class HallucinationGuardrail(ModelGuardrail):
    """Checks an output's claims against what it may rest on (CrewAI: ``HallucinationGuardrail``).

    The sources are ``context``; without one, the task's own text, the outputs it was given, and the results of its
    tools. A refusal lists the claims that they do not support.

    Args:
        llm: The model that judges; None takes the agent's own.
        context: The text to check against.
        threshold: The lowest score, from 0 to 10, that passes. None, the default, lets no unsupported claim pass.
        tool_response: One more source: what a tool said.

    Raises:
        ConfigError: The threshold is not from 0 to 10, or the model is none.
    """

    def __init__(
        self, llm: Any = None, context: str | None = None, threshold: float | None = None, tool_response: str = ""
    ) -> None:
        super().__init__(llm)
        if threshold is not None and not 0 <= threshold <= 10:
            raise ConfigError(f"HallucinationGuardrail threshold must be from 0 to 10, or None; got {threshold!r}")
        self.context = context
        self.threshold = threshold
        self.tool_response = tool_response

    @property
    def name(self) -> str:
        return "HallucinationGuardrail"

    async def verdict(self, output: str, hearing: Hearing) -> tuple[bool, str]:
        given = [self.context] if self.context else list(hearing.sources())
        sources = [_cut(text) for text in [*given, self.tool_response] if text.strip()]
        if not sources:
            raise ConfigError("HallucinationGuardrail has nothing to check against: give it context=...")
        text = prompts.hallucination(sources, output)
        said = await self.ask(hearing, prompts.HALLUCINATION, text, HallucinationVerdict)
        claims = [claim.strip() for claim in said.unsupported if claim.strip()]
        ok = not claims if self.threshold is None else said.score >= self.threshold
        return ok, "" if ok else self._feedback(said.score, claims)

    def _feedback(self, score: float, claims: list[str]) -> str:
        wanted = "" if self.threshold is None else f", at least {self.threshold:g} is needed"
        listed = "".join(f"\n- {claim}" for claim in claims)
        what = f"These claims have no support in the sources:{listed}" if claims else "No claim was named."
        return f"it scores {score:g} of 10 for faith to its sources{wanted}. {what}"


def _cut(text: str) -> str:
    if len(text) <= _MAX_SOURCE:
        return text
    half = _MAX_SOURCE // 2
    return f"{text[:half]}\n[… {len(text) - 2 * half} characters left out …]\n{text[-half:]}"
