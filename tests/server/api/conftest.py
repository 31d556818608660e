from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI

from quarterdeck import Agent, Crew, Task
from quarterdeck.project import Entry, Registry
from quarterdeck.server.app import create_app
from quarterdeck.server.auth import hash_of
from quarterdeck.server.settings import Settings
from quarterdeck.server.store import Store
from quarterdeck.testing import ScriptedLLM

TOKEN = "secret-token"


def answer(request: Any) -> str:
    """The second word of the task, so that each run's output is its own; what a person said, where one did."""
    text = str(request.messages[-1]["content"])
    said = text.partition("said: ")[2].partition("\n")[0]
    return f"about {text.split()[1]}{f' ({said})' if said else ''}"


def crews() -> list[Entry]:
    """A crew of two tasks, and one that asks a person."""
    agent = Agent(role="Writer", goal="Write", llm=ScriptedLLM(by=answer))
    plain = Crew(
        name="writers",
        tasks=[
            Task(name="outline", description="Outline {topic} well", expected_output="e", agent=agent),
            Task(name="text", description="Write {topic} well", expected_output="e", agent=agent, context=[]),
        ],
    )
    asking = Crew(
        name="asking",
        tasks=[Task(name="plan", description="Plan {topic} well", expected_output="e", agent=agent, human_input=True)],
    )
    return [Entry("writers", "1", plain), Entry("writers", "2", plain), Entry("asking", "1", asking)]


@dataclass
class Server:
    """A real server on loopback, in a thread of its own."""

    url: str
    store: Store
    app: FastAPI


@pytest.fixture
def server(journal_url: str, settings: dict[str, Any]) -> Iterator[Server]:
    """The crews above, served with a worker, on SQLite and then on PostgreSQL."""
    with serving(journal_url, crews(), **{"max_body_bytes": 20_000, **settings}) as served:
        yield served


@contextlib.contextmanager
def serving(journal_url: str, entries: list[Entry], **more: Any) -> Iterator[Server]:
    """A server of these crews."""
    ready = threading.Event()
    box: dict[str, Any] = {}

    async def serve() -> None:
        store = await Store.open(journal_url)
        settings = Settings(database=journal_url, token_hash=hash_of(TOKEN), **more)
        app = create_app(Registry(entries), settings, store)
        config = uvicorn.Config(app, port=0, log_level="error", timeout_graceful_shutdown=1)
        box["server"], box["store"], box["app"] = uvicorn.Server(config), store, app
        task = asyncio.create_task(box["server"].serve())
        while not box["server"].started and not task.done():  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        ready.set()
        try:
            await task
        finally:
            store.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(20)
    port = box["server"].servers[0].sockets[0].getsockname()[1]
    try:
        yield Server(f"http://127.0.0.1:{port}", box["store"], box["app"])
    finally:
        box["server"].should_exit = True
        thread.join(20)
    assert not thread.is_alive()
