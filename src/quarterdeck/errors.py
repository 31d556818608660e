"""Every error that Quarterdeck raises, in one tree.

QuarterdeckError
├── UsageError               the program is wrong: nothing was run
│   ├── ConfigError          a setting, model name, key or extra
│   ├── InputError           the inputs of a kickoff
│   ├── JournalMismatchError a run was opened again with other inputs or another crew
│   └── IdempotencyConflictError  a kickoff's key was used before with another payload
├── RunError                 the program is right and the run failed
│   ├── LLMError             a call to a model (see its subclasses)
│   ├── ToolError            a call of a tool
│   ├── TaskError            a task gave no acceptable output
│   ├── HookError            a hook failed, or stopped what was about to happen
│   └── JournalError         the journal could not be read or written
└── APIError                 a server that runs crews has refused a request, or gave no answer

RunStopped is apart, and no Exception: a run that a limit, a cancel or a doubt ends must not be caught by an
``except Exception`` in a tool, a guardrail or a callback.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple


class QuarterdeckError(Exception):
    """The root of all errors."""


class UsageError(QuarterdeckError):
    """The program misused the library; nothing was run."""


class ConfigError(UsageError, ValueError):
    """A setting is missing or wrong: a model name, a key, an extra, a parameter."""


class InputProblem(NamedTuple):
    """What is wrong with one input: its name, what is expected, and what was got (empty where nothing was)."""

    field: str
    message: str
    got: str


class InputError(UsageError, ValueError):
    """The inputs of a kickoff do not fit the crew.

    Args:
        message: What is wrong and what would be right.
        missing: Names of the inputs that the crew needs and did not get.
        problems: One for each input that is wrong.
    """

    def __init__(self, message: str, missing: tuple[str, ...] = (), problems: tuple[InputProblem, ...] = ()) -> None:
        super().__init__(message)
        self.missing = missing
        self.problems = problems


class JournalMismatchError(UsageError):
    """A journaled run was opened again with other inputs or with another crew."""


class IdempotencyConflictError(UsageError):
    """A kickoff's idempotency key was used before, by the same tenant for the same crew, with another payload.

    Args:
        message: What is wrong and what would be right.
        run_id: The run that the key belongs to.
    """

    def __init__(self, message: str, run_id: str = "") -> None:
        super().__init__(message)
        self.run_id = run_id


class RunError(QuarterdeckError):
    """The run failed."""


class LLMError(RunError):
    """A call to a model failed.

    Args:
        message: What happened, in words for a person; holds no secret.
        model: The model that was called.
        status: HTTP status of the answer, where there was one.
        retry_after: Seconds that the provider asked to wait.
    """

    retryable = False

    def __init__(
        self, message: str, *, model: str = "", status: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.model = model
        self.status = status
        self.retry_after = retry_after


class AuthenticationError(LLMError):
    """The provider refused the key, or its rights (401, 403)."""


class BadRequestError(LLMError):
    """The provider refused the request (400, 404, 422)."""


class ContextTooLongError(BadRequestError):
    """The prompt does not fit the model's context window."""


class ContentFilteredError(LLMError):
    """The provider's safety system refused the prompt or the answer."""


class RateLimitError(LLMError):
    """The provider asked to slow down (429)."""

    retryable = True


class LLMTimeoutError(LLMError, TimeoutError):
    """Connecting, reading or the whole call took longer than its limit."""

    retryable = True


class ProviderDownError(LLMError):
    """The provider failed (408, 409, 5xx) or the connection broke."""

    retryable = True


class MalformedResponseError(LLMError):
    """The model's answer cannot be used: it is empty, or breaks the format that was asked for.

    Args:
        text: What the model wrote.
    """

    def __init__(self, message: str, *, model: str = "", text: str = "") -> None:
        super().__init__(message, model=model)
        self.text = text


class ToolError(RunError):
    """A tool failed; the model is told, and may try something else."""


class ToolArgumentsError(ToolError, ValueError):
    """The arguments of a tool call do not fit its schema."""


class ToolTimeoutError(ToolError, TimeoutError):
    """A tool took longer than its time limit."""


class ToolUsageLimitError(ToolError):
    """A tool was called more often than its ``max_usage_count``."""


class TaskError(RunError):
    """A task gave no acceptable output."""


class GuardrailError(TaskError):
    """A task's output was refused by its guardrail, and the retries are used up."""


class ToolExecutionFailedError(TaskError):
    """A tool failed, and its policy (``tool_failure_policy``) is ``raise``.

    Args:
        message: What happened.
        tool: The tool's name.
        reason: Why the call failed.
        path: The step's path.
    """

    def __init__(self, message: str, *, tool: str = "", reason: str = "", path: str = "") -> None:
        super().__init__(message)
        self.tool = tool
        self.reason = reason
        self.path = path


class OutputFormatError(TaskError):
    """A task's output does not fit its ``output_pydantic`` or ``output_json`` model."""


class TaskTimeoutError(TaskError, TimeoutError):
    """An agent took longer than its ``max_execution_time``."""


class HookError(RunError):
    """A hook failed, or returned what its point cannot use."""


class HookAborted(HookError, ValueError):
    """Raised in a hook to stop what is about to happen (CrewAI: ``crewai.hooks.HookAborted``).

    Args:
        reason: Why, in words.
        source: Who stops it; by default the hook's name.
    """

    def __init__(self, reason: str = "", source: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.source = source

    def __str__(self) -> str:
        what = self.reason or "no reason given"
        return f"{what} (stopped by {self.source})" if self.source else what


class JournalError(RunError):
    """The journal could not be read or written."""


class FencedError(JournalError):
    """Another process has taken this run over; what this one would write is refused."""


class APIError(QuarterdeckError):
    """A server that runs crews has refused a request, failed, or gave no answer (``quarterdeck.client``).

    Args:
        message: What happened, in one line; holds no token.
        status: The answer's HTTP status; None where there was no answer.
        body: The answer's JSON object (problem details, AMP's ``error`` and ``message``), or {}.
        retry_after: Seconds that the server asked to wait.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        body: Mapping[str, Any] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = body or {}
        self.retry_after = retry_after

    @property
    def retryable(self) -> bool:
        """Whether the same request may have an answer later: none came, or 408, 429 or 5xx."""
        return self.status is None or self.status in (408, 429) or self.status >= 500


StopStatus = Literal["failed", "limited", "cancelled", "in_doubt", "pending_human_input"]
"""How a run can end before its work is done; see ``events.RunStatus``."""


class RunStopped(BaseException):
    """Ends a run before its work is done; the run keeps what it has.

    Args:
        status: The status that the run ends with.
        reason: What ended it, in words.
        ended_by: The limit's name, or the path of the step in doubt.
        allowed: The limit.
        used: What had been used of it, or what the next call would have used.
    """

    def __init__(
        self, status: StopStatus, reason: str, ended_by: str = "", *, allowed: float = 0.0, used: float = 0.0
    ) -> None:
        super().__init__(reason)
        self.status: StopStatus = status
        self.reason = reason
        self.ended_by = ended_by
        self.allowed = allowed
        self.used = used


class HandedOver(RunStopped):
    """Ends this process's part of a run before the next step: the run stays open, another worker goes on with it."""

    def __init__(self, reason: str = "another worker goes on with the run") -> None:
        super().__init__("cancelled", reason)
