"""In order, at least once, again where it fails; nobody waits for a receiver that is not theirs."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections import Counter, defaultdict
from itertools import pairwise
from typing import Any

from tests.server.webhooks.conftest import SECRET, Got, Receiver, settled, until

from quarterdeck.events import RunFinished, RunStarted, TaskFinished, ToolFinished
from quarterdeck.server.store import Authentication, Hooks, Store, StreamHook
from quarterdeck.server.webhooks import Limits, Retries


def tasks(count: int) -> list[TaskFinished]:
    return [TaskFinished(task=f"t{n}") for n in range(count)]


async def test_in_order_whatever_fails(receiver: Receiver, deliver: Any, writer: Any) -> None:
    """A later one waits for an earlier one that is tried again; each has one id over all its tries."""
    chance = random.Random(7)
    accepted: defaultdict[str, list[int]] = defaultdict(list)

    def answer(got: Got) -> int:
        status = chance.choice([200, 200, 302, 400, 500, 503])
        if status == 200:
            accepted[got.body["kickoff_id"]].append(got.body["seq"])
        return status

    receiver.answer = answer
    async with deliver(retries=Retries(first=0.01, longest=0.02)) as deliverer:
        runs = [await writer.run(Hooks(task_url=f"{receiver.url}/{n % 2}"), *tasks(8)) for n in range(4)]
        await settled(deliverer, "delivered")
    assert accepted == {run.id: list(range(1, 9)) for run in runs}
    ids: defaultdict[tuple[str, int], set[str]] = defaultdict(set)
    for got in receiver.got:
        ids[got.body["kickoff_id"], got.body["seq"]].add(got.id)
    assert {len(names) for names in ids.values()} == {1}
    assert len(set.union(*ids.values())) == 32
    assert len(receiver.got) > 40


async def test_redirects_are_not_followed(store: Store, receiver: Receiver, deliver: Any, writer: Any) -> None:
    receiver.answer = lambda got: 307 if got.path == "/x" else 200
    receiver.headers = {"Location": f"{receiver.url}/elsewhere"}
    async with deliver(retries=Retries(first=0.01, total=0.05)) as deliverer:
        await writer.run(Hooks(task_url=f"{receiver.url}/x"), *tasks(1))
        await settled(deliverer, "dead")
        (item,) = await deliverer.deliveries("acme", state="dead")
    assert item.last_error == "it answered 307"
    assert item.tries == len(receiver.at("/x")) == len(receiver.got) >= 1


async def test_the_waits_grow(receiver: Receiver, deliver: Any, writer: Any) -> None:
    times: list[float] = []

    def answer(got: Got) -> int:
        times.append(time.monotonic())
        return 500 if len(times) < 5 else 200

    receiver.answer = answer
    async with deliver(retries=Retries(first=0.1, jitter=0.1)) as deliverer:
        await writer.run(Hooks(task_url=receiver.url), *tasks(1))
        await settled(deliverer, "delivered")
    waits = [after - before for before, after in pairwise(times)]
    for number, wait in enumerate(waits):
        assert 0.9 * 0.1 * 2**number <= wait < 1.1 * 0.1 * 2**number + 0.5


def test_the_schedule_of_a_day() -> None:
    retries = Retries()
    for failures in range(1, 60):
        usual = min(3600.0, 5.0 * 2 ** (failures - 1))
        waits = [retries.wait(failures) for _ in range(50)]
        assert all(0.8 * usual <= wait <= 1.2 * usual for wait in waits)
        assert len(set(waits)) > 1
    passed = sum(min(3600.0, 5.0 * 2**n) for n in range(33))
    assert 86_400 < passed < 86_400 + 2 * 3600


async def test_dead_and_sent_again(store: Store, receiver: Receiver, deliver: Any, writer: Any) -> None:
    receiver.answer = lambda got: 500
    async with deliver(retries=Retries(first=0.01, longest=0.02, total=0.1)) as deliverer:
        await writer.run(Hooks(task_url=receiver.url), *tasks(3))
        await settled(deliverer, "dead")
        receiver.answer = lambda got: 200
        before = len(receiver.got)
        first = min(await deliverer.deliveries("acme"), key=lambda item: item.seq)
        assert (first.state, first.last_error, first.delivered) == ("dead", "it answered 500", None)
        assert first.tries >= 1
        assert not await deliverer.resend(first.id, "another tenant")
        assert not await deliverer.resend("no such id")
        assert await deliverer.deliveries("another tenant") == []
        assert await deliverer.resend(first.id, "acme")
        await receiver.until(lambda: len(receiver.got) > before)
        await settled(deliverer, "dead", "delivered")
        again = next(item for item in await deliverer.deliveries("acme") if item.id == first.id)
        assert (again.state, again.tries, again.last_error) == ("delivered", 1, "")
        assert again.delivered is not None
        assert await deliverer.resend(first.id)  # also what has arrived
        await receiver.until(lambda: len(receiver.got) == before + 2)
    assert {got.id for got in receiver.got[before:]} == {first.id}
    assert {got.body["seq"] for got in receiver.got[before:]} == {1}


async def test_gone_is_for_good(receiver: Receiver, deliver: Any, writer: Any) -> None:
    receiver.answer = lambda got: 410
    async with deliver() as deliverer:
        await writer.run(Hooks(task_url=receiver.url), *tasks(1))
        await settled(deliverer, "dead")
    assert len(receiver.got) == 1


async def test_pages_of_deliveries(receiver: Receiver, deliver: Any, writer: Any) -> None:
    async with deliver() as deliverer:
        runs = [await writer.run(Hooks(task_url=receiver.url), *tasks(3)) for _ in range(3)]
        await settled(deliverer, "delivered")
        found: list[str] = []
        before = None
        while page := await deliverer.deliveries("acme", before=before, limit=2):
            found += [item.id for item in page]
            before = (page[-1].created, page[-1].id)
        assert Counter(found) == Counter(got.id for got in receiver.got)
        assert {item.run_id for item in await deliverer.deliveries("acme", run_id=runs[1].id)} == {runs[1].id}


async def test_a_slow_receiver_delays_nobody_else(receiver: Receiver, deliver: Any, writer: Any) -> None:
    """Forty runs wait for one that does not answer, on the same host; another URL gets its own at once."""
    done = asyncio.Event()

    async def answer(got: Got) -> int:
        if got.path.startswith("/slow"):
            await done.wait()
        return 200

    receiver.answer = answer
    async with deliver(timeout=30.0, limits=Limits(total=6, origin=5, url=2)):
        for _ in range(40):
            await writer.run(Hooks(task_url=f"{receiver.url}/slow"), *tasks(2))
        await receiver.until(lambda: len(receiver.at("/slow")) == 2)
        began = time.monotonic()
        await writer.run(Hooks(task_url=f"{receiver.url}/quick"), *tasks(3))
        await receiver.until(lambda: len(receiver.at("/quick")) == 3)
        assert time.monotonic() - began < 15.0
        assert len(receiver.at("/slow")) == 2  # no more than the limit for one URL
        done.set()
        await receiver.until(lambda: len(receiver.at("/slow")) == 80)


async def test_many_urls_of_a_slow_host_delay_no_other_host(
    receiver: Receiver, deliver: Any, writer: Any, other_receiver: Receiver
) -> None:
    async def never(got: Got) -> int:
        await asyncio.sleep(60)
        return 200

    other_receiver.answer = never
    async with deliver(timeout=30.0, limits=Limits(total=4, origin=3, url=2)):
        for n in range(10):
            await writer.run(Hooks(task_url=f"{other_receiver.url}/{n}"), *tasks(1))
        await other_receiver.until(lambda: len(other_receiver.got) == 3)
        await writer.run(Hooks(task_url=receiver.url), *tasks(2))
        await receiver.until(lambda: len(receiver.got) == 2, 3)
        assert len(other_receiver.got) == 3


async def test_a_receiver_that_does_not_answer_in_time(receiver: Receiver, deliver: Any, writer: Any) -> None:
    async def answer(got: Got) -> int:
        if len(receiver.got) < 3:
            await asyncio.sleep(30)
        return 200

    receiver.answer = answer
    async with deliver(timeout=0.2) as deliverer:
        await writer.run(Hooks(task_url=receiver.url), *tasks(1))
        await settled(deliverer, "delivered")
    assert len({got.id for got in receiver.got}) == 1
    assert len(receiver.got) == 3


async def test_a_batch_stays_together(receiver: Receiver, deliver: Any, writer: Any) -> None:
    """What was sent once is sent again as it was: a receiver that knows the id may skip it. Others do not join it."""
    access = Authentication("bearer", token="t")
    url = f"{receiver.url}/all"
    streams = (StreamHook(url), StreamHook(url, events=("tool.finished",), authentication=access))
    hooks = Hooks(crew_url=url, streams=streams)
    refused = asyncio.Event()

    def answer(got: Got) -> int:
        if not refused.is_set():
            refused.set()
            return 500
        return 200

    receiver.answer = answer
    events = [RunStarted(crew="c"), *tasks(3), ToolFinished(tool="x"), RunFinished(status="completed")]
    async with deliver(retries=Retries(first=0.3)) as deliverer:
        run = await writer.run(hooks, *events)
        await refused.wait()
        await settled(deliverer, "delivered")
        assert len(await deliverer.deliveries("acme")) == len({got.id for got in receiver.got})
    first, again = receiver.got[:2]
    assert (first.id, first.raw) == (again.id, again.raw)
    bodies = [got.body for got in receiver.got[1:]]
    shown = [[item["seq"] for item in body["events"]] if "events" in body else body["type"] for body in bodies]
    assert shown == [[1, 2, 3, 4, 5], [5], "crew", [6]]
    assert run.id == bodies[2]["kickoff_id"]


async def test_a_long_stream_comes_in_several_requests(receiver: Receiver, deliver: Any, writer: Any) -> None:
    hooks = Hooks(streams=(StreamHook(receiver.url),))
    big = [ToolFinished(tool=f"x{n}", output="x" * 400_000) for n in range(3)]
    async with deliver() as deliverer:
        await writer.run(hooks, *tasks(230), *big)
        await settled(deliverer, "delivered")
    sizes = [len(got.body["events"]) for got in receiver.got]
    assert [item["seq"] for got in receiver.got for item in got.body["events"]] == list(range(1, 234))
    assert max(sizes) <= 100
    assert max(len(got.raw) for got in receiver.got) < 1_100_000


async def test_several_deliverers_share_the_work(
    store: Store, other: Store, receiver: Receiver, deliver: Any, writer: Any
) -> None:
    async with deliver() as deliverer, deliver(other), deliver(other):
        runs = [await writer.run(Hooks(task_url=f"{receiver.url}/{n % 3}"), *tasks(6)) for n in range(12)]
        await settled(deliverer, "delivered")
    seen: defaultdict[str, list[int]] = defaultdict(list)
    for got in receiver.got:
        seen[got.body["kickoff_id"]].append(got.body["seq"])
    assert seen == {run.id: list(range(1, 7)) for run in runs}  # each once, and in order


async def test_what_is_broken_off_at_the_end_is_sent_by_the_next(receiver: Receiver, deliver: Any, writer: Any) -> None:
    async def answer(got: Got) -> int:
        if len(receiver.got) == 1:
            await asyncio.sleep(60)
        return 200

    receiver.answer = answer
    async with deliver(timeout=60.0):
        await writer.run(Hooks(task_url=receiver.url), *tasks(2))
        await receiver.until(lambda: receiver.got)
    began = time.monotonic()
    async with deliver() as deliverer:
        await settled(deliverer, "delivered")
    assert time.monotonic() - began < 5  # it was given back, not left to the end of the lease
    assert [got.body["seq"] for got in receiver.got] == [1, 1, 2]


async def test_an_erased_run_is_not_told_of(store: Store, receiver: Receiver, deliver: Any, writer: Any) -> None:
    await writer.run(Hooks(task_url=receiver.url), *tasks(2))
    await store.write(lambda database: database.execute("DELETE FROM qd_webhooks"))

    async def queues() -> list[Any]:
        return await store.journal.read(lambda database: database.execute("SELECT id FROM qd_webhook_queues"))

    assert len(await queues()) == 1
    async with deliver():
        await until(queues, [])
    assert receiver.got == []


PROCESS = """
import asyncio, sys
from quarterdeck.server.settings import Settings
from quarterdeck.server.store import Store
from quarterdeck.server.webhooks import Deliverer

