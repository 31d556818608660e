"""A hook that asks a person, on a server: the run waits, and goes on with the answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from quarterdeck import Task, hooks
from quarterdeck.hooks import HookAborted, InterceptionPoint, ToolCallHookContext, on
from quarterdeck.runtime.human import HumanAnswer
from quarterdeck.testing import call
from quarterdeck.tools import tool


@pytest.fixture(autouse=True)
def no_hooks() -> Iterator[None]:
    hooks.clear_all_hooks()
    yield
    hooks.clear_all_hooks()


@pytest.mark.parametrize(("said", "made"), [("yes", [5]), ("no", [])])
async def test_a_hook_asks_a_person(place: Any, model: Any, agent: Any, said: str, made: list[int]) -> None:
    paid: list[int] = []

    @tool
    def pay(amount: int) -> str:
        """Pay."""
        paid.append(amount)
        return "paid"

    @on(InterceptionPoint.PRE_TOOL_CALL, tools=["pay"])
    def approve(ctx: ToolCallHookContext) -> None:
        if ctx.request_human_input(f"Pay {ctx.tool_input['amount']}?", "yes or no") != "yes":
            raise HookAborted("refused")

    server = model(lambda request: "done" if len(request.messages) > 3 else call("pay", amount=5))
    place.serve(Task(name="pay", description="pay", expected_output="e", agent=agent(server, tools=[pay])))
    run_id = await place.kickoff()
    place.start()
    await place.reaches(run_id, "pending_human_input")
    question = (await place.store.questions(run_id))[0]
    assert (question.task, question.output, question.question) == ("pay", "Pay 5?", "yes or no")
    assert paid == []
    await place.store.answer(run_id, "pay", HumanAnswer(True, said))
    await place.reaches(run_id, "completed")
    assert paid == made
