"""ReadFile, WriteFile and ListFiles: text files within one directory."""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from pydantic import Field, field_validator

from quarterdeck.errors import ToolError
from quarterdeck.tools.base import BaseTool, never_cache

_SNIFFED = 8192
"""Bytes of a file that are looked at to tell text from binary data."""


class FileTool(BaseTool):
    """A tool that works on the files within ``root``, and on no others.

    A path that leads out of the root, by ``..``, by being absolute or through a symbolic link, is refused. The check
    does not hold against another process that moves links about in the root at the same moment.

    Args:
        root: The directory; it must exist.
    """

    root: Path = Path()
    cache_function: Callable[..., bool] = never_cache

    @field_validator("root")
    @classmethod
    def _resolved(cls, root: Path) -> Path:
        if not root.is_dir():
            raise ValueError("must be a directory that exists")
        return root.resolve()

    def locate(self, path: str) -> Path:
        """The real path of a name given by a model.

        Raises:
            ToolError: It is not within the root.
        """
        try:
            found = (self.root / path).resolve()
        except (OSError, ValueError, RuntimeError) as error:  # too long, a NUL in it, links in a circle
            raise ToolError(f"{path[:200]!r} is not a usable path: {type(error).__name__}.") from error
        if not found.is_relative_to(self.root):
            raise ToolError(f"{path!r} is outside of the directory that may be used. Give a path relative to it.")
        return found

    def locate_file(self, path: str) -> Path:
        """The real path of a regular file that exists.

        Raises:
            ToolError: There is none at this path.
        """
        found = self.locate(path)
        if found.is_file():
            return found
        what = "is not a regular file" if found.exists() else "does not exist"
        raise ToolError(f"{path!r} {what}. List the directory to see what there is.")


class ReadFile(FileTool):
    """Reads text files (UTF-8) within ``root``.

    Args:
        root: The directory; it must exist.
        max_bytes: The most that one call reads.
    """

    name: str = "read_file"
    description: str = "Reads a text file, whole or some of its lines."
    max_bytes: int = Field(default=1_000_000, gt=0)

    def _run(self, path: str, start_line: int = 1, line_count: int | None = None) -> str:
        """Reads a file.

        Args:
            path: The file, relative to the directory.
            start_line: The first line, from 1.
            line_count: How many lines; all by default.
        """
        if start_line < 1 or (line_count is not None and line_count < 1):
            raise ToolError(f"start_line and line_count start at 1, got {start_line} and {line_count}.")
        found = self.locate_file(path)
        with found.open("rb") as file:
            if b"\0" in file.read(_SNIFFED):
                raise ToolError(f"{path!r} holds binary data, not text.")
            file.seek(0)
            data = b"".join(self._lines(file, path, start_line, line_count))
        try:
            return data.decode("utf-8-sig" if start_line == 1 else "utf-8")
        except UnicodeDecodeError:
            raise ToolError(f"{path!r} is not UTF-8 text.") from None

    def _lines(self, file: BinaryIO, path: str, start: int, count: int | None) -> Iterator[bytes]:
        total, number = 0, 0
        while line := file.readline(self.max_bytes + 1):
            if len(line) > self.max_bytes:
                raise ToolError(f"{path!r} has a line longer than {self.max_bytes:,} bytes; it cannot be read.")
            number += 1
            if number < start:
                continue
            if count is not None and number >= start + count:
                return
            total += len(line)
            if total > self.max_bytes:
                raise ToolError(
                    f"Line {number} of {path!r} is beyond the {self.max_bytes:,} bytes that one call reads. "
                    "Read fewer lines: give start_line and line_count."
                )
            yield line
        if number < start and start > 1:
            raise ToolError(f"{path!r} has {number} lines; there is no line {start}.")


