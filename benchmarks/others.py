"""Other frameworks doing the same work, each installed into an environment of its own."""

from __future__ import annotations

import importlib
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import rig
from rig import OURS, medians, say

FLOORS = ("floor_aiohttp", "floor_httpx", "floor_openai")
FRAMEWORKS = ("pydantic_ai", "openai_agents", "agno", "langgraph", "crewai")
ALL = (*FLOORS, "quarterdeck", *FRAMEWORKS)
HEAD = [
    "peer",
    "version",
    "dists",
    "MB",
    "import ms",
    "import MB",
    "run ms",
    "run CPU ms",
    "x floor",
    "prompt tokens",
    "runs/s",
    "CPU ms a run",
    "x floor",
    "peak MB",
    "in flight",
]


def interpreter(peer: str, distributions: Sequence[str]) -> Path:
    if peer == "floor_aiohttp":
        return OURS
    if peer == "quarterdeck":
        return rig.environment("quarterdeck", [str(rig.HERE.parent)])
    return rig.environment(peer, distributions)


def measure(url: str, peers: Sequence[str], repeat: int) -> dict[str, Any]:
    """The figures of each peer; one that cannot be installed or run has its ``error`` in place of them."""
    found: dict[str, Any] = {}
    for peer in peers:
        module = importlib.import_module(f"peers.{peer}")
        try:
            python = interpreter(peer, module.DISTRIBUTIONS)
            say(f"measuring {peer}")
            found[peer] = measure_one(url, peer, python, module, repeat)
        except (rig.PhaseError, subprocess.CalledProcessError) as error:
            words = error.stderr if isinstance(error, subprocess.CalledProcessError) else str(error)
            say(f"{peer}: {words.strip()[-600:]}")
            found[peer] = {"error": words}
    return found


def measure_one(url: str, peer: str, python: Path, module: Any, repeat: int) -> dict[str, Any]:
    found: dict[str, Any] = {"version": rig.version(python, module.DISTRIBUTIONS[0])}
    if not peer.startswith("floor_"):
        found["install"] = rig.size(python)
    rig.imports(python, module.IMPORTS)  # compiles what is not compiled yet
    found["import"] = medians([rig.imports(python, module.IMPORTS) for _ in range(repeat)])
    found["seq"] = against_floor(url, peer, python, "seq", repeat)
    found["conc"] = against_floor(url, peer, python, "conc", repeat, "--runs", "200", "--latency", "50")
    return found


def against_floor(url: str, peer: str, python: Path, phase: str, repeat: int, *options: str) -> rig.Figures:
    """A peer's figures and, as ``times_cpu``, its CPU against that of plain aiohttp measured just before it."""
    floor: list[rig.Figures] = []
    rows: list[rig.Figures] = []
    for _ in range(repeat):
        floor.append(rig.phase(OURS, "floor_aiohttp", phase, url, *options))
        rows.append(rig.phase(python, peer, phase, url, *options))
    return {**medians(rows), "times_cpu": rig.ratio(rows, floor, "cpu_ms")}


def table(found: dict[str, Any]) -> str:
    """The table as Markdown; ``x floor`` is CPU against plain aiohttp's."""
    return rig.markdown(HEAD, [_cells(peer, figures) for peer, figures in found.items()])


def _cells(peer: str, found: dict[str, Any]) -> list[str]:
    def cell(phase: str, name: str, form: str = "{:.0f}") -> str:
        return form.format(found[phase][name]) if phase in found else "-"

    return [
        peer,
        "failed" if "error" in found else found["version"],
        cell("install", "dists"),
        cell("install", "mb"),
        cell("import", "wall_ms"),
        cell("import", "rss_mb"),
        cell("seq", "wall_ms", "{:.2f}"),
        cell("seq", "cpu_ms", "{:.2f}"),
        cell("seq", "times_cpu", "{:.1f}"),
        cell("seq", "prompt_tokens"),
        cell("conc", "runs_per_s", "{:.1f}"),
        cell("conc", "cpu_ms", "{:.2f}"),
        cell("conc", "times_cpu", "{:.1f}"),
        cell("conc", "peak_rss_mb"),
        cell("conc", "max_in_flight"),
    ]
