"""What the measurements share: environments, the mock server, child processes, medians."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
VENVS = HERE / ".venvs"
OURS = Path(sys.executable)
"""The project's own environment: it has this package and, for the floor, aiohttp."""

Figures = dict[str, float]

_PROBE = """
import json, sys, time
wall, used = time.perf_counter(), time.process_time()
{lines}
wall, used = time.perf_counter() - wall, time.process_time() - used
rss = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS:")) / 1024
print("\\nFIGURES" + json.dumps(dict(wall_ms=wall * 1e3, cpu_ms=used * 1e3, rss_mb=rss, modules=len(sys.modules))))
sys.stdout.flush()
import os; os._exit(0)
"""


class PhaseError(Exception):
    """A phase of a peer failed; its words are the end of what the peer wrote."""


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# -- environments -----------------------------------------------------------------------------------------


def environment(name: str, requirements: Sequence[str], *, fresh: bool = False) -> Path:
    """The interpreter of an environment under ``.venvs``, which holds these distributions and nothing else.

    Args:
        name: Its folder.
        requirements: What pip installs into it.
        fresh: Makes it anew where it is there already.

    Raises:
        subprocess.CalledProcessError: It cannot be made.
    """
    folder = VENVS / name
    python, done = folder / "bin" / "python", folder / ".installed"
    if fresh or not done.exists():
        say(f"installing {' '.join(requirements)}")
        make = [OURS, "-m", "venv", "--clear", "--without-pip", folder]
        install = [OURS, "-m", "pip", "--python", python, "install", "-q", "--disable-pip-version-check", *requirements]
        for command in (make, install):
            subprocess.run(command, check=True, capture_output=True, text=True)
        done.touch()
    return python


def size(python: Path) -> Figures:
    """Distributions in an environment, and their megabytes (10^6 bytes on the disk, compiled files left out)."""
    site = next((python.parent.parent / "lib").glob("python3*/site-packages"))
    files = [file.lstat() for file in site.rglob("*") if file.is_file() and file.suffix != ".pyc"]
    return {
        "dists": len(list(site.glob("*.dist-info"))),
        "mb": sum(file.st_blocks * 512 for file in files) / 1e6,
    }


def version(python: Path, distribution: str) -> str:
    code = f"import importlib.metadata as m; print(m.version({distribution.split('[')[0]!r}))"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


# -- measurements -----------------------------------------------------------------------------------------


@contextmanager
def mock_server() -> Iterator[str]:
    """The base URL of a mock server, on uvloop where that can be installed."""
    try:
        python = environment("server", ["uvloop"])
    except subprocess.CalledProcessError:
        say(
            "uvloop cannot be installed: the mock server runs on asyncio's own loop, and all figures are a little worse"
        )
        python = OURS
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder, "port")
        command = [python, HERE / "mock_llm.py", "--ready-file", ready]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            while not ready.exists() or not ready.read_text():
                assert server.poll() is None, "the mock server did not start"
                time.sleep(0.02)
            yield f"http://127.0.0.1:{ready.read_text()}"
        finally:
            server.terminate()
            server.wait()


def phase(python: Path, peer: str, name: str, url: str, *options: str) -> Figures:
    """The figures of one phase of a peer, in a process of its own.

    Raises:
        PhaseError: It failed, or took longer than five minutes.
    """
    return _child([python, HERE / "driver.py", peer, name, "--base-url", url, *options])


def imports(python: Path, lines: str) -> Figures:
    """What import lines cost in a new process; raises as ``phase`` does."""
    return _child([python, "-c", _PROBE.format(lines=lines)])


def _child(command: Sequence[Any]) -> Figures:
    with tempfile.TemporaryDirectory() as home:  # frameworks put caches and databases into it
        try:
            done = subprocess.run(
                [str(part) for part in command],
                capture_output=True,
                text=True,
                cwd=home,
                env={**os.environ, "HOME": home, "PYTHONPATH": ""},
                timeout=300,
            )
        except subprocess.TimeoutExpired:
            raise PhaseError("took longer than 300 s") from None
    try:
        return json.loads(done.stdout.strip().splitlines()[-1].removeprefix("FIGURES"))
    except (IndexError, ValueError):
        raise PhaseError(done.stderr.strip()[-600:]) from None


# -- numbers ----------------------------------------------------------------------------------------------


def medians(rows: Sequence[Figures]) -> Figures:
    return {name: statistics.median(row[name] for row in rows) for name in rows[0]}


def ratio(rows: Sequence[Figures], base: Sequence[Figures], name: str) -> float:
    """The median of the ratios of rows that were measured right after one another."""
    return statistics.median(row[name] / other[name] for row, other in zip(rows, base, strict=True))


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose columns are aligned, so that it reads well as plain text too."""
    widths = [max(len(row[n]) for row in [head, *rows]) for n in range(len(head))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    top = "| " + " | ".join(cell.ljust(width) for cell, width in zip(head, widths, strict=True)) + " |"
    return "\n".join([top, "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines])
