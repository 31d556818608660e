"""What a server is told: by the command line, by the environment, by its own defaults."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from quarterdeck.server.store import DefaultAction

Dialect = Literal["documented", "runtime"]
"""AMP's documentation and its service disagree about the status answer: see ``docs/http-api.md``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a server behaves.

    Args:
        database: Path of a SQLite file, or a ``postgresql://`` URL.
        token_hash: SHA-256, in hex, of the bearer token that clients send.
        dialect: The form of the status answer, where a request does not say.
        worker: Whether this process runs crews too, or only answers.
        concurrency: Runs at once in this process.
        run_seconds: Time limit of a run, counted while a worker has it; None: no limit.
        max_body_bytes: A larger request is refused with 413.
        max_input_depth: Inputs nested deeper are refused with 400.
        retention_days: Finished runs older than this are erased; None keeps them.
        dev: Allows webhooks to this machine and over plain HTTP.
        webhook_secret: Signs webhooks: ``whsec_`` and 24 to 64 bytes in base64. Several, separated by spaces, sign
            each request each: while a new secret replaces an old one. "": webhooks are not signed.
        question_seconds: How long a person may take to answer; None: as long as they like.
        question_default: What happens after that: it is taken for approved, or the run ends as ``error`` or
            ``cancelled``.
    """

    database: str = ".quarterdeck/quarterdeck.db"
    token_hash: str = ""
    dialect: Dialect = "documented"
    worker: bool = True
    concurrency: int = 100
    run_seconds: float | None = None
    max_body_bytes: int = 1_000_000
    max_input_depth: int = 32
    retention_days: float | None = None
    dev: bool = False
    webhook_secret: str = field(default="", repr=False)
    question_seconds: float | None = None
    question_default: DefaultAction = "error"