async def main():
    store = await Store.open(sys.argv[1])
    await Deliverer(store, Settings(dev=True, webhook_secret=sys.argv[2]), timeout=10.0, lease=1.5).run()

asyncio.run(main())
"""


async def test_a_deliverer_that_is_killed_loses_nothing(
    receiver: Receiver, deliver: Any, writer: Any, journal_url: str
) -> None:
    """kill -9 in the middle of its requests, twice."""
    started = asyncio.Event()

    async def answer(got: Got) -> int:
        started.set()
        await asyncio.sleep(0.03)
        return 200

    receiver.answer = answer
    runs = [await writer.run(Hooks(task_url=f"{receiver.url}/{n}"), *tasks(15)) for n in range(5)]
    for _ in range(2):
        started.clear()
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", PROCESS, journal_url, SECRET)
        try:
            await asyncio.wait_for(started.wait(), 20)
            await asyncio.sleep(0.2)
        finally:
            process.kill()
            await process.wait()
    at_kill = len(receiver.got)
    assert 0 < at_kill < 75
    async with deliver() as deliverer:
        await settled(deliverer, "delivered")
    seen: defaultdict[str, list[int]] = defaultdict(list)
    for got in receiver.got:
        body = got.body
        if body["seq"] not in seen[body["kickoff_id"]]:
            seen[body["kickoff_id"]].append(body["seq"])
    assert seen == {run.id: list(range(1, 16)) for run in runs}
    assert len(receiver.got) <= 75 + 2 * 5  # no more came twice than were under way
