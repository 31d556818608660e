"""New projects from the templates in this package, which are plain files."""

from __future__ import annotations

import keyword
import re
import sys
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Literal

import quarterdeck
from quarterdeck.errors import ConfigError

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*([-_ ][A-Za-z0-9]+)*")
_HIDDEN = {"_gitignore": ".gitignore", "_env.example": ".env.example", "_pyproject.toml": "pyproject.toml"}


def new_project(kind: Literal["crew", "flow"], name: str, folder: Path) -> list[Path]:
    """Writes a project that runs, tests and serves as it stands.

    Args:
        kind: What it is to be.
        name: Its name: letters, digits, ``-``, ``_`` and spaces. The package and the class are named after it.
        folder: Where the project's own folder is made.

    Returns:
        The files, in order.

    Raises:
        ConfigError: The name cannot be one, or its folder is there already.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{name!r} cannot be a project's name: use letters, digits and '-', and begin with a letter")
    words = [word.lower() for word in re.split(r"[-_ ]", re.sub(r"([a-z0-9])([A-Z])", r"\1-\2", name))]
    package = "_".join(words)
    if (
        keyword.iskeyword(package)
        or package in sys.stdlib_module_names
        or package in ("quarterdeck", "crewai", "tests")
    ):
        raise ConfigError(f"{name!r} cannot be a project's name: the module {package!r} is there already")
    to = folder / "-".join(words)
    if to.exists():
        raise ConfigError(f"{to} is there already; nothing was written")
    texts = {
        "package_name": package,
        "project-name": "-".join(words),
        "CrewName": "".join(word.capitalize() for word in words),
        "FlowName": "".join(word.capitalize() for word in words),
        "quarterdeck_version": quarterdeck.__version__,
    }
    return _write(resources.files("quarterdeck.project") / "templates" / kind, to, texts)


def _write(template: Traversable, to: Path, texts: dict[str, str]) -> list[Path]:
    written: list[Path] = []
    to.mkdir(parents=True)
    for item in sorted(template.iterdir(), key=lambda item: item.name):
        if item.name == "__pycache__":
            continue
        path = to / _filled(_HIDDEN.get(item.name, item.name), texts)
        if item.is_dir():
            written += _write(item, path, texts)
        else:
            with path.open("x", encoding="utf-8") as file:  # never over another
                file.write(_filled(item.read_text(encoding="utf-8"), texts))
            written.append(path)
    return written


def _filled(text: str, texts: dict[str, str]) -> str:
    for name, value in texts.items():
        text = text.replace(name, value)
    return text
