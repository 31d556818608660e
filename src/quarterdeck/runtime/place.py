"""Where a program is while it runs as a step of a run: what it kicks off there belongs to that run."""

from __future__ import annotations

import asyncio
import re
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import TypeVar

from quarterdeck.concurrency import on_loop
from quarterdeck.errors import ConfigError
from quarterdeck.llm.base import BaseLLM
from quarterdeck.llm.send import own_caller
from quarterdeck.llm.types import LLMRequest, LLMResponse
from quarterdeck.runtime.options import RunOptions, check_options
from quarterdeck.runtime.part import Part
from quarterdeck.runtime.run import Run, open_run
from quarterdeck.runtime.steps import llm_step

T = TypeVar("T")


class Place:
    """A step of a run, in which a program kicks off crews and agents and calls models. Made on the run's event loop.

    Args:
        run: The run.
        path: The step's path.
    """

    def __init__(self, run: Run, path: str) -> None:
        self.run = run
        self.path = path
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def below(self, name: str) -> str:
        """The path of the next kickoff or call of this name."""
        name = re.sub(r"[^\w.-]+", "_", name).strip("_") or "crew"
        with self._lock:
            self._counts[name] += 1
            return f"{self.path}/{name}/{self._counts[name]}"

    async def join(self, name: str, options: RunOptions, work: Callable[[Run], Awaitable[T]]) -> T:
        """Does a kickoff as a part of the run, on the run's event loop."""
        check_options(options)
        for option in ("budget", "answers", "resolve"):
            if options.get(option) is not None:
                raise ConfigError(
                    f"a kickoff of {name!r} in {self.path!r} is part of the flow's run: give {option}= to the flow's "
                    "kickoff, or this one a journal and a run_id of its own"
                )
        return await self._here(partial(self._do, self.below(name), options, work))

    async def _do(self, path: str, options: RunOptions, work: Callable[[Run], Awaitable[T]]) -> T:
        part = Part(self.run, path, options)
        if attach := options.get("attach"):
            attach(part)
        with at(None):  # what is kicked off by a tool or a callback there is not called again: it has no stable number
            return await work(part)

    async def _here(self, work: Callable[[], Awaitable[T]]) -> T:
        """Awaits work on the run's event loop, where it ends when the run is interrupted."""
        return await on_loop(self._loop, partial(self._beside, work))

    async def _beside(self, work: Callable[[], Awaitable[T]]) -> T:
        task = asyncio.current_task()
        if task is None or task is self._task:
            return await work()
        self.run.aside.add(task)
        try:
            return await work()
        finally:
            self.run.aside.discard(task)

    async def do(self, name: str, step: Callable[[Run, str], Awaitable[T]]) -> T:
        """Does a step of this name, given the run and the step's path, on the run's event loop."""
        return await self._here(partial(step, self.run, self.below(name)))

    async def call_llm(self, llm: BaseLLM, request: LLMRequest) -> LLMResponse:
        """A program's own call to a model, as a step."""
        path = self.below("llm")
        return await self._here(partial(llm_step, self.run, path, llm, request))


_place: ContextVar[Place | None] = ContextVar("quarterdeck_place", default=None)


@contextmanager
def at(place: Place | None) -> Generator[None]:
    """Lets what is kicked off and called inside belong to a step; None: to no run."""
    token, caller = _place.set(place), own_caller.set(place.call_llm if place else None)
    try:
        yield
    finally:
        own_caller.reset(caller)
        _place.reset(token)


def current_place() -> Place | None:
    """The step that this is called in; None outside of any."""
    return _place.get()


async def kickoff_here(
    name: str, options: RunOptions, work: Callable[[Run], Awaitable[T]], *, new_id: str | None = None
) -> T:
    """Does a kickoff: in a flow's method as a part of the flow's run, else as a run of its own.

    Args:
        name: What is kicked off, for its path.
        options: Those of the kickoff. With a journal or a run_id it is a run of its own.
        work: Does it, given the run.
        new_id: The id of a run of its own, where the options have none.

    Raises:
        ConfigError: A part of a run is given an option that only a whole run can have.
    """
    place = _place.get()
    if place is not None and options.get("journal") is None and options.get("run_id") is None:
        return await place.join(name, options, work)
    options = {**options, "run_id": options.get("run_id") or new_id}
    with at(None):
        return await work(await open_run(**options))
