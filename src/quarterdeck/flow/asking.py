"""A person asked about a method's result: the question, the answer, and the outcome that is read from it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from quarterdeck.concurrency import call
from quarterdeck.errors import ConfigError
from quarterdeck.events import Event, FeedbackReceived, MethodFinished, event_from_dict
from quarterdeck.flow.flow_config import InputProvider, flow_config
from quarterdeck.flow.human_feedback import (
    DEFAULT_LLM,
    Feedback,
    HumanFeedbackPending,
    HumanFeedbackProvider,
    HumanFeedbackResult,
    PendingFeedbackContext,
)
from quarterdeck.flow.output import as_text
from quarterdeck.flow.persistence import FlowPersistence
from quarterdeck.flow.triggers import Call
from quarterdeck.llm import create_llm
from quarterdeck.llm.types import LLMRequest, OutputSchema
from quarterdeck.runtime.human import HumanAnswer, HumanInput, HumanRequest
from quarterdeck.runtime.human_step import human_step
from quarterdeck.runtime.place import current_place
from quarterdeck.runtime.run import Run
from quarterdeck.runtime.steps import llm_step

REFUSED = "rejected"
"""What a refusal without words says."""


class Question:
    """One question to a person about a call's result.

    Args:
        flow: The flow's object for this run.
        run: The run.
        call: The call.
        feedback: How it is asked.
        result: What the call returned.
        flow_id: The state's id.
    """

    def __init__(self, flow: Any, run: Run, call: Call, feedback: Feedback, result: Any, flow_id: str) -> None:
        self.pending: HumanFeedbackPending | None = None
        self.later = False  # the provider has asked, and has to be answered through from_pending
        self._flow = flow
        self._run = run
        self._call = call
        self._feedback = feedback
        self._result = result
        self._context = PendingFeedbackContext(
            flow_id=flow_id,
            flow_class=f"{type(flow).__module__}.{type(flow).__qualname__}",
            method_name=call.method,
            method_output=result,
            message=feedback.message,
            emit=list(feedback.emit) or None,
            default_outcome=feedback.default_outcome,
            metadata=dict(feedback.metadata),
            path=f"{call.path}/human/1",
            run_id=run.id,
        )

    async def answered(self) -> FeedbackReceived:
        """The answer and its outcome.

        Raises:
            RunStopped: The answer comes later; ``pending`` says of what.
        """
        feedback, context = self._feedback, self._context
        question = feedback.message
        if feedback.emit:
            question += f"\nOutcomes: {', '.join(feedback.emit)}"
        try:
            answer = await human_step(
                self._run, context.path, self._call.method, "", as_text(self._result), question, human=self._asked()
            )
        except BaseException:
            stopped = self._run.stopped
            if stopped and stopped.status == "pending_human_input" and stopped.ended_by.endswith(context.path):
                self.pending = self.pending or HumanFeedbackPending(context)
                context.trail = trail(self._run)
            raise
        said = answer.feedback.strip() or ("" if answer.approved else REFUSED)
        outcome = await self._outcome(said) if feedback.emit else None
        return FeedbackReceived(
            path=f"{self._call.path}/feedback",
            method=self._call.method,
            call=self._call.number,
            feedback=said,
            outcome=outcome,
        )

    def _asked(self) -> _Provided | None:
        provider = self._feedback.provider or flow_config.hitl_provider
        return _Provided(self, provider) if provider else None

    async def ask(self, provider: HumanFeedbackProvider) -> HumanAnswer | None:
        """Asks a provider; None where the answer comes later."""
        try:
            said = await call(provider.request_feedback, self._context, self._flow)
        except HumanFeedbackPending as pending:
            pending.context = self._context
            self.pending, self.later = pending, True
            return None
        return HumanAnswer(True, "" if said is None else str(said))

    async def _outcome(self, said: str) -> str:
        """The outcome that a feedback means."""
        feedback = self._feedback
        if not said:
            return feedback.default_outcome or feedback.emit[0]
        exact = next((label for label in feedback.emit if label.casefold() == said.casefold()), None)
        if exact or feedback.llm is None:
            return exact or _named(said, feedback.emit) or feedback.emit[0]
        answer = await self._read(said)
        return _named(answer, feedback.emit) or feedback.emit[0]

    async def _read(self, said: str) -> str:
        """What the model reads from the feedback."""
        feedback = self._feedback
        llm = create_llm(None if feedback.llm == DEFAULT_LLM else feedback.llm)
        labels = list(feedback.emit)
        prompt = (
            f"A person was asked: {feedback.message}\nThe person answered: {said}\n"
            f"Which of these outcomes does the answer mean: {', '.join(labels)}? Answer with the outcome alone."
        )
        properties = {"outcome": {"type": "string", "enum": labels}}
        schema = {"type": "object", "properties": properties, "required": ["outcome"], "additionalProperties": False}
        request = LLMRequest(
            messages=[{"role": "user", "content": prompt}],
            output_schema=OutputSchema("Outcome", schema) if llm.supports_output_schema() else None,
        )
        response = await llm_step(self._run, f"{self._call.path}/outcome/llm/1", llm, request)
        try:
            return str(json.loads(response.text)["outcome"])
        except (ValueError, TypeError, KeyError):
            return response.text


class _Provided:
    """A provider as whom a run asks."""

    def __init__(self, question: Question, provider: HumanFeedbackProvider) -> None:
        self._question = question
        self._provider = provider

    async def ask(self, request: HumanRequest) -> HumanAnswer | None:
        del request
        return await self._question.ask(self._provider)


def _named(text: str, labels: Sequence[str]) -> str | None:
    """The outcome that a text is, or names; the longest of several."""
    folded = text.strip().casefold()
    exact = [label for label in labels if label.casefold() == folded]
    named = exact or sorted((label for label in labels if label.casefold() in folded), key=len, reverse=True)
    return named[0] if named else None


def result_of(event: FeedbackReceived, feedback: Feedback, output: Any) -> HumanFeedbackResult:
    """What listeners are given."""
    return HumanFeedbackResult(
        output=output,
        feedback=event.feedback,
        outcome=event.outcome,
        timestamp=datetime.fromtimestamp(event.time, UTC),
        method_name=event.method,
        metadata=dict(feedback.metadata),
    )


def trail(run: Run) -> list[dict[str, Any]]:
    """The events of a run's methods so far."""
    kinds = (MethodFinished, FeedbackReceived)
    return [event.to_dict() for event in run.finished.values() if isinstance(event, kinds)]


