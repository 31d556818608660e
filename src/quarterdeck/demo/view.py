"""The demo while it runs: a live table of tasks, steps, tokens and seconds, or a line for each event."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Group, RenderableType
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from quarterdeck.events import (
    Event,
    LLMDelta,
    LLMFinished,
    LLMStarted,
    TaskFailed,
    TaskFinished,
    TaskStarted,
    ToolFinished,
)


@dataclass(slots=True)
class _Row:
    agent: str = ""
    steps: int = 0
    tokens: int = 0
    started: float = 0.0
    seconds: float = 0.0
    state: str = ""
    result: str = ""


@dataclass(slots=True)
class LiveView:
    """A table of a run's tasks. ``on_event`` may be called from another thread than the one that draws.

    Args:
        tasks: The tasks' names, in order.
    """

    tasks: Sequence[str]
    _rows: dict[str, _Row] = field(default_factory=dict[str, _Row])
    _started: float = field(default_factory=time.monotonic)
    _spinner: Spinner = field(default_factory=lambda: Spinner("dots"))

    def on_event(self, event: Event) -> None:
        """Takes an event into the table."""
        row = self._rows.setdefault(event.path.split("/")[0], _Row())
        match event:
            case TaskStarted():
                row.agent, row.started, row.state = event.agent, time.monotonic(), "running"
            case LLMStarted():
                row.result = ""
            case LLMDelta():
                row.result += event.text
            case LLMFinished():
                row.steps, row.tokens = row.steps + 1, row.tokens + event.usage.get("total_tokens", 0)
                row.result = event.text
            case ToolFinished():
                row.steps, row.result = row.steps + 1, f"{event.tool}: {event.output}"
            case TaskFinished():
                row.state, row.seconds = "done", time.monotonic() - row.started
                row.result = str(event.output.get("raw", ""))
            case TaskFailed():
                row.state, row.result = "failed", event.error
            case _:
                pass

    def __rich__(self) -> RenderableType:
        table = Table(expand=True, box=None, pad_edge=False)
        for name, style in (("", ""), ("task", "bold"), ("agent", "cyan")):
            table.add_column(name, style=style, no_wrap=True)
        for name in ("steps", "tokens", "s"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("result", ratio=1, no_wrap=True, overflow="ellipsis")
        for name in self.tasks:
            self._add(table, name, self._rows.get(name))
        return Group(table, Text(f"\n{self._totals()}", style="dim"))

    def _totals(self) -> str:
        rows = list(self._rows.values())
        done = sum(row.state == "done" for row in rows)
        tokens, seconds = sum(row.tokens for row in rows), time.monotonic() - self._started
        return f"{done} of {len(self.tasks)} tasks done, {tokens} tokens, {seconds:.0f} s"

    def _add(self, table: Table, name: str, row: _Row | None) -> None:
        if row is None or not row.state:
            table.add_row("·", Text(name, style="dim"), *[""] * 5)
            return
        marks: dict[str, RenderableType] = {
            "running": self._spinner,
            "done": Text("✓", "green"),
            "failed": Text("✗", "red"),
        }
        seconds = time.monotonic() - row.started if row.state == "running" else row.seconds
        result = Text(" ".join(row.result.split()), style="dim" if row.state == "running" else "")
        table.add_row(marks[row.state], name, row.agent, str(row.steps), str(row.tokens), f"{seconds:.1f}", result)
