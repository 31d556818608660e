"""What is in a project's folder: which crew or flow it has, and its ``.env``."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from quarterdeck.errors import ConfigError
from quarterdeck.project.source import shown

CREW_FILES = ("crew.yaml", "crew.yml", "crew.jsonc", "crew.json")

_QUOTED = re.compile(r"""(["'])(.*?)\1\s*(?:#.*)?""")
_LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(.*?)\s*")


def crew_file(folder: Path) -> Path | None:
    """The file of a crew that is wholly in files."""
    return next((folder / name for name in CREW_FILES if (folder / name).is_file()), None)


def find_target(folder: Path) -> tuple[str, Path]:
    """The crew or flow of a project.

    Found in this order: a ``crew.yaml``, ``crew.jsonc`` or ``crew.json``; ``[tool.quarterdeck]`` or ``[tool.crewai]``
    with ``type = "crew"`` or ``"flow"`` in ``pyproject.toml``: then ``crew.py`` or ``main.py`` of the package in
    ``src`` (or in the folder itself).

    Returns:
        A target for ``load_target``, and the folder that it is relative to.

    Raises:
        ConfigError: The folder has none.
    """
    file = crew_file(folder)
    if file:
        return file.name, folder
    kind = _type(folder / "pyproject.toml")
    if kind is None:
        raise ConfigError(
            f"the folder {shown(folder)} has no quarterdeck.toml, no {' or '.join(CREW_FILES)}, and no pyproject.toml "
            "with [tool.quarterdeck] type = 'crew'; name a file, as in crew.py:crew"
        )
    name = "crew.py" if kind == "crew" else "main.py"
    for base in (folder / "src", folder):
        found = sorted(base.glob(f"*/{name}"))
        if len(found) == 1:
            return f"{found[0].parent.name}.{name.removesuffix('.py')}", base
    raise ConfigError(f"pyproject.toml in {shown(folder)} says type = {kind!r}, but no one package in src has a {name}")


def _type(pyproject: Path) -> str | None:
    if not pyproject.is_file():
        return None
    try:
        tools: Any = tomllib.loads(pyproject.read_text(encoding="utf-8")).get("tool", {})
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{shown(pyproject)}: {error}") from None
    for name in ("quarterdeck", "crewai"):
        kind = cast("dict[str, Any]", tools).get(name, {}).get("type")
        if kind is not None:
            if kind not in ("crew", "flow"):
                raise ConfigError(f"{shown(pyproject)}: tool.{name}.type must be 'crew' or 'flow', got {kind!r}")
            return kind
    return None


def load_env_of(targets: Iterable[str]) -> None:
    """Sets the variables of the ``.env`` of each target that is a folder, and of the current folder.

    Raises:
        ConfigError: A line is no assignment.
    """
    places = [Path(target.rpartition("=")[2]) for target in targets]
    for folder in dict.fromkeys([*(place for place in places if place.is_dir()), Path()]):
        load_env(folder)


def load_env(folder: Path) -> None:
    """Sets the variables of a folder's ``.env`` (``NAME=value``, a line each) that are not set yet.

    Raises:
        ConfigError: A line is no assignment.
    """
    file = folder / ".env"
    if not file.is_file():
        return
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:  # not shown: it may be a key
            raise ConfigError(f"{shown(file)}, line {number}: expected NAME=value")
        name, value = match[1], match[2]
        quoted = _QUOTED.fullmatch(value)
        os.environ.setdefault(name, quoted[2] if quoted else value.partition(" #")[0].rstrip())