@dataclass(frozen=True, slots=True)
class Pending:
    """A question that was kept, with what its flow needs to go on.

    Args:
        store: Where it is kept.
        context: The question.
        state: The state.
        trail: The events of the methods that have finished.
    """

    store: FlowPersistence
    context: PendingFeedbackContext
    state: dict[str, Any]
    trail: list[Event]

    @classmethod
    def load(cls, flow: str, store: FlowPersistence, flow_id: str) -> Pending:
        """Reads a question.

        Raises:
            ConfigError: There is none.
        """
        found = store.load_pending_feedback(flow_id)
        if found is None:
            raise ConfigError(f"flow {flow}: no question of a flow with the id {flow_id!r} waits for an answer")
        state, data = found
        context = PendingFeedbackContext.from_dict(data)
        return cls(store, context, state, [event_from_dict(item) for item in context.trail])


async def ask_line(flow: Any, message: str, timeout: float | None, metadata: dict[str, Any] | None) -> str | None:
    """Asks for a line: see ``Flow.aask``."""
    place = current_place()
    if place is None:
        raise ConfigError(f"ask({message[:60]!r}) is called outside of the flow's methods")
    return await place.do("ask", partial(_ask_line, flow, message, timeout, metadata or {}))


async def _ask_line(
    flow: Any, message: str, timeout: float | None, metadata: dict[str, Any], run: Run, path: str
) -> str | None:
    provider: InputProvider | None = flow.input_provider or flow_config.input_provider
    asked = _Input(flow, provider, metadata) if provider else run.human
    human = asked if timeout is None else _InTime(asked, timeout)
    answer = await human_step(run, path, path.partition("/")[0], "", "", message, human=human)
    return answer.feedback if answer.approved or answer.feedback else None


class _Input:
    """An input provider as whom a run asks."""

    def __init__(self, flow: Any, provider: InputProvider, metadata: dict[str, Any]) -> None:
        self._flow = flow
        self._provider = provider
        self._metadata = metadata

    async def ask(self, request: HumanRequest) -> HumanAnswer | None:
        function = self._provider.request_input
        named = {"metadata": self._metadata} if self._metadata else {}
        said = await call(function, request.question, self._flow, **named)
        return HumanAnswer(said is not None, "" if said is None else str(said))


class _InTime:
    """Whom a run asks, for at most so long; then there is no answer."""

    def __init__(self, asked: HumanInput, seconds: float) -> None:
        self._asked = asked
        self._seconds = seconds

    async def ask(self, request: HumanRequest) -> HumanAnswer | None:
        try:
            return await asyncio.wait_for(self._asked.ask(request), self._seconds)
        except TimeoutError:
            return HumanAnswer(False)
