"""The pages are true: every python block runs, every link leads somewhere, every command is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from quarterdeck.cli import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"(?P<skip><!-- not run[^>]*-->\n+)?```python\n(?P<code>.*?)```", re.DOTALL)
KEYS = "import os\nfor k in [k for k in os.environ if k.endswith('_API_KEY')]: del os.environ[k]\n"


def program(page: Path) -> str:
    """A page's blocks as one program, in order, with the lines where they are on the page."""
    text = page.read_text(encoding="utf-8")
    lines = [""] * (text.count("\n") + 2)
    for match in BLOCK.finditer(text):
        if match["skip"]:
            continue
        first = text.count("\n", 0, match.start("code"))
        for n, line in enumerate(match["code"].splitlines()):
            lines[first + n] = line
    return "\n".join(lines)


@pytest.mark.parametrize("page", [p for p in PAGES if program(p).strip()], ids=lambda p: p.name)
def test_blocks_run(page: Path, tmp_path: Path) -> None:
    """In a fresh process and an empty folder, with no key and no model named."""
    code = f"{KEYS}exec(compile({program(page)!r}, {str(page)!r}, 'exec'), {{'__name__': '__main__'}})"
    script = tmp_path / "page.py"
    script.write_text(code, encoding="utf-8")
    done = subprocess.run([sys.executable, script.name], cwd=tmp_path, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Links to other pages of the project, and to their sections."""
    for target, _, section in re.findall(r"\]\((?!https?:)([^)#]*)(#([^)]*))?\)", page.read_text(encoding="utf-8")):
        linked = page.parent / target if target else page
        assert linked.exists(), f"{page.name} links to {target}"
        assert not section or section in headings(linked), f"{page.name} links to {target}#{section}"


def headings(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in found}


def test_index_lists_every_page() -> None:
    """A page that is not in the index is not found."""
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "index.md" or f"({page.name})" in index, page.name


def test_make_targets_are_there() -> None:
    """What the README tells to type is in the Makefile."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for page in PAGES:
        for target in re.findall(r"(?:^|`)make ([a-z][\w-]*)", page.read_text(encoding="utf-8"), re.MULTILINE):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{page.name}: make {target}"


def test_commands_are_there() -> None:
    """What the pages tell to type is a command of ours."""
    commands = {c.name or getattr(c.callback, "__name__", "") for c in app.registered_commands}
    commands |= {group.typer_instance.info.name for group in app.registered_groups if group.typer_instance}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for command in re.findall(r"(?:^|[`$&] ?|=\S+ )(?:quarterdeck|qd) ([a-z][\w-]*)", text, re.MULTILINE):
            assert command in commands, f"{page.name}: quarterdeck {command}"


def test_options_are_there() -> None:
    """So are the options that stand behind a command on its line."""
    commands: Any = typer.main.get_command(app)
    for page in PAGES:
        for name, rest in re.findall(r"(?:quarterdeck|qd) ([a-z][\w-]*)([^`\n]*)", page.read_text(encoding="utf-8")):
            if command := commands.commands.get(name):
                options = {text for option in command.params for text in [*option.opts, *option.secondary_opts]}
                for option in re.findall(r"(?<![\w-])--[a-z][\w-]*", rest):
                    assert option in options, f"{page.name}: quarterdeck {name} {option}"
