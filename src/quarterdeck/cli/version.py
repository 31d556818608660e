"""``quarterdeck version``."""

from __future__ import annotations

import quarterdeck


def version() -> None:
    """Prints the version."""
    print(quarterdeck.__version__)
