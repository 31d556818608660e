"""How an agent's conversation with its model begins: who it is, and what it is asked, in our words or a template's."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from quarterdeck.agent import prompts
from quarterdeck.llm.types import Message

if TYPE_CHECKING:
    from quarterdeck.agent.agent import Agent

SYSTEM, PROMPT, RESPONSE = "{{ .System }}", "{{ .Prompt }}", "{{ .Response }}"
_SYSTEM_TOKENS = re.compile(rf"{re.escape(SYSTEM)}|\{{(?:role|goal|backstory)\}}")


@dataclass(frozen=True, slots=True)
class Persona:
    """An agent's texts with a run's inputs put in."""

    role: str
    goal: str
    backstory: str


def first_messages(agent: Agent, persona: Persona, prompt: str) -> list[Message]:
    """How a conversation with the model begins."""
    text = system(agent, persona)
    if agent.prompt_template:
        prompt = agent.prompt_template.replace(PROMPT, prompt)
    if agent.response_template:
        prompt = f"{prompt}\n{agent.response_template.partition(RESPONSE)[0]}".rstrip("\n")
    if agent.system_template and agent.prompt_template:  # as in CrewAI: the template has the roles' own marks
        return [{"role": "user", "content": f"{text}\n{prompt}"}]
    if agent.use_system_prompt:
        return [{"role": "system", "content": text}, {"role": "user", "content": prompt}]
    return [{"role": "user", "content": f"{text}\n\n{prompt}"}]


def system(agent: Agent, persona: Persona) -> str:
    """Who the agent is, in this package's words or the template's."""
    text = prompts.system(persona.role, persona.goal, persona.backstory)
    today = f"\nToday is {datetime.datetime.now().strftime(agent.date_format)}." if agent.inject_date else ""
    if not agent.system_template:
        return text + today
    values = {"{role}": persona.role, "{goal}": persona.goal, "{backstory}": persona.backstory}
    values[SYSTEM] = text + today
    filled = _SYSTEM_TOKENS.sub(lambda match: values[match[0]], agent.system_template)
    return filled if SYSTEM in agent.system_template else filled + today


def stop(agent: Agent) -> tuple[str, ...]:
    """What ends an answer: the end of the response template."""
    end = (agent.response_template or "").partition(RESPONSE)[2].strip()
    return (end,) if end else ()
