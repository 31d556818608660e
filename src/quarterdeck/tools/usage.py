"""How often each tool was called in a run: the run owns one ``ToolUsage``."""

from __future__ import annotations

from quarterdeck.errors import ToolUsageLimitError
from quarterdeck.tools.base import BaseTool


class ToolUsage:
    """Counts the calls of each tool object in one run, and refuses those beyond ``max_usage_count``.

    A call counts when the tool is really called: arguments that do not fit and results from the cache do not.
    """

    def __init__(self) -> None:
        self._counts: dict[int, tuple[BaseTool, int]] = {}  # the tool is kept, so that its id stays its own

    def count(self, tool: BaseTool) -> int:
        """How often the tool was called in this run."""
        return self._counts.get(id(tool), (tool, 0))[1]

    def claim(self, tool: BaseTool) -> None:
        """Counts one call that is about to be made.

        Raises:
            ToolUsageLimitError: The tool has been called ``max_usage_count`` times.
        """
        used, limit = self.count(tool), tool.max_usage_count
        if limit is not None and used >= limit:
            times = "once" if limit == 1 else f"{limit} times"
            raise ToolUsageLimitError(f"This tool may be called {times} in a run, and has been. Go on without it.")
        self._counts[id(tool)] = (tool, used + 1)

    def replay(self, tool: BaseTool, *, reason: str | None = "", cached: bool = False) -> None:
        """Counts a call that the journal already has, when a run goes on after an interruption.

        Args:
            tool: The tool.
            reason: Why the call failed (``ToolFinished.reason``); "" or None where it did not.
            cached: The result came from the cache.
        """
        if not cached and reason not in ("invalid_input", "usage_limit", "unknown_tool"):
            self._counts[id(tool)] = (tool, self.count(tool) + 1)
