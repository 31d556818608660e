"""Results that are too long for a conversation: cut for the model, whole for who asks for more."""

from __future__ import annotations

from pydantic import PrivateAttr

from quarterdeck.errors import ToolError
from quarterdeck.tools.base import MAX_RESULT_CHARS, BaseTool

READ_RESULT = "read_result"
"""The name of the tool that reads on."""

_HEAD_SHARE = 0.75


class ResultStore:
    """The long results of one run; the run owns it.

    It keeps nothing that the journal does not have: a handle is the path of the step that gave the result, so a run
    that goes on fills the store again by giving ``cut`` the output of each finished step.
    """

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._tool: BaseTool | None = None  # made when it is first needed: few runs need it

    def __bool__(self) -> bool:
        """True where something was cut: the agent then needs ``tool()``."""
        return bool(self._texts)

    def cut(self, path: str, text: str, limit: int | None = MAX_RESULT_CHARS) -> str:
        """The text as the model is told it: whole, or head and tail around a line that says how to read the rest.

        The same path, text and limit always give the same cut.

        Args:
            path: The path of the step that gave the text, such as ``research/1/tool/3``; it is the handle.
            text: The whole text.
            limit: The most characters that are shown; None: no limit.
        """
        if limit is None or len(text) <= limit:
            return text
        self._texts[path] = text
        head = int(limit * _HEAD_SHARE)
        tail = limit - head
        return (
            f"{text[:head]}\n[... {len(text) - limit:,} of {len(text):,} characters are left out here; to read on: "
            f'{READ_RESULT}(handle="{path}", offset={head}) ...]\n{text[len(text) - tail :]}'
        )

    def read(self, handle: str, offset: int = 0, limit: int = MAX_RESULT_CHARS) -> str:
        """A part of a text that was cut, with a line that says where it is.

        Raises:
            ToolError: There is no such handle, or the text ends before ``offset``.
        """
        text = self._texts.get(handle)
        if text is None:
            known = ", ".join(self._texts) or "none"
            raise ToolError(f"There is no result with the handle {handle!r}; known handles: {known}.")
        if not 0 <= offset < len(text):
            raise ToolError(f"offset must be from 0 to {len(text) - 1}, got {offset}.")
        end = min(len(text), offset + max(1, min(limit, MAX_RESULT_CHARS)))
        rest = f"next offset {end}" if end < len(text) else "the end"
        return f"{text[offset:end]}\n[characters {offset:,} to {end:,} of {len(text):,}; {rest}]"

    def tool(self) -> BaseTool:
        """The tool ``read_result`` of this store; always the same object."""
        if self._tool is None:
            self._tool = ReadResult(self)
        return self._tool


class ReadResult(BaseTool):
    """Reads on in the results that a ``ResultStore`` has cut."""

    _store: ResultStore = PrivateAttr()

    name: str = READ_RESULT
    description: str = "Reads a part of an earlier tool result that was too long to show whole."
    max_result_chars: int | None = None

    def __init__(self, store: ResultStore) -> None:
        super().__init__()
        self._store = store

    async def _arun(self, handle: str, offset: int = 0, limit: int = MAX_RESULT_CHARS) -> str:
        """Reads on.

        Args:
            handle: The handle that the cut result names.
            offset: The first character.
            limit: How many characters, at most 8,000.
        """
        return self._store.read(handle, offset, limit)
