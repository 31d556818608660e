"""Runs that are asked for, listed, cancelled and erased."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from quarterdeck.errors import IdempotencyConflictError
from quarterdeck.events import Event, LLMFinished, RunFinished, RunStarted
from quarterdeck.runtime.human import HumanAnswer
from quarterdeck.runtime.journal.database import Database
from quarterdeck.server.store import (
    AnswerOutcome,
    Authentication,
    Hooks,
    HumanInputHook,
    NewRun,
    Question,
    RunRecord,
    Store,
    StreamHook,
    new_run_id,
    questions,
)
from quarterdeck.server.webhooks import outbox_for

New = Callable[..., NewRun]
VERSIONS = [("report", "1")]


async def take(store: Store, worker: str = "w1") -> RunRecord:
    await store.beat(worker, VERSIONS, {})
    return (await store.claim(worker, VERSIONS, 1))[0].run


async def test_everything_given_comes_back(store: Store, new: New) -> None:
    hooks = Hooks(
        task_url="https://a.example/task",
        human_input=HumanInputHook("https://a.example/ask", Authentication("basic", "", "user", "pass\u00e9")),
        streams=(
            StreamHook("https://b.example", ("task.finished",), True, Authentication("bearer", "sesame"), "whsec"),
        ),
    )
    inputs: dict[str, Any] = {
        "text": "a\0b \ud800 \u2028 \U0001f600",
        "n": [1, 2.5, None, True],
        "deep": {"x": {"y": "z"}},
    }
    given = new(
        request_id="key-1",
        request_hash="h",
        inputs=inputs,
        meta={"userId": "u1", "source": "test"},
        hooks=hooks,
        budget={"max_tokens": 10},
        priority=-3,
        max_seconds=1.5,
        answer_seconds=60.0,
        default_action="approve",
    )
    record, made = await store.kickoff(given)
    assert made
    read = await store.get(given.id, "acme")
    assert read == record
    for name in ("inputs", "meta", "hooks", "budget", "priority", "max_seconds", "answer_seconds", "default_action"):
        assert getattr(record, name) == getattr(given, name), name
    assert (record.state, record.user_id, record.attempt, record.ended) == ("queued", "u1", 0, False)
    assert "sesame" not in repr(record)
    assert "whsec" not in repr(record)


async def test_another_tenants_run_is_not_there(store: Store, new: New) -> None:
    record, _ = await store.kickoff(new(tenant="acme"))
    assert await store.get(record.id, "evil") is None
    assert await store.get(str(uuid.uuid4())) is None
    assert await store.list_runs("evil") == []
    with pytest.raises(IdempotencyConflictError):
        await store.kickoff(new(id=record.id, tenant="evil"))


async def test_200_kickoffs_of_one_key_are_one_run(store: Store, other: Store, new: New) -> None:
    kickoffs = [(store, other)[n % 2].kickoff(new(request_id="order-7", request_hash="same")) for n in range(200)]
    results = await asyncio.gather(*kickoffs)
    assert len({record.id for record, _ in results}) == 1
    assert sum(made for _, made in results) == 1
    assert len(await store.list_runs("acme")) == 1


async def test_a_key_with_another_payload_is_a_conflict(store: Store, new: New) -> None:
    first, _ = await store.kickoff(new(request_id="k", request_hash="one"))
    with pytest.raises(IdempotencyConflictError, match=f"'k' was used before, by run {first.id}") as caught:
        await store.kickoff(new(request_id="k", request_hash="two"))
    assert caught.value.run_id == first.id
    for fields in ({"tenant": "other"}, {"crew": "other"}):
        _, made = await store.kickoff(new(request_id="k", request_hash="two", **fields))
        assert made
    for _ in range(2):  # without a key, each is a run of its own
        _, made = await store.kickoff(new(request_hash="one"))
        assert made


async def test_lists_are_pages_of_what_was_asked_for(store: Store, new: New) -> None:
    given = await asyncio.gather(
        *(store.kickoff(new(crew=f"c{n % 3}", request_id=f"r{n}", meta={"userId": f"u{n % 2}"})) for n in range(30))
    )
    newest = sorted((record for record, _ in given), key=lambda record: (record.created, record.id), reverse=True)
    pages: list[RunRecord] = []
    before = None
    while page := await store.list_runs("acme", before=before, limit=7):
        pages += page
        before = (page[-1].created, page[-1].id)
    assert pages == newest
    assert await store.list_runs("acme", crew="c1") == [r for r in newest if r.crew == "c1"]
    assert await store.list_runs("acme", user_id="u1", limit=3) == [r for r in newest if r.user_id == "u1"][:3]
    assert [r.request_id for r in await store.list_runs("acme", crew="c2", request_id="r5")] == ["r5"]
    assert await store.list_runs("acme", state="running") == []
    await store.request_cancel(newest[4].id)
    assert [r.id for r in await store.list_runs("acme", state="cancelled")] == [newest[4].id]


async def test_a_queued_run_is_cancelled_at_once(store: Store, new: New) -> None:
    run, _ = await store.kickoff(new())
    now = await store.request_cancel(run.id)
    assert now is not None
    assert (now.state, now.ended, now.detail) == ("cancelled", True, "cancelled on request")
    events = await store.journal.events(run.id)
    assert [(type(event), event.seq) for event in events] == [(RunFinished, 1)]
    await store.beat("w1", VERSIONS, {})
    assert await store.claim("w1", VERSIONS, 10) == []
    assert await store.request_cancel(run.id) == now  # again changes nothing
    assert len(await store.journal.events(run.id)) == 1
    assert await store.request_cancel(str(uuid.uuid4())) is None


async def test_a_running_run_is_cancelled_by_its_worker(store: Store, new: New) -> None:
    await store.kickoff(new())
    run = await take(store)
    async with store.wake.on("cancel") as woken:
        now = await store.request_cancel(run.id)
        assert await woken(5)
    assert now is not None
    assert (now.state, now.cancel_requested) == ("running", True)
    assert (await store.beat("w1", VERSIONS, {run.id: 1})).cancel == {run.id}


@pytest.mark.parametrize("way", ["hand over", "death", "a question", "a question that has an answer"])
async def test_a_cancelled_run_that_loses_its_worker_does_not_go_on(store: Store, new: New, way: str) -> None:
    await store.kickoff(new())
    run = await take(store)
    asked = Question(run_id=run.id, path="draft/1/human/1", task="draft")
    if way.endswith("answer"):  # it came while the run went on with something else
        await store.write(lambda database: questions.ask(database, asked, None))
        assert await store.answer(run.id, "draft", HumanAnswer(True)) == AnswerOutcome.accepted
    await store.request_cancel(run.id)
    if way == "hand over":
        assert await store.hand_over(run.id, "w1", 1)
    elif way.startswith("a question"):
        assert await store.finish(run.id, "w1", 1, "pending_human_input", questions=[asked])
    else:
        await asyncio.sleep(0.03)
        await store.take_over_dead(0.01)
    now = await store.get(run.id)
    assert now is not None
    assert now.state == "cancelled"


async def test_cancel_and_claim_at_once(store: Store, other: Store, new: New) -> None:
    """Each run is either cancelled before it began, or running and to be cancelled."""
    runs = [(await store.kickoff(new()))[0].id for _ in range(40)]
    await other.beat("w1", VERSIONS, {})
    claims, *_ = await asyncio.gather(
        other.claim("w1", VERSIONS, 40), *(store.request_cancel(run_id) for run_id in runs)
    )
    claimed = {item.run.id for item in claims}
    for run_id in runs:
        now = await store.get(run_id)
        assert now is not None
        assert (now.state, now.cancel_requested) == (("running", True) if run_id in claimed else ("cancelled", False))


async def test_old_runs_are_erased_in_small_batches(store: Store, new: New) -> None:
    for n in range(7):
        run, _ = await store.kickoff(new())
        if n < 5:
            await store.request_cancel(run.id)
    keep, _ = await store.kickoff(new())
    await store.beat("w1", VERSIONS, {})
    assert await store.prune(60.0) == 0
    await asyncio.sleep(0.02)
    assert [await store.prune(0.01, 2) for _ in range(4)] == [2, 2, 1, 0]
    left = await store.list_runs("acme")
    assert len(left) == 3
    assert {record.state for record in left} == {"queued"}
    assert keep.id in {record.id for record in left}
    assert [row.status for row in await store.journal.runs()] == []


async def test_runs_with_webhooks_to_be_sent_are_not_erased(store: Store, new: New) -> None:
    store.outbox = outbox_for(store)
    told, _ = await store.kickoff(new(hooks=Hooks(crew_url="https://receiver.invalid/")))
    untold, _ = await store.kickoff(new())
    for run in (told, untold):
        await store.request_cancel(run.id)
    assert await store.prune(-1.0) == 1
    assert [run.id for run in await store.list_runs("acme")] == [told.id]
    await store.write(lambda database: database.execute("UPDATE qd_webhooks SET state = 'dead'"))
    assert await store.prune(-1.0) == 1
    assert await store.write(lambda database: database.execute("SELECT count(*) FROM qd_webhooks")) == [(0,)]


async def test_erasing_leaves_the_counts(store: Store, new: New) -> None:
    run, _ = await store.kickoff(new(inputs={"secret": "x"}, meta={"userId": "u"}))
    assert not await store.erase(run.id)  # it has not ended
    await store.request_cancel(run.id)
    assert await store.erase(run.id)
    now = await store.get(run.id)
    assert now is not None
    assert (now.state, now.inputs, now.meta, now.user_id) == ("cancelled", {}, {}, "u")
    assert await store.journal.events(run.id) == []
    assert not await store.erase(str(uuid.uuid4()))


class Sent:
    """An outbox: keeps in a table what is to be sent."""

    def __init__(self) -> None:
        self.fail = False

    def __call__(self, run: RunRecord, event: Event, database: Database) -> None:
        if self.fail:
            raise ValueError("the outbox is broken")
        row = (f"{run.id}/{event.seq}", run.id, run.tenant, "http://x", event.seq, event.type, "{}", "pending", 0.0)
        columns = "id, run_id, tenant, url, seq, type, body, state, created"
        database.execute(f"INSERT INTO qd_webhooks ({columns}) VALUES ({', '.join('?' * 9)})", row)


async def sent(store: Store, run_id: str) -> list[tuple[int, str]]:
    rows = await store.journal.read(
        lambda database: database.execute("SELECT seq, type FROM qd_webhooks WHERE run_id = ? ORDER BY seq", (run_id,))
    )
    return [(row[0], row[1]) for row in rows]


async def test_the_outbox_is_written_with_the_event_or_not_at_all(store: Store, new: New) -> None:
    outbox = store.outbox = Sent()
    await store.kickoff(new())
    await store.beat("w1", VERSIONS, {})
    claim = (await store.claim("w1", VERSIONS, 1))[0]
    run_id = claim.run.id
    opened = await store.open_claimed(claim)
    await opened.append(RunStarted(crew="report").stamped(run_id, 1))
    outbox.fail = True
    with pytest.raises(Exception, match="the outbox is broken"):
        await opened.append(LLMFinished(model="m").stamped(run_id, 2))
    outbox.fail = False
    await store.hand_over(run_id, "w1", 1)
    await store.request_cancel(run_id)
    assert [(event.seq, event.type) for event in await store.journal.events(run_id)] == [
        (1, "run.started"),
        (2, "run.finished"),
    ]
    assert await sent(store, run_id) == [(1, "run.started"), (2, "run.finished")]
    await store.write(lambda database: database.execute("UPDATE qd_webhooks SET state = 'delivered'"))
    assert await store.prune(-1.0) == 1
    assert await sent(store, run_id) == []


def test_run_ids_are_uuids_in_order_of_time() -> None:
    ids = [new_run_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert {(uuid.UUID(run_id).version, str(uuid.UUID(run_id))) for run_id in ids} == {(7, run_id) for run_id in ids}
    began = time.time_ns() // 1_000_000
    time.sleep(0.002)
    assert max(ids) < new_run_id()
    assert abs((uuid.UUID(new_run_id()).int >> 80) - began) < 1000
