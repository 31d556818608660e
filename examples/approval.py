"""A person approves each payment, and the answer is shown while it is written. Needs OPENAI_API_KEY."""

from quarterdeck import Agent, Crew, Task
from quarterdeck.hooks import HookAborted, InterceptionPoint, ToolCallHookContext, on
from quarterdeck.tools import tool

LIMIT = 100


@tool(retry="never")
def pay(to: str, amount: int) -> str:
    """Pay somebody.

    Args:
        to: Who is paid.
        amount: In euros.
    """
    return f"{to} was paid {amount} EUR"


@on(InterceptionPoint.PRE_TOOL_CALL, tools=["pay"])
def approve(ctx: ToolCallHookContext) -> None:
    """Asks above the limit; below it, the payment is made."""
    amount = int(ctx.tool_input.get("amount", 0))
    if amount > LIMIT and ctx.request_human_input(f"Pay {amount} EUR?", "Type yes to pay:") != "yes":
        raise HookAborted(f"payments above {LIMIT} EUR need a person's yes")


clerk = Agent(role="Clerk", goal="Pay what is due", backstory="Careful.", tools=[pay])
task = Task(description="Pay {to} {amount} EUR.", expected_output="What was done, in a sentence", agent=clerk)
crew = Crew(tasks=[task], stream=True)

if __name__ == "__main__":
    stream = crew.kickoff({"to": "Ada", "amount": 80})
    for chunk in stream:
        print(chunk, end="", flush=True)
    print()
