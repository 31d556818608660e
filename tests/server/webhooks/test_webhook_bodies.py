"""What receivers get: AMP's bodies, signed, called as they want it."""

from __future__ import annotations

import base64
import json
import re
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import BaseModel
from standardwebhooks import Webhook, WebhookVerificationError
from tests.server.webhooks.conftest import SECRET, Got, Receiver

from quarterdeck import Agent, Crew, Task
from quarterdeck.events import (
    EVENT_TYPES,
    HumanRequested,
    LLMFinished,
    RunFinished,
    RunStarted,
    TaskFinished,
    ToolFinished,
    ToolIntended,
)
from quarterdeck.project import Entry, Registry
from quarterdeck.runtime.human import HumanAnswer
from quarterdeck.server import amp
from quarterdeck.server.settings import Settings
from quarterdeck.server.store import Authentication, Hooks, HumanInputHook, Question, Store, StreamHook
from quarterdeck.server.webhooks import new_secret, outbox_for
from quarterdeck.server.work import Work
from quarterdeck.testing import ScriptedLLM, call
from quarterdeck.tools import tool

META = {"userId": "u1", "nested": {"a": [1]}}
TIME = 1_790_000_000.1239
STAMP = "2026-09-21T14:13:20.123Z"


def verified(got: Got, secret: str = SECRET) -> Any:
    return Webhook(secret).verify(got.raw, got.headers)


class Report(BaseModel):
    title: str
    pages: int


@tool
def lookup(word: str) -> str:
    """Looks a word up.

    Args:
        word: The word.
    """
    return f"{word}: found"


async def test_a_crew_tells_of_its_steps_tasks_and_end(
    store: Store, receiver: Receiver, deliver: Any, new: Any
) -> None:
    """A real run with a worker: all three of AMP's webhooks at one URL, in order."""
    llm = ScriptedLLM([call("lookup", word="sea"), "The sea is wet.", '{"title": "Sea", "pages": 3}'])
    agent = Agent(role="Writer", goal="g", llm=llm, tools=[lookup])
    tasks = [
        Task(name="research", description="Find out about {topic}", expected_output="facts", agent=agent),
        Task(name="report", description="Report", expected_output="e", agent=agent, output_json=Report),
    ]
    registry = Registry([Entry("report", "1", Crew(name="report", tasks=tasks))])
    store.outbox = outbox_for(store)
    url = f"{receiver.url}/hook"
    hooks = Hooks(task_url=url, step_url=url, crew_url=url)
    async with deliver(), Work(store, registry, Settings()):
        record, _ = await store.kickoff(new(hooks=hooks, meta=META, inputs={"topic": "the sea"}))
        await receiver.until(lambda: any(got.body["type"] == "crew" for got in receiver.got))
    bodies = [verified(got) for got in receiver.got]
    seqs = [body["seq"] for body in bodies]
    assert seqs == sorted(seqs)
    assert len({got.id for got in receiver.got}) == len(bodies)
    events = {event.seq: event for event in await store.journal.events(record.id)}
    for body in bodies:
        assert body.pop("kickoff_id") == record.id
        assert body.pop("meta") == META
        at = datetime.fromisoformat(body.pop("timestamp")).timestamp()
        assert at == pytest.approx(events[body.pop("seq")].time, abs=0.001)
    prompts = [body.pop("prompt") for body in bodies if body["type"] == "step" and not body["tool"]]
    assert "Find out about the sea" in prompts[0]
    assert bodies == [
        {
            "type": "step",
            "prompt": "",
            "thought": "",
            "tool": "lookup",
            "tool_input": '{"word": "sea"}',
            "result": "sea: found",
        },
        {"type": "step", "thought": "", "tool": "", "tool_input": "", "result": "The sea is wet."},
        {
            "type": "task",
            "description": "Find out about the sea",
            "name": "research",
            "expected_output": "facts",
            "summary": "Find out about the sea...",
            "agent": "Writer",
            "output": "The sea is wet.",
            "output_json": None,
        },
        {"type": "step", "thought": "", "tool": "", "tool_input": "", "result": '{"title": "Sea", "pages": 3}'},
        {
            "type": "task",
            "description": "Report",
            "name": "report",
            "expected_output": "e",
            "summary": "Report...",
            "agent": "Writer",
            "output": '{"title": "Sea", "pages": 3}',
            "output_json": {"title": "Sea", "pages": 3},
        },
        {
            "type": "crew",
            "result": '{"title": "Sea", "pages": 3}',
            "result_json": {"title": "Sea", "pages": 3},
            "token_usage": bodies[-1]["token_usage"],
            "status": "completed",
            "error": "",
        },
    ]
    usage = amp.usage(events.values())
    names = ("total_tokens", "prompt_tokens", "completion_tokens")
    assert bodies[-1]["token_usage"] == {name: usage[name] for name in names}
    assert usage["total_tokens"] > 0


