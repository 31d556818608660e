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
    found["seq"] = medians([rig.phase(python, peer, "seq", url) for _ in range(repeat)])
    options = ("--runs", "200", "--latency", "50")
    found["conc"] = medians([rig.phase(python, peer, "conc", url, *options) for _ in range(repeat)])
    return found


def table(found: dict[str, Any]) -> str:
    """The table as Markdown; ``x floor`` is CPU against plain aiohttp's."""
    floor = found.get("floor_aiohttp", {})
    return rig.markdown(HEAD, [_cells(peer, figures, floor) for peer, figures in found.items()])


def _cells(peer: str, found: dict[str, Any], floor: dict[str, Any]) -> list[str]:
    def cell(phase: str, name: str, form: str = "{:.0f}") -> str:
        return form.format(found[phase][name]) if phase in found else "-"

    def times(phase: str) -> str:
        if phase not in found or phase not in floor:
            return "-"
        return f"{found[phase]['cpu_ms'] / floor[phase]['cpu_ms']:.1f}"

    return [
        peer,
        "failed" if "error" in found else found["version"],
        cell("install", "dists"),
        cell("install", "mb"),
        cell("import", "wall_ms"),
        cell("import", "rss_mb"),
        cell("seq", "wall_ms", "{:.2f}"),
        cell("seq", "cpu_ms", "{:.2f}"),
        times("seq"),
        cell("seq", "prompt_tokens"),
        cell("conc", "runs_per_s", "{:.1f}"),
        cell("conc", "cpu_ms", "{:.2f}"),
        times("conc"),
        cell("conc", "peak_rss_mb"),
        cell("conc", "max_in_flight"),
    ]
