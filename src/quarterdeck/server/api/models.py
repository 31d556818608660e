"""The bodies of requests and answers, for checking and for the OpenAPI document."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, cast

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
)

from quarterdeck.events import is_unicode
from quarterdeck.server.store import State
from quarterdeck.server.webhooks import DeliveryState, DeliveryType


def _unicode(text: str) -> str:
    if not is_unicode(text):
        raise ValueError("must be valid Unicode, without lone surrogates")
    return text


Text = Annotated[str, AfterValidator(_unicode)]
Url = Annotated[str, StringConstraints(max_length=2000, strip_whitespace=True)]


def _set(value: Any) -> Any:
    """AMP's clients also say with an empty text or object that something is not set."""
    if isinstance(value, Mapping) and cast("Mapping[str, Any]", value).get("url") == "":
        return None
    return None if value in ("", {}) else cast("Any", value)


def _listed(value: Any) -> Any:
    """One, several or none."""
    given = _set(value)
    return [] if given is None else [given] if isinstance(given, dict) else given


def _one_or_list(schema: dict[str, Any]) -> None:
    items = schema.pop("items")
    schema["anyOf"] = [items, {"type": schema.pop("type"), "items": items}, {"type": "null"}]


NotSet = BeforeValidator(_set)


class Authentication(BaseModel):
    """How a webhook's receiver knows us (AMP's form)."""

    strategy: Literal["bearer", "basic"] = Field(description="``bearer`` with a token, or ``basic``")
    token: Text | None = None
    username: Text | None = None
    password: Text | None = None


class HumanInputWebhook(BaseModel):
    """Where questions to a person are announced (AMP's form)."""

    url: Url
    authentication: Authentication | None = None


class StreamWebhook(BaseModel):
    """Where events are sent as they happen (AMP's form, and ours with ``secret``)."""

    url: Url
    events: list[Text] = Field(default_factory=list[str], description="Event types; empty means all")
    realtime: bool = Field(False, description="One event a request, in place of batches")
    authentication: Authentication | None = None
    secret: str | None = Field(None, description="Signs each request (Standard Webhooks)")


class BudgetBody(BaseModel):
    """Limits of one run; each must be above 0."""

    model_config = ConfigDict(extra="forbid")

    max_tokens: int | None = Field(None, gt=0)
    max_cost_usd: float | None = Field(None, gt=0)
    max_llm_calls: int | None = Field(None, gt=0)
    max_tool_calls: int | None = Field(None, gt=0)
    max_seconds: float | None = Field(None, gt=0)
    max_input_chars: int | None = Field(None, gt=0)

    @field_validator("max_cost_usd", "max_seconds")
    @classmethod
    def _finite(cls, value: float | None) -> float | None:
        if value is not None and not math.isfinite(value):
            raise ValueError("must be a finite number")
        return value


class WebhookUrls(BaseModel):
    """AMP's webhooks. An empty text means that it is not set."""

    taskWebhookUrl: Annotated[Url | None, NotSet] = None
    stepWebhookUrl: Annotated[Url | None, NotSet] = None
    crewWebhookUrl: Annotated[Url | None, NotSet] = None
    humanInputWebhook: Annotated[HumanInputWebhook | None, NotSet] = None
    humanInputWebhookUrl: Annotated[Url | None, NotSet] = Field(
        None, description="``humanInputWebhook`` without authentication"
    )


class KickoffRequest(WebhookUrls):
    """What starts a run."""

    inputs: dict[str, Any] = Field(description="Values of the crew's inputs: see ``GET /inputs``")
    meta: Annotated[dict[str, Any], BeforeValidator(lambda value: _set(value) or {})] = Field(
        default_factory=dict[str, Any], description="Given back in webhooks; ``requestId`` makes the kickoff idempotent"
    )
    webhooks: Annotated[list[StreamWebhook], BeforeValidator(_listed)] = Field(
        default_factory=list[StreamWebhook], description="One, or several", json_schema_extra=_one_or_list
    )
    budget: BudgetBody | None = None
    priority: int = Field(0, ge=-100, le=100, description="Higher runs first")
    version: str | None = Field(None, max_length=63, description="The crew's version; by default the current one")
    restoreFromStateId: Annotated[Text | None, NotSet] = Field(
        None, max_length=200, description="Of a flow: the ``kickoff_id`` of the run whose state it begins with"
    )


class KickoffResponse(BaseModel):
    """A run was accepted."""

    kickoff_id: str


class InputsResponse(BaseModel):
    """The inputs that a crew needs."""

    inputs: list[str]
    schema_: dict[str, Any] | None = Field(None, alias="schema")
    version: str | None = None


