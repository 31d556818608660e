"""Who gets which run: to one worker at a time, fair between tenants, and back into the queue when a worker is gone."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable

import pytest

from quarterdeck.errors import FencedError
from quarterdeck.events import LLMFinished, RunFinished, RunStarted
from quarterdeck.server.store import Claim, NewRun, RunRecord, Store

New = Callable[..., NewRun]
VERSIONS = [("report", "1")]


async def get(store: Store, run_id: str) -> RunRecord:
    record = await store.get(run_id)
    assert record is not None
    return record


async def claim(store: Store, worker: str = "w1", limit: int = 10) -> list[Claim]:
    await store.beat(worker, VERSIONS, {})
    return await store.claim(worker, VERSIONS, limit)


async def one(store: Store, new: New, worker: str = "w1") -> Claim:
    await store.kickoff(new())
    return (await claim(store, worker))[0]


async def test_a_run_goes_to_one_worker(store: Store, other: Store, new: New) -> None:
    ids = {(await store.kickoff(new(tenant=f"t{n % 7}")))[0].id for n in range(300)}

    async def work(store: Store, worker: str) -> list[Claim]:
        got: list[Claim] = []
        while found := await store.claim(worker, VERSIONS, random.randint(1, 9)):
            got += found
        return got

    results = await asyncio.gather(*(work(place, f"w{n}") for n, place in enumerate([store, other] * 3)))
    claims = [item for result in results for item in result]
    assert Counter(item.run.id for item in claims) == Counter(ids)
    assert {(item.run.attempt, item.ownership.epoch, item.run.state) for item in claims} == {(1, 1, "running")}
    for n, result in enumerate(results):
        assert {item.run.worker for item in result} <= {f"w{n}"}
    assert sum(bool(result) for result in results) > 1  # nobody kept all the others from claiming


async def test_the_next_run_is_of_the_tenant_with_the_fewest_under_way(store: Store, new: New) -> None:
    for tenant, count in (("a", 40), ("b", 3), ("c", 1)):
        for _ in range(count):
            await store.kickoff(new(tenant=tenant))
    first = await claim(store, limit=6)
    assert Counter(item.run.tenant for item in first) == {"a": 3, "b": 2, "c": 1}
    second = await claim(store, "w2", limit=2)  # a has 3 under way, b 2, and c has nothing more
    assert [item.run.tenant for item in second] == ["b", "a"]
    third = await claim(store, "w3", limit=100)
    assert [item.run.tenant for item in third] == ["a"] * 36


async def test_a_tenant_with_many_versions_gets_no_more_than_another(store: Store, new: New) -> None:
    versions = [("report", str(n)) for n in range(5)]
    for _, version in versions:
        for _ in range(4):
            await store.kickoff(new(tenant="many", version=version))
    for _ in range(10):
        await store.kickoff(new(tenant="few", version="0"))
    await store.beat("w", versions, {})
    claims = await store.claim("w", versions, 10)
    assert Counter(item.run.tenant for item in claims) == {"many": 5, "few": 5}


async def test_many_tenants_have_their_turn(store: Store, new: New) -> None:
    await asyncio.gather(*(store.kickoff(new(tenant=f"t{n % 60}")) for n in range(180)))
    seen: Counter[str] = Counter()
    for step in range(18):
        seen.update(item.run.tenant for item in await claim(store, f"w{step}"))
        assert max(seen.values()) - min(seen[f"t{n}"] for n in range(60)) <= 1
    assert set(seen.values()) == {3}


async def test_within_a_tenant_by_priority_then_by_age(store: Store, new: New) -> None:
    given = [(await store.kickoff(new(priority=priority)))[0] for priority in (0, 5, 0, -1, 5, 0)]
    expected = [given[n].id for n in (1, 4, 0, 2, 5, 3)]
    await store.beat("w1", VERSIONS, {})  # once: a heartbeat that names no runs gives them back
    got: list[str] = []
    for _ in range(3):
        got += [item.run.id for item in await store.claim("w1", VERSIONS, 2)]
    assert got == expected


async def test_only_what_the_worker_can_run(store: Store, new: New) -> None:
    mine, _ = await store.kickoff(new(version="2"))
    await store.kickoff(new(version="1"))
    await store.kickoff(new(crew="other", version="2"))
    await store.beat("w", [("report", "2"), ("report", "3")], {})
    assert [item.run.id for item in await store.claim("w", [("report", "2"), ("report", "3")], 10)] == [mine.id]
    assert await store.claim("w", [], 10) == []


async def test_a_finish_counts_once_and_only_from_the_owner(store: Store, new: New) -> None:
    run = (await one(store, new)).run
    assert not await store.finish(run.id, "w2", 1, "completed")
    assert not await store.finish(run.id, "w1", 2, "completed")
    assert (await get(store, run.id)).state == "running"
    assert await store.finish(run.id, "w1", 1, "error", detail="it broke\0 \ud800", ended_by="x")
    assert not await store.finish(run.id, "w1", 1, "completed")
    now = await get(store, run.id)
    assert (now.state, now.detail, now.ended_by, now.worker, now.ended) == (
        "error",
        "it broke\ufffd ?",
        "x",
        None,
        True,
    )
    assert now.ended_at is not None
    assert now.started is not None
    assert now.created <= now.started + 0.01
    assert now.started <= now.ended_at


async def test_hand_over_queues_again(store: Store, new: New) -> None:
    run = (await one(store, new)).run
    assert await store.hand_over(run.id, "w1", 1)
    assert not await store.hand_over(run.id, "w1", 1)
    again = (await claim(store, "w2"))[0]
    assert (again.run.id, again.run.attempt, again.run.deaths, again.ownership.epoch) == (run.id, 2, 0, 2)
    assert not await store.finish(run.id, "w1", 1, "completed")
    assert again.run.started == run.started  # its first start


async def test_only_a_silent_worker_loses_its_runs(store: Store, new: New) -> None:
    dead, live = await one(store, new, "dead"), await one(store, new, "live")
    await asyncio.sleep(0.15)
    await store.beat("live", VERSIONS, {live.run.id: 1})
    assert await store.take_over_dead(0.1) == [dead.run.id]
    assert await store.take_over_dead(0.1) == []
    now = await get(store, dead.run.id)
    assert (now.state, now.deaths, now.worker, now.heartbeat_age) == ("queued", 1, None, None)
    beat = await store.beat("dead", VERSIONS, {dead.run.id: 1})  # it was only slow
    assert beat.lost == {dead.run.id}
    assert not await store.finish(dead.run.id, "dead", 1, "completed")
    record = await get(store, live.run.id)
    assert record.heartbeat_age is not None
    assert record.worker == "live"


async def test_several_take_over_at_once(store: Store, other: Store, new: New) -> None:
    for _ in range(50):
        await store.kickoff(new())
    await claim(store, "dead", 50)
    await asyncio.sleep(0.05)
    taken = await asyncio.gather(*(place.take_over_dead(0.02) for place in [store, other] * 3))
    assert sorted(len(ids) for ids in taken) == [0, 0, 0, 0, 0, 50]
    assert {record.deaths for record in await store.list_runs("acme", limit=50)} == {1}


async def test_an_old_worker_writes_nothing_once_another_has_the_run(store: Store, other: Store, new: New) -> None:
    old = await one(store, new, "old")
    opened = await store.open_claimed(old)
    await opened.append(RunStarted(crew="report").stamped(old.run.id, 1))
    await asyncio.sleep(0.05)
    await other.take_over_dead(0.02)
    # Nobody has taken it up yet: what the old worker has paid for is still kept.
    await opened.append(LLMFinished(path="t/1/llm/1", model="m", text="paid").stamped(old.run.id, 2))
    taken = (await claim(other, "new"))[0]
    again = await other.open_claimed(taken)
    assert [event.seq for event in again.events] == [1, 2]
    with pytest.raises(FencedError, match="taken over"):
        await opened.append(LLMFinished(path="t/1/llm/2", model="m").stamped(old.run.id, 3))
    late = await store.open_claimed(old)  # as a worker that was stopped just before it would have opened it
    with pytest.raises(FencedError):
        await late.append(RunStarted(crew="report").stamped(old.run.id, 1))
    assert not await store.finish(old.run.id, "old", old.run.attempt, "completed")
    await again.append(RunFinished(status="completed").stamped(old.run.id, 3))
    assert await other.finish(old.run.id, "new", taken.run.attempt, "completed")


async def test_a_run_that_kills_its_workers_ends(store: Store, new: New) -> None:
    await store.kickoff(new())
    run_id = ""
    for n in range(3):
        taken = (await claim(store, f"w{n}"))[0]
        run_id = taken.run.id
        opened = await store.open_claimed(taken)
        usage = {"total_tokens": 7, "prompt_tokens": 5, "completion_tokens": 2, "successful_requests": 1}
        event = LLMFinished(path=f"t/1/llm/{n}", model="m", text=f"part {n}", usage=usage, cost_usd=0.5)
        await opened.append(event.stamped(run_id, n + 1))
        await asyncio.sleep(0.03)
        await store.take_over_dead(0.01)
    now = await get(store, run_id)
    assert (now.state, now.deaths, now.ended_by) == ("error", 3, "deaths")
    assert "3 workers failed while they ran it" in now.detail
    assert await claim(store) == []
    end = (await store.journal.events(run_id))[-1]
    assert isinstance(end, RunFinished)
    assert (end.seq, end.status, end.output, end.cost_usd) == (4, "failed", "part 2", 1.5)
    assert end.usage["total_tokens"] == 21
    assert end.error == now.detail


async def test_a_run_whose_events_cannot_be_kept_is_given_up_three_times(store: Store, new: New) -> None:
    await store.kickoff(new())
    for _ in range(3):
        run = (await claim(store))[0].run
        assert await store.give_up(run.id, "w1", run.attempt, "the disk is full")
        assert not await store.give_up(run.id, "w1", run.attempt, "the disk is full")
    assert "the disk is full" in (await get(store, run.id)).detail
    assert (await get(store, run.id)).state == "error"


async def test_a_run_that_ended_while_its_worker_died_is_no_failure(store: Store, new: New) -> None:
    await store.kickoff(new())
    for n in range(3):
        taken = (await claim(store, f"w{n}"))[0]
        opened = await store.open_claimed(taken)
        if n == 2:
            await opened.append(RunFinished(status="completed", output="done").stamped(taken.run.id, 1))
        await asyncio.sleep(0.03)
        await store.take_over_dead(0.01)
    run = (await store.list_runs("acme"))[0]
    assert run.state == "completed"
    assert len(await store.journal.events(run.id)) == 1


async def test_a_claim_whose_answer_was_lost_is_queued_again(store: Store, new: New) -> None:
    taken = await one(store, new)
    beat = await store.beat("w1", VERSIONS, {})  # the worker does not know of it
    assert (beat.lost, beat.cancel) == (frozenset(), frozenset())
    now = await get(store, taken.run.id)
    assert (now.state, now.deaths) == ("queued", 0)


async def test_a_run_that_a_worker_got_twice_is_told_by_its_attempt(store: Store, new: New) -> None:
    await one(store, new)
    await asyncio.sleep(0.03)
    await store.take_over_dead(0.01)
    again = (await store.claim("w1", VERSIONS, 10))[0]
    assert again.run.attempt == 2
    assert (await store.beat("w1", VERSIONS, {again.run.id: 2})).lost == frozenset()
    assert (await store.beat("w1", VERSIONS, {again.run.id: 1})).lost == {again.run.id}


async def test_a_version_that_nobody_has_strands_its_runs(store: Store, new: New) -> None:
    gone, _ = await store.kickoff(new(version="old"))
    here, _ = await store.kickoff(new(version="1"))
    await store.beat("w1", VERSIONS, {})
    assert await store.strand(30.0) == []  # a new one may be about to start
    await asyncio.sleep(1.6)
    await store.beat("w1", VERSIONS, {})
    assert await store.strand(1.5) == [gone.id]
    assert await store.strand(1.5) == []
    record = await get(store, gone.id)
    assert record.state == "stranded"
    assert not record.ended
    assert "no worker has had version 'old' of crew 'report' for 1.5 s" in record.detail
    assert (await get(store, here.id)).state == "queued"
    await store.beat("w2", [("report", "old")], {})
    taken = await store.claim("w2", [("report", "old")], 10)
    assert [item.run.id for item in taken] == [gone.id]
    assert (taken[0].run.state, taken[0].run.detail) == ("running", "")


async def test_without_any_worker_all_are_stranded_and_can_be_cancelled(store: Store, new: New) -> None:
    run, _ = await store.kickoff(new())
    await asyncio.sleep(0.03)
    assert await store.strand(0.01) == [run.id]
    cancelled = await store.request_cancel(run.id)
    assert cancelled is not None
    assert cancelled.state == "cancelled"
