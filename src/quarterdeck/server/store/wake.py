"""Wake-ups: who waits for something to be written is woken, also by another process.

Within a process, and on PostgreSQL between all (LISTEN and NOTIFY), a wake-up comes at once. On SQLite another
process's commits are noticed within ``POLL`` seconds, and wake everybody. A wake-up can be lost with a connection, and
can come for nothing: whoever waits looks again after a time of its own choice.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager

from quarterdeck.runtime.journal import Journal
from quarterdeck.runtime.journal.database import BUSY_SECONDS, Database, Row

logger = logging.getLogger("quarterdeck.server")

POLL = 0.25
_LONGEST = 7500  # bytes in one NOTIFY: PostgreSQL takes 7999
_ALL = "*"


class Waiter:
    """Waits for a topic: ``await waiter(seconds)``. What happens between two calls is not missed."""

    def __init__(self, topics: tuple[str, ...]) -> None:
        self.topics = topics
        self.loop = asyncio.get_running_loop()
        self._event = asyncio.Event()
        self._woken = False

    def wake(self) -> None:
        """Called on the waiter's loop."""
        self._woken = True
        self._event.set()

    def nudge(self) -> None:
        """Ends a wait, as if its time were over. Called on the waiter's loop."""
        self._event.set()

    async def __call__(self, seconds: float | None = None) -> bool:
        """Waits until woken.

        Args:
            seconds: At most so long.

        Returns:
            Whether it was woken.
        """
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        woken, self._woken = self._woken, False
        return woken


class WakeUps:
    """The wake-ups of one store.

    Args:
        journal: Whose commits wake.
        poll: Seconds in which an SQLite file is looked at for another process's commits.
    """

    def __init__(self, journal: Journal, poll: float = POLL) -> None:
        self._journal = journal
        self._poll = poll
        self._lock = threading.Lock()
        self._waiters: dict[str, set[Waiter]] = {}
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    @asynccontextmanager
    async def on(self, *topics: str) -> AsyncGenerator[Waiter]:
        """A waiter for topics: ``queue``, ``cancel``, ``webhooks``, ``run:<id>``."""
        waiter = Waiter(topics)
        with self._lock:
            for topic in topics:
                self._waiters.setdefault(topic, set()).add(waiter)
            if self._thread is None and not self._stop.is_set():
                self._thread = threading.Thread(target=self._listen, name="quarterdeck-wake", daemon=True)
                self._thread.start()
        try:
            yield waiter
        finally:
            with self._lock:
                for topic in topics:
                    self._waiters[topic].discard(waiter)
                    if not self._waiters[topic]:
                        del self._waiters[topic]

    def fire(self, topics: Iterable[str]) -> None:
        """Wakes those who wait for these topics; from any thread. ``*`` wakes all."""
        woken: dict[asyncio.AbstractEventLoop, set[Waiter]] = {}
        with self._lock:
            for topic in topics:
                if topic == _ALL:
                    found: Iterable[Waiter] = [waiter for waiters in self._waiters.values() for waiter in waiters]
                else:
                    found = self._waiters.get(topic, ())
                for waiter in found:
                    woken.setdefault(waiter.loop, set()).add(waiter)
        for loop, waiters in woken.items():
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(_wake, waiters)

    # -- the journal's writer -----------------------------------------------------------------------------

    def announce(self, database: Database, topics: set[str]) -> None:
        """Sends the topics to other processes; they get them when the transaction is committed."""
        if not database.notify:
            return
        part: list[str] = []
        size = 0
        for topic in sorted(topics):
            length = len(topic.encode()) + 1
            if part and size + length > _LONGEST:
                database.execute(database.notify, ("\n".join(part),))
                part, size = [], 0
            part.append(topic)
            size += length
        database.execute(database.notify, ("\n".join(part),))

    def committed(self, topics: set[str]) -> None:
        """Wakes those of this process."""
        self.fire(topics)

    # -- other processes ----------------------------------------------------------------------------------

    def _listen(self) -> None:
        while not self._stop.is_set():
            try:
                database = self._journal.connect()
                try:
                    self._listen_to(database) if database.notify else self._look()
                finally:
                    database.close()
            except Exception as error:
                logger.warning("wake-ups: %s; connecting again", error)
                self._stop.wait(0.5)
            self.fire([_ALL])  # something may have been missed

    def _listen_to(self, database: Database) -> None:
        database.execute("LISTEN quarterdeck")
        self.fire([_ALL])
        while not self._stop.is_set():
            for payload in database.notifications(0.5):
                self.fire(payload.split("\n"))

    def _look(self) -> None:
        """SQLite tells a connection whether others have committed: the writer's is asked, so that its own commits,
        which wake whom they concern, do not count."""
        seen: list[Row] = []
        looked = threading.Event()

        def look(database: Database) -> None:
            now = database.execute("PRAGMA data_version")
            if seen and now != seen:
                self.fire([_ALL])
            seen[:] = now
            looked.set()

        while not self._stop.wait(self._poll):
            looked.clear()
            self._journal.write_soon(look)
            looked.wait(BUSY_SECONDS)

    def close(self) -> None:
        """Ends the listening."""
        self._stop.set()
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join(5.0)


def _wake(waiters: Iterable[Waiter]) -> None:
    for waiter in waiters:
        waiter.wake()