async def test_a_question_can_be_answered_as_soon_as_it_is_heard(
    store: Store, receiver: Receiver, deliver: Any, new: Any
) -> None:
    """The receiver answers within the request that tells it of the question."""
    agent = Agent(role="Planner", goal="g", llm=ScriptedLLM(by=lambda request: "a plan"))
    task = Task(name="plan", description="Plan", expected_output="e", agent=agent, human_input=True)
    registry = Registry([Entry("report", "1", Crew(name="report", tasks=[task]))])
    store.outbox = outbox_for(store)
    outcomes: list[str] = []

    async def answer(got: Got) -> int:
        if got.path == "/ask":
            body = got.body
            outcomes.append(await store.answer(body["execution_id"], body["task_id"], HumanAnswer(True, "")))
        return 200

    receiver.answer = answer
    access = Authentication("basic", username="ann", password="pässword:1")
    hooks = Hooks(human_input=HumanInputHook(f"{receiver.url}/ask", access), crew_url=f"{receiver.url}/end")
    async with deliver(), Work(store, registry, Settings()):
        record, _ = await store.kickoff(new(hooks=hooks, meta=META))
        await receiver.until(lambda: any(got.body["status"] == "completed" for got in receiver.at("/end")))
    assert outcomes == ["accepted"]
    (asked,) = receiver.at("/ask")
    body = verified(asked)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", body.pop("timestamp"))
    assert body.pop("seq") > 0
    assert body.pop("question")
    assert body == {
        "type": "human_input",
        "kickoff_id": record.id,
        "execution_id": record.id,
        "task_id": "plan",
        "agent": "Planner",
        "output": "a plan",
        "meta": META,
    }
    assert asked.headers["authorization"] == "Basic " + base64.b64encode("ann:pässword:1".encode()).decode()
    ends = [got.body["status"] for got in receiver.at("/end")]
    assert ends == ["pending_human_input", "completed"]


async def test_a_question_of_a_run_that_still_works_can_be_answered(
    store: Store, receiver: Receiver, deliver: Any, writer: Any
) -> None:
    """Another task of it goes on meanwhile; when that is done, the run does not wait."""
    asked = HumanRequested(path="plan/1/human/1", task="plan", question="fine?")
    async with deliver():
        run = await writer.run(Hooks(human_input=HumanInputHook(receiver.url)), asked, answer_seconds=1000.0)
        await receiver.until(lambda: receiver.got)
    body = receiver.got[0].body
    assert await store.answer(body["execution_id"], body["task_id"], HumanAnswer(False, "no")) == "accepted"
    assert await store.answer(body["execution_id"], body["task_id"], HumanAnswer(False, "no")) == "repeated"
    record = await store.get(run.id)
    assert record is not None
    assert record.state == "running"
    question = Question.of(run, asked)
    assert await store.finish(run.id, str(run.worker), 1, "pending_human_input", questions=[question])
    record = await store.get(run.id)
    assert record is not None
    assert record.state == "queued"


async def test_the_time_for_an_answer_begins_when_the_run_waits(store: Store, writer: Any) -> None:
    asked = HumanRequested(path="plan/1/human/1", task="plan")
    run = await writer.run(Hooks(), asked, answer_seconds=1000.0)
    (question,) = await store.questions(run.id)
    assert (question.path, question.expires, question.answer) == (asked.path, None, None)
    again = [Question.of(run, asked)]
    await store.finish(
        run.id, str(run.worker), 1, "pending_human_input", questions=again, answer_seconds=run.answer_seconds
    )
    (question,) = await store.questions(run.id)
    assert question.expires == pytest.approx(time.time() + 1000, abs=60)


@pytest.mark.parametrize(
    ("event", "status", "asks"),
    [
        (RunFinished(status="completed", output="o"), "completed", False),
        (RunFinished(status="failed", error="it broke"), "error", False),
        (RunFinished(status="cancelled", error="on request"), "cancelled", False),
        (RunFinished(status="limited", ended_by="max_seconds", output="part"), "timeout", False),
        (RunFinished(status="limited", ended_by="max_tokens", output="part"), "completed", False),
        (
            RunFinished(status="pending_human_input", ended_by="t/1/human/1", error="go on with answers={…}"),
            "pending_human_input",
            False,
        ),
        (RunFinished(status="in_doubt", ended_by="pay/1/tool/2", error="was it paid?"), "in_doubt", True),
    ],
)
async def test_every_end_is_told(
    event: RunFinished, status: str, asks: bool, receiver: Receiver, deliver: Any, writer: Any
) -> None:
    hooks = Hooks(crew_url=f"{receiver.url}/end", human_input=HumanInputHook(f"{receiver.url}/ask"))
    async with deliver():
        await writer.run(hooks, event)
        await receiver.until(lambda: receiver.at("/end") and bool(receiver.at("/ask")) == asks)
    (end,) = receiver.at("/end")
    body = verified(end)
    said = {"pending_human_input": "", "in_doubt": f"{event.error}: approve with its result"}.get(status, event.error)
    assert (body["status"], body["error"][: len(said)], body["result"]) == (status, said, event.output)
    assert said or not body["error"]
    if asks:
        assert receiver.at("/ask")[0].body["task_id"] == "pay"
        assert receiver.at("/ask")[0].body["question"] == body["error"]


