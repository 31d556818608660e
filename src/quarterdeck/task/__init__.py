"""Tasks: what is to be done, and what came of it."""

from quarterdeck.agent.llm_guardrail import HallucinationGuardrail, LLMGuardrail
from quarterdeck.task.conditional import ConditionalTask
from quarterdeck.task.output import OutputFormat, TaskOutput
from quarterdeck.task.task import Task

__all__ = ["ConditionalTask", "HallucinationGuardrail", "LLMGuardrail", "OutputFormat", "Task", "TaskOutput"]
