"""What the tests of tools share: a call as a run makes it."""

from __future__ import annotations

from typing import Any

import pytest

from quarterdeck.tools.base import BaseTool
from quarterdeck.tools.call import call_tool
from quarterdeck.tools.context import StepContext
from quarterdeck.tools.result import ToolResult

STEP = StepContext(run_id="run", path="task/1/tool/1", step_key="run:task/1/tool/1")


async def make_call(tool: BaseTool, arguments: Any = "", **owned: Any) -> ToolResult:
    return await call_tool(tool, arguments, step=STEP, **owned)


@pytest.fixture(scope="session")
def call() -> Any:
    return make_call