async def test_a_stream_carries_the_events_in_batches(receiver: Receiver, deliver: Any, writer: Any) -> None:
    secret = new_secret()
    access = Authentication("bearer", token="t0ken")
    stream = StreamHook(f"{receiver.url}/events", authentication=access, secret=secret)
    tool_used = ToolFinished(tool="t", arguments={"x": float("nan")}, output="o", time=TIME)
    events = [
        RunStarted(crew="report", time=TIME),
        LLMFinished(model="m", text="\ud800 \0 é", time=TIME),
        tool_used,
        RunFinished(status="completed", time=TIME),
    ]
    async with deliver():
        run = await writer.run(Hooks(streams=(stream,)), *events, meta=META)
        await receiver.until(lambda: receiver.got)
    (got,) = receiver.got
    assert got.headers["authorization"] == "Bearer t0ken"
    assert got.headers["content-type"] == "application/json"
    body = verified(got, secret)
    with pytest.raises(WebhookVerificationError):
        verified(got)
    assert list(body) == ["events"]
    assert [item["type"] for item in body["events"]] == [
        "crew_kickoff_started",
        "llm_call_completed",
        "tool_usage_finished",
        "crew_kickoff_completed",
    ]
    assert body["events"][2] == {
        "id": body["events"][2]["id"],
        "execution_id": run.id,
        "timestamp": STAMP,
        "type": "tool_usage_finished",
        "data": {
            name: value
            for name, value in json.loads(tool_used.to_json()).items()
            if name not in ("run_id", "seq", "time")
        },
        "kickoff_id": run.id,
        "meta": META,
        "seq": 3,
    }
    assert body["events"][1]["data"]["text"] == "\ud800 \0 é"
    assert len({item["id"] for item in body["events"]}) == 4


@pytest.mark.parametrize("names", [("tool.finished", "run.finished"), ("tool_usage_error", "crew_kickoff_failed")])
async def test_a_stream_is_filtered_by_either_name(
    names: tuple[str, ...], receiver: Receiver, deliver: Any, writer: Any
) -> None:
    stream = StreamHook(f"{receiver.url}/events", events=names, realtime=True)
    events = [
        ToolIntended(tool="t"),
        ToolFinished(tool="t", ok=False),
        HumanRequested(task="t"),
        RunFinished(status="failed"),
    ]
    async with deliver():
        await writer.run(Hooks(streams=(stream,)), *events)
        await receiver.until(lambda: len(receiver.got) == 2)
    bodies = [verified(got) for got in receiver.got]
    assert [[item["type"] for item in body["events"]] for body in bodies] == [
        ["tool_usage_error"],
        ["crew_kickoff_failed"],
    ]


def test_every_durable_event_has_a_name_of_amp() -> None:
    """Those that the journal keeps are those that are sent; AMP has none for some."""
    durable = {name for name, kind in EVENT_TYPES.items() if kind.durable}
    assert durable - set(amp.EVENT_NAMES) == {"condition.decided"}
    assert set(amp.EVENT_NAMES) <= durable
    assert amp.event_name(RunFinished(status="pending_human_input")) == "run.finished"


async def test_two_secrets_both_sign(receiver: Receiver, deliver: Any, writer: Any) -> None:
    """While the receiver changes from one to the other."""
    old, new = new_secret(), new_secret()
    async with deliver(secret=f"{new} {old}"):
        await writer.run(Hooks(task_url=receiver.url + "/x"), TaskFinished(task="t"))
        await receiver.until(lambda: receiver.got)
    for secret in (old, new):
        assert verified(receiver.got[0], secret)["type"] == "task"
    when = datetime.fromtimestamp(int(receiver.got[0].headers["webhook-timestamp"]), UTC)
    assert abs((datetime.now(UTC) - when).total_seconds()) < 30


async def test_without_a_secret_nothing_is_signed(receiver: Receiver, deliver: Any, writer: Any) -> None:
    async with deliver(secret=""):
        await writer.run(Hooks(task_url=receiver.url + "/x"), TaskFinished(task="t"))
        await receiver.until(lambda: receiver.got)
    assert "webhook-signature" not in receiver.got[0].headers
    assert receiver.got[0].id


async def test_a_run_without_webhooks_keeps_nothing(store: Store, writer: Any) -> None:
    await writer.run(Hooks(), TaskFinished(task="t"), RunFinished(status="completed"))
    for table in ("qd_webhooks", "qd_webhook_queues"):
        rows = await store.journal.read(lambda database, table=table: database.execute(f"SELECT id FROM {table}"))
        assert rows == []
