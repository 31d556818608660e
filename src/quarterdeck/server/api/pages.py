"""Pages of lists: what comes after the last item of a page, the newest first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

from quarterdeck.server.api.problems import Problem


class Listed(Protocol):
    """What lists are made of."""

    @property
    def id(self) -> str: ...
    @property
    def created(self) -> float: ...


def cursor_after(page: Sequence[Listed], limit: int) -> str | None:
    """The ``cursor`` of the next page; None where a page of so many items at most is the last one."""
    return f"{page[-1].created!r}_{page[-1].id}" if len(page) == limit else None


def before(cursor: str | None) -> tuple[float, str] | None:
    """``created`` and ``id`` of the last item that a client has.

    Raises:
        Problem: 400, it is no cursor.
    """
    if cursor is None:
        return None
    created, _, item = cursor.partition("_")
    try:
        time = float(created)
    except ValueError:
        time = math.nan
    if not math.isfinite(time) or not item.isprintable():
        raise Problem(400, f"cursor must be the 'next' of a page, got {cursor[:60]!r}")
    return time, item
