import asyncio

from crewai import Agent, Crew, Task
from crewai.hooks import after_tool_call, before_tool_call
from crewai.tools import BaseTool, tool
from pydantic import BaseModel, Field

from quarterdeck.testing import ScriptedLLM


class SearchInput(BaseModel):
    argument: str = Field(..., description="What to look for")


class SearchTool(BaseTool):
    name: str = "Search The Archive"
    description: str = "Searches"
    args_schema: type[BaseModel] = SearchInput

    def _run(self, argument: str) -> str:
        return f"found {argument}"


class SlowTool(BaseTool):
    name: str = "slow_tool"
    description: str = "Takes its time"

    async def _run(self, query: str = "") -> str:
        await asyncio.sleep(0)
        return f"slow {query}"


@tool("Fetch Data")
async def fetch(q: str) -> str:
    """Fetches data."""
    await asyncio.sleep(0)
    return f"fetched {q}"


made = []


@tool
def multiply(first: int, second: int) -> int:
    """Multiplies two numbers."""
    made.append((first, second))
    return first * second


multiply.cache_function = lambda args, result: result % 2 == 0


@tool
def delete_file(path: str) -> str:
    """Deletes a file."""
    raise AssertionError("it was blocked")


@before_tool_call
def block(context):
    return False if context.tool_name == "delete_file" else None


@after_tool_call
def shout(context):
    return context.tool_result.upper() if context.tool_name == "slow_tool" else None


def action(name, arguments):
    return f"Thought: I need it\nAction: {name}\nAction Input: {arguments}"


llm = ScriptedLLM(
    [
        action("Search The Archive", '{"argument": "x"}'),
        action("slow_tool", '{"query": "y"}'),
        action("Fetch Data", '{"q": "z"}'),
        action("multiply", '{"first": 2, "second": 3}'),
        action("multiply", '{"first": 1, "second": 1}'),
        action("multiply", '{"first": 2, "second": 3}'),
        action("multiply", '{"first": 1, "second": 1}'),
        action("delete_file", '{"path": "a"}'),
        "Thought: done\nFinal Answer: all used",
    ],
    tools=False,
)
steps = []
agent = Agent(
    role="r",
    goal="g",
    backstory="b",
    llm=llm,
    tools=[SearchTool(), SlowTool(), fetch, multiply, delete_file],
    step_callback=lambda step: steps.append(getattr(step, "result", step)),
)
result = Crew(agents=[agent], tasks=[Task(description="d", expected_output="e", agent=agent)], cache=True).kickoff()
print(result.raw, made)
print([step for step in steps if isinstance(step, str)][:7], len(steps))
print(SearchTool().run(argument="q"), multiply.run(first=2, second=4))
