"""``AsyncClient`` and ``Client``: a crew behind the HTTP API, here or at CrewAI AMP."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from typing import Any

from quarterdeck.client.events import StreamEvent, follow
from quarterdeck.client.http import Connection
from quarterdeck.client.status import Status, read_status
from quarterdeck.concurrency import run_sync
from quarterdeck.errors import APIError, ConfigError

POLL_SECONDS = 2.0
"""How long ``wait`` waits between two looks where the server advises nothing."""
_SHORTEST, _LONGEST = 0.1, 60.0

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,199}")


class AsyncClient:
    """A crew behind the HTTP API: of this project's server, or of CrewAI AMP.

    Requests that change nothing are tried again where they have no answer; a kickoff only with an idempotency key, an
    answer to a question never.

    Args:
        base_url: The crew's base URL: ``https://my-crew.crewai.com``, ``http://localhost:8000/crews/my-crew``.
        token: Its bearer token.
        timeout: Seconds for one try of a request.
        retries: How often a request is tried again; while ``wait`` and ``events`` are under way, five times more, so
            that a server can be started again meanwhile.

    Raises:
        ConfigError: One of these is none.
    """

    def __init__(self, base_url: str, token: str = "", *, timeout: float = 30.0, retries: int = 3) -> None:
        self._connection = Connection(base_url, token, timeout, retries)

    async def inputs(self) -> list[str]:
        """Names of the inputs that a kickoff must give.

        Raises:
            APIError: The server refuses, fails, or does not answer.
        """
        body = (await self._connection.ask("GET", "/inputs", repeat=True)).body
        names = body.get("inputs")
        if not isinstance(names, list):
            raise APIError(f"{self._connection.base_url}/inputs names no inputs: is it a crew's URL?", status=200)
        return [str(name) for name in names]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]

    async def kickoff(
        self,
        inputs: Mapping[str, Any] | None = None,
        *,
        key: str | None = None,
        meta: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> str:
        """Starts a run and returns its id.

        Args:
            inputs: Values of the crew's inputs.
            key: The idempotency key, 1 to 200 printable ASCII characters: the same key and payload give the same run,
                so that the request can be tried again. AMP does not know it.
            meta: Given back in webhooks.
            fields: Others of the request, by their names there: ``crewWebhookUrl``, ``budget``, ``version``, ….

        Raises:
            APIError: The server refuses, fails, or does not answer; without a key nobody knows then whether the run
                was started.
            InputError: The request cannot be written as JSON.
        """
        if key is not None and not (0 < len(key) <= 200 and key.isascii() and key.isprintable()):
            raise ConfigError(f"key must be 1 to 200 printable ASCII characters, got {key[:60]!r}")
        body: dict[str, Any] = {"inputs": dict(inputs or {}), **fields}
        if meta is not None:
            body["meta"] = dict(meta)
        headers = {"Idempotency-Key": key} if key else {}
        answer = await self._connection.ask("POST", "/kickoff", body, headers, repeat=key is not None)
        kickoff_id = answer.body.get("kickoff_id")
        if not isinstance(kickoff_id, str):
            raise APIError(f"{self._connection.base_url}/kickoff answered without a kickoff_id", status=200)
        return kickoff_id

    async def status(self, kickoff_id: str) -> Status:
        """A run's status.

        Raises:
            APIError: The server refuses, fails, or does not answer; ``status`` 404: there is no such run.
        """
        return await _status(self._connection, kickoff_id)

    async def wait(
        self, kickoff_id: str, *, timeout: float | None = None, on_status: Callable[[Status], object] | None = None
    ) -> Status:
        """Waits until a run has ended or needs a person, by asking as often as the server advises.

        Args:
            kickoff_id: The run.
            timeout: Seconds to wait at most; then the status of that time is returned.
            on_status: Called with each status.

        Raises:
            APIError: The server refuses, or stays away for all tries.
        """
        end = None if timeout is None else asyncio.get_running_loop().time() + timeout
        connection = self._connection
        while True:
            status = await _status(connection, kickoff_id)
            connection = self._connection.patient()
            if on_status is not None:
                on_status(status)
            if status.ended or status.waits_for_person:
                return status
            advised = POLL_SECONDS if status.retry_after is None else status.retry_after
            pause = min(max(advised, _SHORTEST), _LONGEST)
            if end is not None:
                left = end - asyncio.get_running_loop().time()
                if left <= 0:
                    return status
                pause = min(pause, left)
            await asyncio.sleep(pause)

    async def resume(self, kickoff_id: str, task_id: str, *, approve: bool, feedback: str = "", **fields: Any) -> str:
        """Answers a question; returns what comes of it: ``resumed``, ``retrying`` or ``completed``.

        Args:
            kickoff_id: The run.
            task_id: The task that asks: ``Status.pending.task_id``.
            approve: True accepts its output; False lets the task be done again.
            feedback: What the task, or those after it, shall know.
            fields: Others of the request: webhooks' URLs. AMP forgets those of the kickoff.

        Raises:
            APIError: The server refuses (400: the run is not waiting; 404; 409: it has another answer), fails, or
                does not answer.
        """
        body = {
            "execution_id": _checked(kickoff_id),
            "task_id": task_id,
            "human_feedback": feedback,
            "is_approve": approve,
            **fields,
        }
        answer = await self._connection.ask("POST", "/resume", body, repeat=False)
        return str(answer.body.get("status", "resumed"))

    async def cancel(self, kickoff_id: str) -> Status:
        """Ends a run; what is finished is kept. One that has ended stays as it is. AMP has no such endpoint.

        Raises:
            APIError: The server refuses, fails, or does not answer.
        """
        answer = await self._connection.ask("POST", f"/{_checked(kickoff_id)}/cancel", repeat=True)
        return read_status(kickoff_id, answer.body, answer.retry_after)

    async def events(
        self, kickoff_id: str, *, after: int = 0, types: Sequence[str] = ()
    ) -> AsyncGenerator[StreamEvent]:
        """A run's events from the first on, then as they come, until it has ended; the last one has the type ``end``.

        A connection that breaks is made again, and goes on without gap or repeat. AMP has no such endpoint.

        Args:
            kickoff_id: The run.
            after: The number of the last event that is known.
            types: Types that are wanted, as ``task.finished``; empty means all.

        Raises:
            APIError: The server refuses, or stays away for all tries.
        """
        stream = follow(self._connection, f"/{_checked(kickoff_id)}/events", after, tuple(types))
        try:
            async for event in stream:
                yield event
        finally:
            await stream.aclose()


class Client:
    """``AsyncClient`` for programs without an event loop: the same methods, which wait. Usable from any thread.

    Args:
        base_url: The crew's base URL.
        token: Its bearer token.
        timeout: Seconds for one try of a request.
        retries: How often a request is tried again.

    Raises:
        ConfigError: One of these is none.
    """

    def __init__(self, base_url: str, token: str = "", *, timeout: float = 30.0, retries: int = 3) -> None:
        self._client = AsyncClient(base_url, token, timeout=timeout, retries=retries)

    def inputs(self) -> list[str]:
        """See ``AsyncClient.inputs``."""
        return run_sync(self._client.inputs())

    def kickoff(
        self,
        inputs: Mapping[str, Any] | None = None,
        *,
        key: str | None = None,
        meta: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> str:
        """See ``AsyncClient.kickoff``."""
        return run_sync(self._client.kickoff(inputs, key=key, meta=meta, **fields))

    def status(self, kickoff_id: str) -> Status:
        """See ``AsyncClient.status``."""
        return run_sync(self._client.status(kickoff_id))

    def wait(
        self, kickoff_id: str, *, timeout: float | None = None, on_status: Callable[[Status], object] | None = None
    ) -> Status:
        """See ``AsyncClient.wait``."""
        return run_sync(self._client.wait(kickoff_id, timeout=timeout, on_status=on_status))

    def resume(self, kickoff_id: str, task_id: str, *, approve: bool, feedback: str = "", **fields: Any) -> str:
        """See ``AsyncClient.resume``."""
        return run_sync(self._client.resume(kickoff_id, task_id, approve=approve, feedback=feedback, **fields))

    def cancel(self, kickoff_id: str) -> Status:
        """See ``AsyncClient.cancel``."""
        return run_sync(self._client.cancel(kickoff_id))

    def events(self, kickoff_id: str, *, after: int = 0, types: Sequence[str] = ()) -> Generator[StreamEvent]:
        """See ``AsyncClient.events``."""
        stream = self._client.events(kickoff_id, after=after, types=types)

        async def following() -> StreamEvent | None:
            return await anext(stream, None)

        try:
            while (event := run_sync(following())) is not None:
                yield event
        finally:
            run_sync(stream.aclose())


async def _status(connection: Connection, kickoff_id: str) -> Status:
    headers = {"X-AMP-Dialect": "documented"}  # it has the tasks' outputs too
    answer = await connection.ask("GET", f"/status/{_checked(kickoff_id)}", headers=headers, repeat=True)
    return read_status(kickoff_id, answer.body, answer.retry_after)


def _checked(kickoff_id: str) -> str:
    """An id that can stand in a path."""
    if not _ID.fullmatch(kickoff_id):
        raise ConfigError(f"{kickoff_id[:60]!r} is no id of a run: it is what kickoff gave, as 0197c0de-…")
    return kickoff_id