class ResumeRequest(WebhookUrls):
    """A person's answer. AMP's snake and camel spellings are both taken."""

    model_config = ConfigDict(populate_by_name=True)

    execution_id: str = Field(validation_alias=AliasChoices("execution_id", "executionId"), max_length=200)
    task_id: str = Field(validation_alias=AliasChoices("task_id", "taskId"), max_length=500)
    human_feedback: Annotated[Text, BeforeValidator(lambda value: "" if value is None else value)] = Field(
        "", validation_alias=AliasChoices("human_feedback", "humanFeedback")
    )
    is_approve: bool | None = Field(
        None,
        validation_alias=AliasChoices("is_approve", "isApprove"),
        description="Absent: feedback sends the task back, no feedback accepts",
    )


class ResumeResponse(BaseModel):
    """What comes of an answer."""

    status: Literal["resumed", "retrying", "completed"]
    message: str


class DeliveryBody(BaseModel):
    """A request to a webhook. Times are seconds since 1970."""

    id: str = Field(description="The receiver gets it as ``webhook-id``")
    kickoff_id: str
    url: str
    type: DeliveryType
    seq: int = Field(description="The event's place in the run; of several, the first one's")
    state: DeliveryState
    tries: int = Field(description="How often it was sent")
    last_error: str = Field(description="Why it was not accepted the last time")
    created: float
    delivered: float | None = Field(description="When it was accepted")


class DeliveriesResponse(BaseModel):
    """A page of deliveries."""

    deliveries: list[DeliveryBody]
    next: str | None = Field(description="``cursor`` of the next page; null on the last one")


class ResendResponse(BaseModel):
    """A delivery is to be sent again."""

    id: str
    state: Literal["pending"] = "pending"


class Lease(BaseModel):
    """Who works on a run, and when it was last heard of."""

    attempt: int
    worker: str | None
    heartbeat_age: float | None = Field(description="Seconds since the worker last said that it lives")
    last_event: float | None = Field(description="Time of the run's last event, in seconds since 1970")


class Progress(BaseModel):
    """How far a run is."""

    completed_tasks: int
    total_tasks: int


class Pending(BaseModel):
    """What a person is asked."""

    task_id: str
    agent: str
    output: str
    question: str
    asked: float
    expires: float | None


class TaskResult(BaseModel):
    """A finished task."""

    task_id: str
    output: str
    agent: str
    execution_time: float


class Result(BaseModel):
    """What a run has made."""

    output: str
    tasks: list[TaskResult]


class Usage(BaseModel):
    """Tokens, cost and calls of a run."""

    model_config = ConfigDict(extra="allow")

    total_tokens: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float | None = Field(description="null where a price is not known")
    llm_calls: int
    tool_calls: int


class StatusBody(BaseModel):
    """A run. Which fields there are besides the first ones depends on its state."""

    kickoff_id: str
    status: State
    state: Literal["PENDING", "STARTED", "RUNNING", "SUCCESS", "FAILED"] = Field(
        description="``status`` in AMP's words"
    )
    crew: str
    version: str
    inputs: dict[str, Any]
    usage: Usage
    progress: Progress
    last_step: dict[str, Any] | None
    last_executed_task: dict[str, Any] | None
    current_task: str | None = None
    lease: Lease | None = Field(None, description="Until the end")
    reason: str | None = Field(None, description="Why it is in this state")
    pending: Pending | None = Field(None, description="While a person is asked")
    execution_time: float | None = Field(None, description="Seconds; at the end")
    result: Result | str | None = Field(None, description="A text in the dialect ``runtime``")
    result_json: dict[str, Any] | None = None
    error: str | None = None
    ended_by: str | None = Field(None, description="The limit that ended it")
    issues: list[str] | None = Field(None, description="Failed tool calls that nothing made up for")
    partial: bool | None = None


class ServerSentEvent(BaseModel):
    """One event of a stream."""

    id: str | None = Field(None, description="Its number; events that are shown live only have none")
    event: str = Field(description="Its type; at last ``end``")
    data: str = Field(description="The event as JSON; of ``end`` the run's ``status``")


class RunSummary(BaseModel):
    """A run in a list. Times are seconds since 1970."""

    kickoff_id: str
    status: State
    version: str
    created: float
    started: float | None
    ended: float | None
    meta: dict[str, Any]


class KickoffsPage(BaseModel):
    """A page of runs, the newest first."""

    kickoffs: list[RunSummary]
    next: str | None = Field(description="The ``cursor`` of the next page; null on the last one")


class HealthBody(BaseModel):
    """How a server is."""

    status: str


class FieldProblem(BaseModel):
    """What is wrong with one field."""

    field: str
    expected: str
    got: str | None = None


class ProblemBody(BaseModel):
    """An error: RFC 9457 problem details with AMP's ``error`` and ``message``."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    error: str
    message: str
    details: dict[str, list[str]] | None = Field(None, description="AMP's ``missing_inputs``, of status 422")
    errors: list[FieldProblem] | None = Field(None, description="One entry for each field that does not fit")
    request_id: str | None = Field(None, description="Of status 500: the log has more under it")
