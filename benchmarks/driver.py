"""Runs one phase of one peer in this process and prints its figures as one line of JSON.

    python benchmarks/driver.py PEER PHASE --base-url http://127.0.0.1:PORT [--runs N] [--latency MS]

PEER is a module in ``peers``; the phases are

* ``seq``: runs one after another, by the peer's sync form where it has one; ``aseq``: by its async form;
* ``conc``: runs that all start at once, on one event loop;
* ``build``: one agent and one task made again and again;
* ``profile``: as ``seq``, under cProfile; prints the profile.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib
import json
import os
import resource
import statistics
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from typing import Any

import quiet  # noqa: F401 - before any peer

CALLS, TOOL_CALLS = 6, 3
"""Of each run, counted by the server: the same work for every peer."""


class Server:
    """The mock server's counters."""

    def __init__(self, base_url: str) -> None:
        self._base = base_url

    def _ask(self, path: str, method: str) -> dict[str, float]:
        with urllib.request.urlopen(urllib.request.Request(self._base + path, method=method)) as response:
            return json.loads(response.read())

    def reset(self) -> None:
        self._ask("/reset", "POST")

    def checked(self, runs: int) -> dict[str, float]:
        """The counters; fails where the runs did other work than is measured."""
        stats = self._ask("/stats", "GET")
        done = (stats["requests"], stats["tool_calls"], stats["errors"])
        assert done == (CALLS * runs, TOOL_CALLS * runs, 0), f"calls, tool calls and errors in {runs} runs: {done}"
        return stats


def cpu() -> float:
    """CPU seconds of this process, all threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def status(key: str) -> int:
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))


def check_text(text: Any) -> None:
    if not (isinstance(text, str) and "Answer" in text):
        raise AssertionError(f"not the answer: {text!r}"[:300])


class Threads(threading.Thread):
    """Samples how many threads there are, this one left out."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(0.02):
            self.peak = max(self.peak, status("Threads") - 1)

    def end(self) -> int:
        self._ended.set()
        self.join()
        return self.peak


def one_by_one(peer: Any, sync: bool) -> Callable[[str], str]:
    if sync and hasattr(peer, "run_sync"):
        return peer.run_sync
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    return lambda topic: loop.run_until_complete(peer.run_async(topic))


def seq(peer: Any, server: Server, options: argparse.Namespace) -> dict[str, Any]:
    run = one_by_one(peer, options.phase == "seq")
    for i in range(options.warmup):
        run(f"warm {i}")
    server.reset()
    walls: list[float] = []
    cpus: list[float] = []
    for i in range(options.runs):
        wall, used = time.perf_counter(), cpu()
        text = run(f"topic {i}")
        walls.append(time.perf_counter() - wall)
        cpus.append(cpu() - used)
        check_text(text)
    stats = server.checked(options.runs)
    return {
        "wall_ms": statistics.median(walls) * 1e3,
        "cpu_ms": statistics.median(cpus) * 1e3,
        "prompt_tokens": stats["prompt_tokens"] / options.runs,
        "request_bytes": stats["request_bytes"] / options.runs,
        "rss_mb": status("VmRSS") / 1024,
    }


def conc(peer: Any, server: Server, options: argparse.Namespace) -> dict[str, Any]:
    async def everything() -> dict[str, Any]:
        for i in range(options.warmup):
            check_text(await peer.run_async(f"warm {i}"))
        server.reset()
        threads = Threads()
        threads.start()
        wall, used = time.perf_counter(), cpu()
        texts = await asyncio.gather(*(peer.run_async(f"topic {i}") for i in range(options.runs)))
        wall, used = time.perf_counter() - wall, cpu() - used
        for text in texts:
            check_text(text)
        return {
            "runs_per_s": options.runs / wall,
            "cpu_ms": used / options.runs * 1e3,
            "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "threads": threads.end(),
            "max_in_flight": server.checked(options.runs)["max_in_flight"],
        }

    return asyncio.run(everything())


def build(peer: Any, server: Server, options: argparse.Namespace) -> dict[str, Any]:
    del server
    peer.build_one()
    gc.collect()
    laps: list[float] = []
    for _ in range(10):
        started = time.perf_counter()
        for _ in range(options.runs):
            peer.build_one()
        laps.append((time.perf_counter() - started) / options.runs * 1e6)
    return {"us": statistics.median(laps)}


def profile(peer: Any, server: Server, options: argparse.Namespace) -> None:
    """All threads' work but the measuring one's is left out by cProfile, so the async form is taken."""
    import cProfile
    import pstats

    del server
    run = one_by_one(peer, sync=False)
    for i in range(options.warmup):
        run(f"warm {i}")
    profiler = cProfile.Profile()
    profiler.enable()
    for i in range(options.runs):
        run(f"topic {i}")
    profiler.disable()
    for order in ("cumulative", "tottime"):
        pstats.Stats(profiler, stream=sys.stderr).sort_stats(order).print_stats(options.top)


PHASES: dict[str, Callable[[Any, Server, argparse.Namespace], Any]] = {
    "seq": seq,
    "aseq": seq,
    "conc": conc,
    "build": build,
    "profile": profile,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer")
    parser.add_argument("phase", choices=PHASES)
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--latency", type=int, default=0)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--top", type=int, default=45)
    options = parser.parse_args()
    out = os.dup(1)
    os.dup2(2, 1)  # frameworks print banners: what they print is kept apart from our line
    peer = importlib.import_module(f"peers.{options.peer}")
    peer.setup(f"{options.base_url}/d{options.latency}/v1")
    try:
        figures = PHASES[options.phase](peer, Server(options.base_url), options)
    finally:
        if hasattr(peer, "close"):
            peer.close()
    if figures is not None:
        os.write(out, (json.dumps(figures) + "\n").encode())
    sys.stderr.flush()
    os._exit(0)  # some peers keep threads that would not end


if __name__ == "__main__":
    main()
