"""ReadFile, WriteFile and ListFiles: what they do within their root, and what they refuse."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.errors import ConfigError, ToolError
from quarterdeck.tools import ListFiles, ReadFile, WriteFile


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A directory with files, beside a secret and a link that leads to it."""
    directory = tmp_path / "root"
    (directory / "sub" / "deep").mkdir(parents=True)
    (directory / "a.md").write_text("one\ntwo\nthree\n")
    (directory / "sub" / "b.txt").write_text("b")
    (directory / "sub" / "deep" / "c.md").write_text("c")
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "root-too").mkdir()
    (tmp_path / "root-too" / "secret.txt").write_text("secret")
    (directory / "link.txt").symlink_to(tmp_path / "secret.txt")
    (directory / "linked").symlink_to(tmp_path)
    (directory / "inside.md").symlink_to(directory / "a.md")
    (directory / "circle").symlink_to(directory / "circle")
    return directory


ESCAPES = [
    "../secret.txt",
    "sub/../../secret.txt",
    "../root-too/secret.txt",
    "link.txt",
    "linked/secret.txt",
    "/etc/passwd",
    "circle",
    "a\0b",
    "x" * 5000,
]


@pytest.mark.parametrize("path", ESCAPES)
def test_nothing_outside_of_the_root_is_touched(root: Path, path: str):
    for use in (
        lambda: ReadFile(root=root).run(path=path),
        lambda: WriteFile(root=root).run(path=path, content="overwritten"),
        lambda: ListFiles(root=root).run(path=path),
    ):
        with pytest.raises((ToolError, OSError)):
            use()
    assert (root.parent / "secret.txt").read_text() == "secret"
    assert (root.parent / "root-too" / "secret.txt").read_text() == "secret"


@given(st.lists(st.sampled_from(["..", ".", "a", "sub", "/", "~", "linked", "link.txt"]), max_size=6).map("/".join))
def test_a_located_path_is_always_within_the_root(tmp_path_factory: pytest.TempPathFactory, path: str):
    directory = tmp_path_factory.getbasetemp() / "located"
    (directory / "sub").mkdir(parents=True, exist_ok=True)
    if not (directory / "linked").is_symlink():
        (directory / "linked").symlink_to(directory.parent)
    reader = ReadFile(root=directory)
    try:
        found = reader.locate(path)
    except ToolError:
        return
    assert found == directory.resolve() or directory.resolve() in found.parents


async def test_a_refusal_does_not_tell_where_the_root_is(root: Path, call: Any):
    result = await call(ReadFile(root=root), {"path": "../secret.txt"})
    assert result.output == "'../secret.txt' is outside of the directory that may be used. Give a path relative to it."


def test_the_root_must_exist(tmp_path: Path):
    with pytest.raises(ConfigError, match="ReadFile: 'root': Value error, must be a directory that exists"):
        ReadFile(root=tmp_path / "missing")


class TestReadFile:
    def test_whole_and_in_parts(self, root: Path):
        reader = ReadFile(root=root)
        assert reader.run("a.md") == "one\ntwo\nthree\n"
        assert reader.run(path="inside.md", start_line=2, line_count=1) == "two\n"
        assert reader.run(path=str(root / "sub" / "b.txt")) == "b"

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ({"path": "missing"}, "'missing' does not exist"),
            ({"path": "sub"}, "'sub' is not a regular file"),
            ({"path": "a.md", "start_line": 4}, "'a.md' has 3 lines; there is no line 4"),
            ({"path": "a.md", "start_line": 0}, "start_line and line_count start at 1"),
            ({"path": "binary"}, "'binary' holds binary data"),
            ({"path": "latin"}, "'latin' is not UTF-8 text"),
            ({"path": "pipe"}, "'pipe' is not a regular file"),
            ({"path": "long"}, "Line 11 of 'long' is beyond the 100 bytes that one call reads"),
            ({"path": "wide"}, "'wide' has a line longer than 100 bytes"),
        ],
    )
    async def test_what_cannot_be_read(self, root: Path, call: Any, arguments: dict[str, Any], said: str):
        (root / "binary").write_bytes(b"PNG\0\1")
        (root / "latin").write_bytes("\u00e9".encode("latin-1"))
        (root / "long").write_text("123456789\n" * 20)
        (root / "wide").write_text("x" * 101)
        os.mkfifo(root / "pipe")
        result = await call(ReadFile(root=root, max_bytes=100), arguments)
        assert not result.ok
        assert said in result.output

    def test_a_part_of_a_long_file(self, root: Path):
        (root / "long").write_text("".join(f"{n:08d}\n" for n in range(1000)))
        assert ReadFile(root=root, max_bytes=100).run("long", 900, 2) == "00000899\n00000900\n"

    def test_a_byte_order_mark_is_dropped(self, root: Path):
        (root / "bom").write_bytes(b"\xef\xbb\xbftext")
        assert ReadFile(root=root).run("bom") == "text"


