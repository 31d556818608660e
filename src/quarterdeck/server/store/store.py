"""The store: runs that were asked for, the queue, questions to persons. It lives beside the journal, in its database.

What it writes goes through the journal's one writer, together with whatever else is to be written at that moment.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from quarterdeck.concurrency import call_in_thread
from quarterdeck.errors import IdempotencyConflictError
from quarterdeck.events import Event, HumanRequested
from quarterdeck.runtime.human import HumanAnswer
from quarterdeck.runtime.journal import Journal, OpenRun, open_journal, tables
from quarterdeck.runtime.journal.database import Database
from quarterdeck.runtime.journal.writer import Topics
from quarterdeck.server.store import questions as asking
from quarterdeck.server.store import sql
from quarterdeck.server.store.endings import Outbox, end_if_due, end_without_worker
from quarterdeck.server.store.migrate import upgrade
from quarterdeck.server.store.records import (
    WAITING,
    AnswerOutcome,
    Beat,
    Claim,
    Hooks,
    NewRun,
    Question,
    RunRecord,
    State,
)
from quarterdeck.server.store.wake import WakeUps

T = TypeVar("T")

MAX_DEATHS = 3


class Store:
    """The runs of a server. Made by ``Store.open``. All methods raise JournalError where the database fails.

    Attributes:
        journal: The events of the runs.
        wake: Wakes those who wait for something to be written.
        outbox: Called with every event of every run, in the transaction that writes it: to keep there what is to be
            sent. To be set before a worker starts; None keeps nothing.
        max_deaths: A run whose worker has died so often ends with state ``error``.
    """

    def __init__(self, journal: Journal, wake: WakeUps) -> None:
        self.journal = journal
        self.wake = wake
        self.outbox: Outbox | None = None
        self.max_deaths = MAX_DEATHS

    @classmethod
    async def open(cls, database: str) -> Store:
        """Opens a database, and makes its tables or brings them up to date.

        Args:
            database: A path, ``sqlite:///path`` or ``postgresql://user:password@host/database``.

        Raises:
            ConfigError: It is none of these, cannot be opened, or was made by a newer version.
        """
        await call_in_thread(upgrade, database)
        journal = open_journal(database)
        wake = WakeUps(journal)
        journal.announce_to(wake)
        return cls(journal, wake)

    def close(self) -> None:
        """Writes what is under way and closes the database."""
        self.wake.close()
        self.journal.close()

    # -- runs ---------------------------------------------------------------------------------------------

    async def kickoff(self, new: NewRun) -> tuple[RunRecord, bool]:
        """Queues a run.

        Returns:
            The run, and whether it was made now: an idempotency key that was used before gives the run of that time.

        Raises:
            IdempotencyConflictError: The key was used before with another ``request_hash``.
        """
        created = time.time()

        def write(database: Database) -> tuple[RunRecord | None, bool]:
            made = sql.insert(database, new, created)
            found = sql.get(database, new.id, new.tenant)
            return found or sql.by_request(database, new.tenant, new.crew, new.request_id), made

        record, made = await self.journal.write(write, ("queue",))
        if record is None:
            raise IdempotencyConflictError(f"there is a run {new.id!r} of another tenant: give a new id")
        if record.request_hash != new.request_hash:
            raise IdempotencyConflictError(
                f"the key {new.request_id!r} was used before, by run {record.id}, with another payload; "
                "give a new key, or send what was sent then",
                record.id,
            )
        return record, made

    async def get(self, run_id: str, tenant: str | None = None) -> RunRecord | None:
        """A run; None where it is not there, or not this tenant's."""
        return await self.journal.read(lambda database: sql.get(database, run_id, tenant))

    async def list_runs(
        self,
        tenant: str,
        *,
        crew: str | None = None,
        state: str | None = None,
        request_id: str | None = None,
        user_id: str | None = None,
        since: float | None = None,
        until: float | None = None,
        before: tuple[float, str] | None = None,
        limit: int = 50,
    ) -> list[RunRecord]:
        """Runs of a tenant, the newest first.

        Args:
            tenant: Whose runs.
            crew: Only this crew's.
            state: Only those in this state.
            request_id: Only the one with this idempotency key.
            user_id: Only this user's.
            since: Only those that were asked for then or later, in seconds since 1970.
            until: Only those that were asked for before.
            before: ``created`` and ``id`` of the last run of the page before.
            limit: How many at most.
        """
        given = {"tenant": tenant, "crew": crew, "state": state, "request_id": request_id, "user_id": user_id}
        filters = {name: value for name, value in given.items() if value is not None}
        return await self.journal.read(lambda database: sql.list_runs(database, filters, before, limit, since, until))

    async def request_cancel(self, run_id: str, reason: str = "cancelled on request") -> RunRecord | None:
        """Cancels a run: at once where no worker has it, else as soon as its worker hears of it.

        Returns:
            The run as it is then; None where it is not there.
        """

        def write(database: Database) -> RunRecord | None:
            run = sql.hold(database, run_id)
            if run is None or run.ended:
                return run
            if run.state == "running":
                sql.request_cancel(database, run_id)
            else:
                end_without_worker(database, run, "cancelled", reason, "cancel", self.outbox)
            return sql.get(database, run_id)

        return await self.journal.write(write, ("cancel", f"run:{run_id}"))

    async def erase(self, run_id: str) -> bool:
        """Erases what a run that has ended was given and made; its row stays. False where it has not ended."""

        def write(database: Database) -> bool:
            run = sql.hold(database, run_id)
            if run is None or not run.ended:
                return False
            sql.empty(database, run_id)
            return True

        return await self.journal.write(write, (f"run:{run_id}",))

    async def prune(self, older_than: float, batch: int = 100) -> int:
        """Erases runs that ended more than ``older_than`` seconds ago, ``batch`` at most; returns how many.

        One whose webhooks are still being tried waits until they are delivered or given up.
        """

        def write(database: Database) -> int:
            ids = sql.old_runs(database, older_than, batch)
            if ids:
                sql.erase(database, ids)
            return len(ids)

        return await self.journal.write(write)

    async def write(self, function: Callable[[Database], T], topics: Topics = ()) -> T:
        """Writes something else in the next transaction: see ``Journal.write``."""
        return await self.journal.write(function, topics)

    # -- workers ------------------------------------------------------------------------------------------

    async def claim(self, worker: str, versions: Sequence[tuple[str, str]], limit: int) -> list[Claim]:
        """Gives a worker runs that are queued, each to it alone, and takes them over in the journal.

        Fair between tenants: the next run is one of the tenant that has the fewest under way; among a tenant's, the
        highest priority comes first, then the oldest.

        Args:
            worker: The worker, which has said with ``beat`` that it lives.
            versions: Crews and versions that it can run.
            limit: How many at most.
        """

        def write(database: Database) -> list[Claim]:
            ids = sql.claim(database, worker, versions, limit)
            if not ids:
                return []
            owned = tables.take_over_all(database, ids)
            again = [run_id for run_id in ids if owned[run_id].epoch > 1]
            given = asking.answered(database, again)
            return [
                Claim(run=run, ownership=owned[run.id], questions=given.get(run.id, ()))
                for run in sql.records(database, ids)
            ]

        return await self.journal.write(write)

    async def open_claimed(self, claim: Claim) -> OpenRun:
        """The journal of a claimed run, with the events that it has."""
        return await self.journal.open_owned(claim.run.id, claim.ownership, self._beside(claim.run))

    def _beside(self, run: RunRecord) -> Callable[[Event, Database], None]:
        outbox = self.outbox

        def beside(event: Event, database: Database) -> None:
            if isinstance(event, HumanRequested):  # whoever hears of it may answer, though the run goes on elsewhere
                asking.ask(database, Question.of(run, event), None)
            if outbox is not None:
                outbox(run, event, database)

        return beside

    async def beat(
        self,
        worker: str,
        versions: Sequence[tuple[str, str]],
        running: Mapping[str, int],
        draining: bool = False,
    ) -> Beat:
        """A worker says that it lives, what it can run and what it has.

        Args:
            worker: The worker's id, new for each process.
            versions: Crews and versions that it can run.
            running: Its runs, with the attempt of each.
            draining: It takes no new ones.

        Returns:
            Which of them it is to cancel, and which are no longer its own.
        """

        def write(database: Database) -> Beat:
            sql.beat(database, worker, versions, draining)
            own = sql.running_of(database, worker)
            for run_id, (attempt, _) in own.items():
                if running.get(run_id) != attempt:  # it does not know of it: an answer of ours was lost
                    sql.release(database, run_id, worker, attempt, "queued")
            kept = {run_id for run_id, attempt in running.items() if run_id in own and own[run_id][0] == attempt}
            cancel = frozenset(run_id for run_id in kept if own[run_id][1])
            return Beat(cancel, frozenset(running.keys() - kept))

        return await self.journal.write(write)

    async def has_cancels(self, worker: str) -> bool:
        """Whether a run of this worker is to be cancelled."""
        own = await self.journal.read(lambda database: sql.running_of(database, worker))
        return any(cancel for _, cancel in own.values())

    async def leave(self, worker: str) -> None:
        """A worker has ended; it has no runs any more."""
        await self.journal.write(lambda database: sql.leave(database, worker))

    async def finish(
        self,
        run_id: str,
        worker: str,
        attempt: int,
        state: State,
        *,
        detail: str = "",
        ended_by: str = "",
        questions: Sequence[Question] = (),
        answer_seconds: float | None = None,
    ) -> bool:
        """A worker has ended its part of a run.

        Args:
            run_id: The run.
            worker: The worker.
            attempt: The claim's.
            state: An end, or what it waits in.
            detail: Why.
            ended_by: The limit, or the question's path.
            questions: What persons are asked. Where one is answered already, the run goes on.
            answer_seconds: The time for an answer.

        Returns:
            False where the run is no longer this worker's; nothing is written then.
        """

        def write(database: Database) -> bool:
            if not sql.release(database, run_id, worker, attempt, state, detail, ended_by):
                return False
            answered = [asking.ask(database, question, answer_seconds) for question in questions]
            if any(answered):
                sql.queue_again(database, run_id)
            if state in WAITING:
                self._end_due(database, [run_id])  # cancelled meanwhile, and its worker could not hear of it any more
            return True

        return await self.journal.write(write, (f"run:{run_id}", *(("queue",) if questions else ())))

    async def hand_over(self, run_id: str, worker: str, attempt: int) -> bool:
        """A worker that ends puts a run back into the queue; False where it is no longer its own."""

        def write(database: Database) -> bool:
            if not sql.release(database, run_id, worker, attempt, "queued"):
                return False
            self._end_due(database, [run_id])
            return True

        return await self.journal.write(write, ("queue", f"run:{run_id}"))

    async def give_up(self, run_id: str, worker: str, attempt: int, reason: str) -> bool:
        """A worker could not write a run's events: as if it had died with it, the run is tried again, but not often.

        Returns:
            False where it is no longer this worker's.
        """

        def write(database: Database) -> bool:
            if not sql.release(database, run_id, worker, attempt, "queued", died=True):
                return False
            self._end_due(database, [run_id], reason)
            return True

        return await self.journal.write(write, ("queue", f"run:{run_id}"))

    async def take_over_dead(self, older_than: float = 10.0) -> list[str]:
        """Queues the runs of workers that were not heard of for so many seconds.

        One whose worker has died ``max_deaths`` times ends with state ``error``.

        Returns:
            The runs.
        """

        def write(database: Database) -> list[str]:
            taken = sql.take_from_dead(database, older_than)
            self._end_due(database, taken)
            return taken

        return await self.journal.write(write, lambda taken: ("queue",) if taken else ())

    def _end_due(self, database: Database, run_ids: Sequence[str], reason: str = "its process ended") -> None:
        end_if_due(database, run_ids, self.max_deaths, reason, self.outbox)

    async def strand(self, after: float = 30.0) -> list[str]:
        """Marks queued runs whose version no worker has had for ``after`` seconds as ``stranded``, and says what to
        do. A worker that has the version takes them up as if they were queued.

        Returns:
            Those that were marked now.
        """

        return await self.journal.write(lambda database: sql.strand(database, after))

    # -- questions ----------------------------------------------------------------------------------------

    async def questions(self, run_id: str) -> list[Question]:
        """What persons were asked about a run, the oldest first, answered or not."""
        return await self.journal.read(lambda database: asking.asked(database, [run_id]))

    async def answer(
        self, run_id: str, question: str, answer: HumanAnswer, hooks: Hooks | None = None
    ) -> AnswerOutcome:
        """A person answers. The run goes on, and no other answer is taken.

        Args:
            run_id: The run.
            question: The question's path, or its task's name: then the task's open question, else its last.
            answer: The answer.
            hooks: Webhooks that replace those of the run, where they are given.
        """

        def write(database: Database) -> AnswerOutcome:
            return asking.answer(database, run_id, question, answer, hooks)

        return await self.journal.write(write, ("queue", f"run:{run_id}"))

    async def expire_questions(self, limit: int = 100) -> int:
        """Does what was to be done with questions that nobody has answered in time; returns how many."""

        def write(database: Database) -> int:
            due = asking.due(database, limit)
            for run_id, path in due:
                asking.expire(database, run_id, path, self.outbox)
            return len(due)

        return await self.journal.write(write, lambda count: ("queue",) if count else ())
