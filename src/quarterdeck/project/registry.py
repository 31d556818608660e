"""The crews of a server or a project, by name and version."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from quarterdeck.crew.contract import Contract
from quarterdeck.errors import ConfigError
from quarterdeck.project.target import Runnable, load_target

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


@dataclass(frozen=True, slots=True)
class Entry:
    """One version of a crew.

    Args:
        name: The crew's name in URLs: lower-case letters, digits and ``-``.
        version: Its version: the given one, else the digest of its definition.
        runnable: The crew.
    """

    name: str
    version: str
    runnable: Runnable

    @property
    def contract(self) -> Contract:
        """The inputs that it takes."""
        return self.runnable.contract


class Registry:
    """Crews by name and version. The version named last is a crew's current one.

    Raises:
        ConfigError: Two entries have the same name and version.
    """

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._crews: dict[str, dict[str, Entry]] = {}
        for entry in entries:
            versions = self._crews.setdefault(entry.name, {})
            if entry.version in versions:
                raise ConfigError(f"crew {entry.name!r} is there twice with version {entry.version!r}")
            versions[entry.version] = entry

    def names(self) -> list[str]:
        """The crews' names."""
        return list(self._crews)

    def entries(self) -> list[Entry]:
        """Every version of every crew."""
        return [entry for versions in self._crews.values() for entry in versions.values()]

    def versions(self) -> list[tuple[str, str]]:
        """Name and version of every entry."""
        return [(entry.name, entry.version) for entry in self.entries()]

    def get(self, name: str, version: str | None = None) -> Entry | None:
        """A version of a crew; None for ``version`` means the current one. None where it is not there."""
        versions = self._crews.get(name)
        if not versions:
            return None
        return list(versions.values())[-1] if version is None else versions.get(version)

    @classmethod
    def load(cls, targets: Sequence[str], base: Path | None = None) -> Registry:
        """Imports the crews that targets name.

        Args:
            targets: Each ``module:attr``, ``file.py:attr``, a crew's YAML or JSON file, a ``quarterdeck.toml``, or a
                project's folder. A name can be given as ``name=target`` and a version as ``name@version=target``.
            base: The folder that they are relative to; the current one by default.

        Raises:
            ConfigError: A target cannot be loaded, or a name is none.
        """
        base = base or Path.cwd()
        entries: list[Entry] = []
        for target in targets:
            entries.extend(_entries(target, base))
        if not entries:
            raise ConfigError("no crew to serve: name one, as in quarterdeck serve my_crew.py:crew")
        return cls(entries)


def _entries(target: str, base: Path) -> list[Entry]:
    path = base / target
    if path.is_dir() and (path / "quarterdeck.toml").is_file():
        path = path / "quarterdeck.toml"
    if path.suffix == ".toml":
        return _from_toml(path)
    label, separator, place = target.partition("=")
    if not separator:
        return [_entry(None, None, target, base)]
    name, _, version = label.partition("@")
    return [_entry(name, version or None, place, base)]


def _entry(name: str | None, version: str | None, target: str, base: Path) -> Entry:
    runnable = load_target(target, base)
    name = name or _slug(_own_name(runnable, target, base))
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{name!r} cannot be a crew's name: use lower-case letters, digits and '-'")
    version = version or runnable.definition
    if not _VERSION.fullmatch(version):
        raise ConfigError(f"crew {name!r}: {version!r} cannot be a version: use letters, digits, '.', '_' and '-'")
    return Entry(name, version, runnable)


def _own_name(runnable: Runnable, target: str, base: Path) -> str:
    """The crew's own name; where it was given none, that of its file, module or folder."""
    if runnable.name and runnable.name != "crew":
        return runnable.name
    place = target.rpartition(":")[0] or target
    path = (base / place).resolve()
    if path.is_dir():
        return path.name
    if path.is_file():
        return path.stem if path.stem != "crew" or path.suffix == ".py" else path.parent.name
    return place.rpartition(".")[2]


def _slug(text: str) -> str:
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1-\2", text)
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")[:63] or "crew"


def _from_toml(path: Path) -> list[Entry]:
    """``[crews.NAME]`` with ``target`` and perhaps ``version``, or ``[crews.NAME.versions]`` with one target each."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"there is no file {path}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}") from None
    crews = cast("dict[str, Any]", data.get("crews"))
    if not isinstance(crews, dict) or not crews:  # pyright: ignore[reportUnnecessaryIsInstance] - a user's file
        raise ConfigError(f"{path} names no crews; expected [crews.NAME] with target = 'file.py:crew'")
    entries: list[Entry] = []
    for name, table in crews.items():
        entries.extend(_from_table(path, name, table))
    return entries


def _from_table(path: Path, name: str, table: Any) -> list[Entry]:
    where = f"{path}: crews.{name}"
    if not isinstance(table, dict):
        raise ConfigError(f"{where} must be a table with target = 'file.py:crew', got {table!r}")
    fields = cast("dict[str, Any]", table)
    unknown = fields.keys() - {"target", "version", "versions"}
    if unknown:
        raise ConfigError(f"{where} has the unknown key {sorted(unknown)[0]!r}; it takes target, version, versions")
    versions = fields.get("versions") or {fields.get("version"): fields.get("target")}
    entries: list[Entry] = []
    for version, target in versions.items():
        if not isinstance(target, str):
            raise ConfigError(f"{where} needs target = 'file.py:crew', got {target!r}")
        entries.append(_entry(name, None if version is None else str(version), target, path.parent))
    return entries
