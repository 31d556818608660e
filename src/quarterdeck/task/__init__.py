"""Tasks: what is to be done, and what came of it."""

from quarterdeck.task.output import OutputFormat, TaskOutput
from quarterdeck.task.task import Task

__all__ = ["OutputFormat", "Task", "TaskOutput"]
