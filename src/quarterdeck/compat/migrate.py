"""Rewrites imports of CrewAI to Quarterdeck's own, and lists what needs a hand."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from quarterdeck.agent import Agent
from quarterdeck.compat.names import FACADES, LEFT_OUT, SAME, home, left_out
from quarterdeck.crew import Crew
from quarterdeck.errors import ConfigError
from quarterdeck.task import Task

_SKIPPED = {".git", ".venv", "venv", "node_modules", "__pycache__", "site-packages", "build", "dist"}
_REQUIREMENT = re.compile(r"(?<![\w.-])crewai(?:-tools)?(?:\[[\w,]*\])?\s*(?:[=<>~!]=?|\"|'|$)", re.MULTILINE)
_REFUSED: Mapping[str, Mapping[str, str]] = {kind.__name__: kind.not_supported for kind in (Agent, Crew, Task)}
_TOP = {home("crewai", name) for name in FACADES["crewai"] if name != "__version__"}


@dataclass(frozen=True, slots=True, order=True)
class Remark:
    """Something that needs a hand: the line, from 1, and what to do."""

    line: int
    text: str


@dataclass(slots=True)
class Migrated:
    """What came of one file.

    Args:
        path: The file.
        before: Its text.
        after: Its text with the imports rewritten.
        remarks: What needs a hand, by line.
    """

    path: Path
    before: str
    after: str
    remarks: list[Remark] = field(default_factory=list[Remark])

    @property
    def changed(self) -> bool:
        """Whether an import was rewritten."""
        return self.before != self.after


def migrate(path: Path, *, write: bool = True) -> list[Migrated]:
    """Rewrites the imports of a file, or of every Python file below a folder.

    Args:
        path: The file or folder. Environments, hidden and build folders in it are left alone.
        write: False leaves the files as they are.

    Returns:
        The files with something to rewrite or to do by hand, by path. Only ``.py`` files are rewritten; in
        ``.toml`` and ``requirements*.txt`` the dependency on CrewAI is pointed at.

    Raises:
        ConfigError: There is no such path.
    """
    if not path.exists():
        raise ConfigError(f"PATH: there is no file or folder {path}")
    found: list[Migrated] = []
    for file in _files(path):
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            found.append(Migrated(file, "", "", [Remark(1, f"cannot be read: {error}")]))
            continue
        done = _migrate_python(file, text) if file.suffix == ".py" else _look_for_requirement(file, text)
        if done.changed or done.remarks:
            found.append(done)
        if write and done.changed:
            file.write_text(done.after, encoding="utf-8")
    return found


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    for file in sorted(path.rglob("*")):
        parts = file.relative_to(path).parts
        if any(part in _SKIPPED or part.startswith(".") for part in parts) or not file.is_file():
            continue
        if file.suffix in (".py", ".toml") or (file.suffix == ".txt" and file.name.startswith("requirements")):
            yield file


def _look_for_requirement(path: Path, text: str) -> Migrated:
    remarks = [
        Remark(n, "the dependency: replace crewai by quarterdeck")
        for n, line in enumerate(text.splitlines(), 1)
        if _REQUIREMENT.search(line) and not line.lstrip().startswith("#")
    ]
    return Migrated(path, text, text, remarks)


def _migrate_python(path: Path, text: str) -> Migrated:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError) as error:
        return Migrated(path, text, text, [Remark(getattr(error, "lineno", None) or 1, f"is no Python: {error}")])
    lines = text.splitlines(keepends=True)
    remarks: list[Remark] = []
    edits: list[tuple[int, int, str]] = []
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=str(module), level=0) if _is_crewai(module):
                edits.extend(_from_import(node, module, lines, remarks))
            case ast.Import():
                edits.extend(_plain_import(node, lines, remarks))
            case ast.Constant(value=str(value)) if re.match(r"crewai(_tools)?\.[\w.]+$", value):
                remarks.append(Remark(node.lineno, f"the text {value!r} names a module of CrewAI"))
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name in _REFUSED:
                remarks.extend(_refused(node, name))
            case _:
                pass
    after = list(lines)
    for first, last, new in sorted(edits, reverse=True):
        after[first - 1 : last] = [new]
    return Migrated(path, text, "".join(after), sorted(set(remarks)))


def _is_crewai(module: str) -> bool:
    return module.partition(".")[0] in ("crewai", "crewai_tools")


def _refused(node: ast.Call, kind: str) -> Iterator[Remark]:
    for keyword in node.keywords:
        is_off = isinstance(keyword.value, ast.Constant) and not keyword.value.value
        if keyword.arg and keyword.arg in _REFUSED[kind] and not is_off:
            yield Remark(keyword.value.lineno, f"{kind}({keyword.arg}=…): {_REFUSED[kind][keyword.arg]}")


# -- imports ----------------------------------------------------------------------------------------------


def _plain_import(node: ast.Import, lines: list[str], remarks: list[Remark]) -> Iterator[tuple[int, int, str]]:
    names = [alias for alias in node.names if _is_crewai(alias.name)]
    if not names:
        return
    if len(node.names) == 1 and names[0].name == "crewai" and _is_alone(node, lines):
        line = lines[node.lineno - 1]
        new = "import quarterdeck" if names[0].asname else "import quarterdeck as crewai"
        yield node.lineno, node.lineno, line.replace("import crewai", new, 1)
        return
    text = ", ".join(alias.name for alias in names)
    remarks.append(Remark(node.lineno, f"import {text}: import the names that are used, from quarterdeck"))


def _from_import(
    node: ast.ImportFrom, module: str, lines: list[str], remarks: list[Remark]
) -> Iterator[tuple[int, int, str]]:
    homes: dict[str, list[str]] = {}
    for alias in node.names:
        target = _target(module, alias.name)
        if target is None:
            remarks.append(Remark(node.lineno, _why_not(module, alias.name)))
            return
        where, _, name = target.rpartition(":")
        asname = alias.asname or alias.name
        homes.setdefault(where, []).append(name if name == asname else f"{name} as {asname}")
    last = node.end_lineno or node.lineno
    span = "".join(lines[node.lineno - 1 : last])
    if not _is_alone(node, lines) or (len(homes) > 1 and "#" in span):
        remarks.append(
            Remark(node.lineno, f"from {module} import …: rewrite this line by hand, it holds more than that")
        )
        return
    renamed = any(_target(module, alias.name) != f"{next(iter(homes))}:{alias.name}" for alias in node.names)
    if not renamed:  # the rest of the statement, with its comments, stays as it is
        new = re.sub(rf"from(\s+){re.escape(module)}\b", rf"from\g<1>{next(iter(homes))}", span, count=1)
    else:
        indent = span[: len(span) - len(span.lstrip())]
        end = "\n" if span.endswith("\n") else ""
        new = "\n".join(f"{indent}from {where} import {', '.join(items)}" for where, items in homes.items()) + end
    yield node.lineno, last, new


def _target(module: str, name: str) -> str | None:
    """``module:name`` of a name's home: the package itself where it is one of its own names."""
    if f"{module}.{name}" in SAME:
        parent, _, child = f"quarterdeck.{SAME[f'{module}.{name}']}".rpartition(".")
        return f"{parent}:{child}"
    target = None if left_out(module, name) else home(module, name)
    if target is None:
        return None
    return f"quarterdeck:{target.partition(':')[2]}" if target in _TOP else f"quarterdeck.{target}"


def _why_not(module: str, name: str) -> str:
    for prefix, reason in LEFT_OUT.items():
        if module == prefix or module.startswith(f"{prefix}."):
            return f"from {module} import {name}: {reason}"
    return f"from {module} import {name}: {left_out(module, name) or 'Quarterdeck has nothing under this name'}"


def _is_alone(node: ast.stmt, lines: list[str]) -> bool:
    """Whether nothing but a comment stands beside a statement on its lines."""
    before = lines[node.lineno - 1].encode()[: node.col_offset]
    after = lines[(node.end_lineno or node.lineno) - 1].encode()[node.end_col_offset :].decode().strip()
    return not before.strip() and (not after or after.startswith("#"))
