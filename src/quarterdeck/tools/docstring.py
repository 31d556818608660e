"""Parameter descriptions from a docstring: Google's and NumPy's sections, and Sphinx' ``:param x:``."""

from __future__ import annotations

import inspect
import re

_GOOGLE_HEAD = re.compile(r"^(?:Args|Arguments|Parameters|Params):\s*$")
_NUMPY_HEAD = re.compile(r"^(?:Parameters|Other Parameters)\s*$")
_GOOGLE_ENTRY = re.compile(r"^\s+\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)$")
_NUMPY_ENTRY = re.compile(r"^(\w+)\s*(?::.*)?$")
_SPHINX_ENTRY = re.compile(r"^:(?:param|parameter|arg|argument)\s+(?:[^:]*\s)?(\w+)\s*:\s*(.*)$")


def split_docstring(text: str) -> tuple[str, dict[str, str]]:
    """A docstring as (text without the parameters, {parameter: description}).

    The parameters' part is taken out because the model reads it in the schema.
    """
    lines = inspect.cleandoc(text).splitlines()
    kept: list[str] = []
    found: dict[str, str] = {}
    i = 0
    while i < len(lines):
        if _GOOGLE_HEAD.match(lines[i]):
            i = _google(lines, i + 1, found)
        elif _NUMPY_HEAD.match(lines[i]) and i + 1 < len(lines) and re.match(r"^-{3,}\s*$", lines[i + 1]):
            i = _numpy(lines, i + 2, found)
        elif entry := _SPHINX_ENTRY.match(lines[i]):
            i = _sphinx(lines, i + 1, found, entry)
        else:
            kept.append(lines[i])
            i += 1
    return re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip(), found


def _google(lines: list[str], i: int, found: dict[str, str]) -> int:
    indent, name = None, None
    while i < len(lines) and (not lines[i].strip() or lines[i][0].isspace()):
        line = lines[i]
        depth = len(line) - len(line.lstrip())
        if line.strip():
            indent = depth if indent is None else indent
            entry = _GOOGLE_ENTRY.match(line) if depth <= indent else None
            if entry:
                name = entry[1]
                found[name] = entry[2].strip()
            elif name:
                found[name] = f"{found[name]} {line.strip()}".strip()
        i += 1
    return i


def _numpy(lines: list[str], i: int, found: dict[str, str]) -> int:
    name = None
    while i < len(lines):
        line = lines[i]
        if line.strip() and not line[0].isspace():
            entry = _NUMPY_ENTRY.match(line)
            if not entry or (i + 1 < len(lines) and re.match(r"^-{3,}\s*$", lines[i + 1])):
                break  # the next section
            name = entry[1]
            found[name] = ""
        elif line.strip() and name:
            found[name] = f"{found[name]} {line.strip()}".strip()
        elif not line.strip() and name and i + 1 < len(lines) and not _NUMPY_ENTRY.match(lines[i + 1]):
            break
        i += 1
    return i


def _sphinx(lines: list[str], i: int, found: dict[str, str], entry: re.Match[str]) -> int:
    name = entry[1]
    found[name] = entry[2].strip()
    while i < len(lines) and lines[i].strip() and lines[i][0].isspace():
        found[name] = f"{found[name]} {lines[i].strip()}".strip()
        i += 1
    while i < len(lines) and re.match(rf"^:type\s+{name}\s*:", lines[i]):
        i += 1
    return i
