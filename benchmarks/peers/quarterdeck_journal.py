"""Quarterdeck with its journal in an SQLite file: each finished step is on the disk before the run goes on."""

from __future__ import annotations

import tempfile

from . import quarterdeck
from .quarterdeck import DISTRIBUTIONS, IMPORTS, build_one, run_async, run_sync  # noqa: F401

folder = tempfile.TemporaryDirectory(prefix="quarterdeck-bench-")


def setup(url: str) -> None:
    quarterdeck.options["journal"] = f"{folder.name}/runs.db"
    quarterdeck.setup(url)


def close() -> None:
    folder.cleanup()
