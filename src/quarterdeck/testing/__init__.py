"""For tests of what is built on Quarterdeck: scripted models, a loopback server, recorded calls."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quarterdeck.testing.cassette import record, replay
    from quarterdeck.testing.loopback import LoopbackServer, drop, raw, slow, status
    from quarterdeck.testing.scripted import ScriptedLLM, after, call

__all__ = ["LoopbackServer", "ScriptedLLM", "after", "call", "drop", "raw", "record", "replay", "slow", "status"]

_HOMES = {
    "LoopbackServer": "loopback",
    "ScriptedLLM": "scripted",
    "after": "scripted",
    "call": "scripted",
    "drop": "loopback",
    "raw": "loopback",
    "record": "cassette",
    "replay": "cassette",
    "slow": "loopback",
    "status": "loopback",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'quarterdeck.testing' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"quarterdeck.testing.{home}"), name)
    globals()[name] = value
    return value
