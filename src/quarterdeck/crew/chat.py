"""A conversation with a person that collects a crew's inputs, runs it and talks about the result."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Unpack

from quarterdeck.agent import prompts
from quarterdeck.agent.agent import Agent
from quarterdeck.concurrency import run_sync
from quarterdeck.errors import InputError, RunError, ToolError
from quarterdeck.llm.types import Message
from quarterdeck.runtime.options import RunOptions
from quarterdeck.tools import BaseTool, tool

if TYPE_CHECKING:
    from quarterdeck.crew.crew import Crew

_CALLS = 8
"""Calls of the model that talks, for one answer: enough to correct wrong inputs a few times."""
_PLACEHOLDER = re.compile(r"\{([A-Za-z_][\w-]*)\}")


class Chat:
    """A conversation about one crew; it holds what has been said.

    Args:
        crew: The crew.
        llm: The model that talks; None takes the crew's ``chat_llm``, else that of its first task.
        options: Those of the crew's kickoffs, such as ``on_event`` or ``budget``.
    """

    def __init__(self, crew: Crew, llm: Any = None, **options: Unpack[RunOptions]) -> None:
        self._crew = crew
        self._options = options
        self._messages: list[Message] = []
        tasks = [_PLACEHOLDER.sub(r"<\1>", task.description) for task in crew.tasks]
        self._agent = Agent(
            role=prompts.CHAT_ROLE,
            goal=prompts.CHAT_GOAL,
            backstory=prompts.chat(tasks, self.inputs, crew.contract.required),
            llm=llm or crew.chat_llm or crew.first_llm,
            tools=[self._tool()],
            max_iter=_CALLS,
        )

    @property
    def inputs(self) -> dict[str, str]:
        """The crew's inputs and what they are, where that is said."""
        described: Mapping[str, Any] = self._crew.contract.schema.get("properties", {})
        return {name: str(field.get("description", "")) for name, field in described.items()}

    def say(self, text: str) -> str:
        """Says something and waits for the answer; for sync code. See ``asay``."""
        return run_sync(self.asay(text))

    async def asay(self, text: str) -> str:
        """Says something.

        Returns:
            The answer; the crew may have been run for it.

        Raises:
            LLMError: The model that talks failed.
        """
        output = await self._agent.akickoff([*self._messages, {"role": "user", "content": text}])
        self._messages = [message for message in output.messages if message["role"] != "system"]
        return output.raw

    def _tool(self) -> BaseTool:
        @tool("run_crew")
        async def run_crew(inputs: dict[str, Any]) -> str:
            """Does the work, and gives its result.

            Args:
                inputs: The inputs by their names.
            """
            try:
                output = await self._crew.akickoff(inputs, **{**self._options, "stream": False})
            except (InputError, RunError) as error:
                raise ToolError(str(error)) from error
            return output.raw if not output.partial else f"Not finished ({output.reason}). So far: {output.raw}"

        return run_crew