class TestWriteFile:
    def test_new_and_existing_files(self, root: Path):
        writer = WriteFile(root=root)
        assert writer.run(path="new/dir/x.md", content="h\u00e9") == "Wrote 3 bytes to new/dir/x.md."
        assert (root / "new" / "dir" / "x.md").read_text() == "h\u00e9"
        (root / "a.md").chmod(0o640)
        writer.run(path="a.md", content="changed")
        assert (root / "a.md").read_text() == "changed"
        assert (root / "a.md").stat().st_mode & 0o777 == 0o640

    def test_a_new_file_has_the_rights_that_any_new_file_has(self, root: Path):
        (root / "usual").touch()
        WriteFile(root=root).run("x", "x")
        assert (root / "x").stat().st_mode == (root / "usual").stat().st_mode

    def test_existing_files_may_be_protected_and_the_same_call_may_be_repeated(self, root: Path):
        writer = WriteFile(root=root, overwrite=False)
        for _ in range(2):
            assert writer.run("new.md", "text") == "Wrote 4 bytes to new.md."
        with pytest.raises(ToolError, match=r"'a.md' exists, and files that exist may not be changed"):
            writer.run("a.md", "other")
        assert (root / "a.md").read_text() == "one\ntwo\nthree\n"
        assert not list(root.glob(".*"))

    def test_limits(self, root: Path):
        with pytest.raises(ToolError, match="The content has 11 bytes; the limit is 10"):
            WriteFile(root=root, max_bytes=10).run("x", "x" * 11)
        with pytest.raises(ToolError, match="'sub' is a directory"):
            WriteFile(root=root).run("sub", "x")
        assert not (root / "x").exists()

    async def test_a_reader_never_sees_half_a_file(self, root: Path, call: Any):
        writer, target = WriteFile(root=root), root / "shared"
        contents = [letter * 200_000 for letter in "abcd"]
        target.write_text(contents[0])
        writing = [asyncio.ensure_future(call(writer, {"path": "shared", "content": text})) for text in contents * 3]
        seen = 0
        while not all(task.done() for task in writing):
            text = target.read_text()
            assert text in contents
            seen += 1
            await asyncio.sleep(0)
        assert seen
        assert [(await task).ok for task in writing] == [True] * 12
        assert not [name for name in os.listdir(root) if name.startswith(".")]


class TestListFiles:
    def test_one_directory(self, root: Path):
        assert ListFiles(root=root).run().splitlines() == [
            "a.md (14 bytes)",
            "circle (link)",
            "inside.md (link)",
            "link.txt (link)",
            "linked (link)",
            "sub/",
        ]

    def test_a_pattern_and_what_is_below(self, root: Path):
        lister = ListFiles(root=root)
        assert lister.run(pattern="*.md", recursive=True).splitlines() == [
            "a.md (14 bytes)",
            "inside.md (link)",
            "sub/deep/c.md (1 bytes)",
        ]
        assert lister.run(path="sub", pattern="*.txt") == "sub/b.txt (1 bytes)"
        assert lister.run(pattern="*.py") == "Nothing in '.' fits '*.py'."

    def test_the_limit(self, root: Path):
        lines = ListFiles(root=root, max_entries=2).run(recursive=True).splitlines()
        assert lines[2] == "[more than 2 entries; give a narrower path or pattern]"
        assert len(lines) == 3