class WriteFile(FileTool):
    """Writes text files (UTF-8) within ``root``.

    A file is written whole or not at all: a reader never sees half of it, and a crash leaves the old one. Writing the
    same text again changes nothing, so a call that was interrupted may be repeated.

    Args:
        root: The directory; it must exist.
        max_bytes: The most that one file may hold.
        overwrite: False refuses to change a file that exists.
    """

    name: str = "write_file"
    description: str = "Writes a text file; directories that it needs are made."
    max_bytes: int = Field(default=1_000_000, gt=0)
    overwrite: bool = True

    def _run(self, path: str, content: str) -> str:
        """Writes a file.

        Args:
            path: The file, relative to the directory.
            content: The whole text of the file.
        """
        data = content.encode()
        if len(data) > self.max_bytes:
            raise ToolError(f"The content has {len(data):,} bytes; the limit is {self.max_bytes:,}.")
        target = self.locate(path)
        if target.is_dir():
            raise ToolError(f"{path!r} is a directory.")
        if target.exists() and not target.is_file():
            raise ToolError(f"{path!r} is not a regular file.")
        target.parent.mkdir(parents=True, exist_ok=True)
        replaced = _write_whole(target, data, self.overwrite)
        if not replaced and target.read_bytes() != data:
            raise ToolError(f"{path!r} exists, and files that exist may not be changed. Choose another name.")
        return f"Wrote {len(data):,} bytes to {path}."


def _write_whole(target: Path, data: bytes, overwrite: bool) -> bool:
    """Puts a file in place in one step; False where there is one already that must stay."""
    draft = target.with_name(f".{target.name[:100]}.{secrets.token_hex(6)}.tmp")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if overwrite:
            with contextlib.suppress(FileNotFoundError):
                draft.chmod(target.stat().st_mode & 0o777)
            draft.replace(target)
        else:
            os.link(draft, target)  # unlike replace, it fails where the target exists
            draft.unlink()
    except FileExistsError:
        draft.unlink(missing_ok=True)
        return False
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    _sync_directory(target.parent)
    return True


def _sync_directory(directory: Path) -> None:
    """Makes the new name last through a power failure, where the system lets a directory be synced."""
    with contextlib.suppress(PermissionError):  # Windows does not open directories
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                raise
        finally:
            os.close(descriptor)


class ListFiles(FileTool):
    """Lists files within ``root``.

    Args:
        root: The directory; it must exist.
        max_entries: The most entries that one call lists.
    """

    name: str = "list_files"
    description: str = "Lists the files and directories in a directory, with their sizes in bytes."
    max_entries: int = Field(default=500, gt=0)

    def _run(self, path: str = ".", pattern: str = "*", recursive: bool = False) -> str:
        """Lists a directory.

        Args:
            path: The directory.
            pattern: Only names that fit, such as *.md.
            recursive: Also what is in its subdirectories.
        """
        start = self.locate(path)
        if not start.is_dir():
            raise ToolError(f"{path!r} is not a directory.")
        lines: list[str] = []
        for entry in self._entries(start, recursive):
            if not fnmatch.fnmatchcase(entry.name, pattern):
                continue
            if len(lines) == self.max_entries:
                lines.append(f"[more than {self.max_entries} entries; give a narrower path or pattern]")
                break
            lines.append(self._line(entry))
        return "\n".join(lines) or f"Nothing in {path!r} fits {pattern!r}."

    def _entries(self, directory: Path, recursive: bool) -> Iterator[os.DirEntry[str]]:
        with os.scandir(directory) as scan:
            entries = sorted(scan, key=lambda entry: entry.name)
        for entry in entries:
            yield entry
            if recursive and entry.is_dir(follow_symlinks=False):
                yield from self._entries(Path(entry.path), recursive)

    def _line(self, entry: os.DirEntry[str]) -> str:
        name = Path(entry.path).relative_to(self.root).as_posix()
        if entry.is_dir(follow_symlinks=False):
            return f"{name}/"
        if entry.is_symlink():
            return f"{name} (link)"
        return f"{name} ({entry.stat(follow_symlinks=False).st_size:,} bytes)"
