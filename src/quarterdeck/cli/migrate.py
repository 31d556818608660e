"""``quarterdeck migrate``."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated

import typer


def migrate(
    path: Annotated[Path, typer.Argument(help="A Python file, or a folder: every Python file below it.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the changes and write nothing.")] = False,
) -> None:
    """Rewrites imports of crewai to quarterdeck, and lists what needs a hand."""
    from quarterdeck.compat.migrate import migrate

    files = migrate(path, write=not dry_run)
    for file in files:
        if dry_run and file.changed:
            name = str(file.path)
            before, after = file.before.splitlines(), file.after.splitlines()
            print("\n".join(difflib.unified_diff(before, after, name, name, lineterm="", n=0)))
        for remark in file.remarks:
            print(f"{file.path}:{remark.line}: {remark.text}")
    changed = sum(file.changed for file in files)
    by_hand = sum(len(file.remarks) for file in files)
    print(f"{changed} files {'would be ' if dry_run else ''}rewritten, {by_hand} places need a hand")
