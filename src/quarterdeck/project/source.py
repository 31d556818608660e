"""Definitions in files: YAML, JSON or JSONC, with the line of every value, so that an error can name it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from quarterdeck.errors import ConfigError
from quarterdeck.project import jsonc
from quarterdeck.project.jsonc import Keys

if TYPE_CHECKING:
    from yaml import MappingNode, Node, SafeLoader


@dataclass(frozen=True, slots=True)
class Source:
    """What a file holds, and where each value of it stands.

    Args:
        label: The file, as errors name it.
        data: What it holds; a dict.
        lines: Lines from 1, by the keys that lead to a value.
        file: The file, where there is one.
    """

    label: str
    data: dict[str, Any]
    lines: Mapping[Keys, int] = field(default_factory=dict[Keys, int])
    file: Path | None = None

    def where(self, *keys: str | int) -> str:
        """A value's place: ``config/agents.yaml, line 4: researcher.llm``."""
        known = keys
        while known and known not in self.lines:
            known = known[:-1]
        line = f", line {self.lines[known]}" if known in self.lines else ""
        return f"{self.label}{line}: {dotted(keys)}" if keys else f"{self.label}{line}"

    def error(self, keys: Keys, message: str) -> ConfigError:
        """An error about a value."""
        return ConfigError(f"{self.where(*keys)}: {message}")


def dotted(keys: Keys) -> str:
    """Keys as one text: ``tasks[0].agent``."""
    text = ""
    for key in keys:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else key
    return text


def near(name: str, names: Iterable[str]) -> str:
    """The end of an error about a name that is not there: the nearest one, or which there are."""
    known = sorted(names)
    close = difflib.get_close_matches(name, known, 1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there are {', '.join(known)}" if known else "; there are none"


def read_source(path: Path) -> Source:
    """Reads a file: YAML, or JSON with or without comments, by its suffix.

    Raises:
        ConfigError: It is not there, cannot be read, or holds no mapping; says in which line.
    """
    label = shown(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"there is no file {label}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{label} cannot be read: {error}") from None
    read = jsonc.load if path.suffix in (".json", ".jsonc") else _load_yaml
    try:
        data, lines = read(text)
    except jsonc.JSONCError as error:
        raise ConfigError(f"{label}, line {error.line}: {error}") from None
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise ConfigError(f"{label} must hold a mapping of names to values, it holds a {type(data).__name__}")
    values = cast("dict[str, Any]", data)
    values.pop("$schema", None)  # for editors
    return Source(label, values, lines, path)


def shown(path: Path) -> str:
    """A path as errors show it: relative to the current folder where it is in it."""
    path = path.resolve()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _load_yaml(text: str) -> tuple[Any, dict[Keys, int]]:
    import yaml

    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        lines: dict[Keys, int] = {}
        value = None if node is None else _value(loader, node, (), lines, ())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = str(error.problem or error)
        if error.context and error.context_mark:
            said = f"{said}, {error.context} that begins in line {error.context_mark.line + 1}"
        raise jsonc.JSONCError(said, mark.line + 1 if mark else 1) from None
    except yaml.YAMLError as error:
        raise jsonc.JSONCError(" ".join(str(error).split()), 1) from None
    return value, lines


def _value(loader: SafeLoader, node: Node, keys: Keys, lines: dict[Keys, int], within: tuple[Node, ...]) -> Any:
    """A node's value. Dates stay texts: an input or a description is meant, not a ``datetime``."""
    import yaml

    line = node.start_mark.line + 1
    lines.setdefault(keys, line)
    if any(node is outer for outer in within):
        raise jsonc.JSONCError("an alias leads back to the value that it stands in", line)
    if isinstance(node, yaml.SequenceNode):
        items = cast("list[Node]", node.value)
        return [_value(loader, item, (*keys, n), lines, (*within, node)) for n, item in enumerate(items)]
    if not isinstance(node, yaml.MappingNode):
        return node.value if node.tag == "tag:yaml.org,2002:timestamp" else loader.construct_object(node)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    found: dict[str, Any] = {}
    for key_node, value_node in _pairs(loader, node):
        name = str(key_node.value)
        found[name] = _value(loader, value_node, (*keys, name), lines, (*within, node))
        lines[(*keys, name)] = key_node.start_mark.line + 1
    return found


def _pairs(loader: SafeLoader, node: MappingNode) -> list[tuple[Node, Node]]:
    """A mapping's keys and values, with those of ``<<`` put in."""
    import yaml

    seen: set[str] = set()
    for key_node, _ in cast("list[tuple[Node, Node]]", node.value):
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise jsonc.JSONCError("a key must be a plain text", line)
        if key_node.value in seen:
            raise jsonc.JSONCError(f"the key {key_node.value!r} is there twice", line)
        seen.add(key_node.value)
    loader.flatten_mapping(node)  # pyright: ignore[reportUnknownMemberType]
    merged = {str(pair[0].value): pair for pair in cast("list[tuple[Node, Node]]", node.value)}
    node.value = list(merged.values())  # an alias leads here again
    return node.value
