"""``quarterdeck new``: a project that runs as it stands."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Kind(StrEnum):
    """What a project is."""

    crew = "crew"
    flow = "flow"


def new(
    kind: Annotated[Kind, typer.Argument(help="What it is to be.")],
    name: Annotated[str, typer.Argument(help="Its name: letters, digits and '-'.")],
    folder: Annotated[Path, typer.Option("--in", help="Where its folder is made.")] = Path(),
) -> None:
    """Writes a new project, which runs, tests and serves as it stands. Nothing is overwritten."""
    from quarterdeck.project.scaffold import new_project

    written = new_project(kind.value, name, folder)
    root = next(file.parent for file in written if file.name == "pyproject.toml")
    for file in written:
        print(file)
    print(f"\ncd {root}\nquarterdeck run\n\n{root / 'README.md'} says how to test and serve it.")
