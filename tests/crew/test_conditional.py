"""Conditional tasks: done or skipped by what the task before gave, and the same when the run goes on."""

from __future__ import annotations

from typing import Any

import pytest

from quarterdeck import ConditionalTask, Crew, TaskOutput
from quarterdeck.errors import ConfigError, TaskError
from quarterdeck.events import ConditionDecided, Event, TaskFinished
from quarterdeck.runtime.verbose import line
from quarterdeck.testing import after


def conditional(agent: Any, condition: Any, **fields: Any) -> ConditionalTask:
    return ConditionalTask(
        **({"description": "More.", "expected_output": "e", "agent": agent, "condition": condition} | fields)
    )


@pytest.mark.parametrize("met", [True, False])
def test_a_condition_sees_the_output_before_it(make_agent: Any, make_task: Any, met: bool) -> None:
    """Skipped: an empty output, no callback, nothing of it in later prompts, and the crew's result is another's."""
    seen: list[str] = []
    called: list[str] = []
    agent = make_agent(["two rows", *(["ten rows"] if met else []), "done"])

    async def few(output: TaskOutput) -> bool:
        seen.append(output.raw)
        return met

    events: list[Event] = []
    more = conditional(agent, few, name="more", callback=lambda output: called.append(output.raw))
    output = Crew(tasks=[make_task(agent), more, make_task(agent)]).kickoff(on_event=events.append)
    assert seen == ["two rows"]
    assert [task.raw for task in output.tasks_output] == ["two rows", "ten rows" if met else "", "done"]
    assert called == (["ten rows"] if met else [])
    assert (output.raw, output.status) == ("done", "completed")
    assert [(e.path, e.met) for e in events if isinstance(e, ConditionDecided)] == [("more/condition", met)]
    assert any("more: skipped" in (line(e) or "") for e in events) != met
    assert sum(isinstance(e, TaskFinished) for e in events) == 3
    last = agent.llm.requests[-1].messages[-1]["content"]
    assert ("----------" in last) == met
    agent.llm.assert_done()


def test_the_last_output_with_words_is_the_crews(make_agent: Any, make_task: Any) -> None:
    agent = make_agent(["all there is"])
    output = Crew(tasks=[make_task(agent), conditional(agent, lambda o: False)]).kickoff()
    assert output.raw == "all there is"
    second = conditional(agent, lambda o: o.raw != "")
    agent = make_agent(["x"])
    crew = Crew(tasks=[make_task(agent), conditional(agent, lambda o: False), second])
    assert [task.raw for task in crew.kickoff().tasks_output] == ["x", "", ""]  # it saw the skipped one


@pytest.mark.parametrize("met", [True, False])
def test_a_run_that_goes_on_decides_the_same(tmp_path: Any, make_agent: Any, make_task: Any, met: bool) -> None:
    """The condition is not asked again, whatever it would say now."""
    asked: list[bool] = []
    agent = make_agent(["a", RuntimeError("gone"), *(["b"] if met else []), "c"], max_retry_limit=0)

    def fickle(output: TaskOutput) -> bool:
        asked.append(met if not asked else not met)
        return asked[-1]

    crew = Crew(tasks=[make_task(agent), conditional(agent, fickle), make_task(agent)])
    run: dict[str, Any] = {"journal": tmp_path / "runs.db", "run_id": "r"}
    with pytest.raises(RuntimeError, match="gone"):
        crew.kickoff(**run)
    for _ in range(2):
        output = crew.kickoff(**run)
        assert [task.raw for task in output.tasks_output] == ["a", "b" if met else "", "c"]
    assert asked == [met]
    agent.llm.assert_done()


def test_an_async_task_before_it_is_waited_for(make_agent: Any, make_task: Any) -> None:
    """Also where the conditional task is given no context."""
    agent = make_agent([after(0.02, "slow"), "b"])
    seen: list[str] = []

    def look(output: TaskOutput) -> bool:
        seen.append(output.raw)
        return True

    Crew(tasks=[make_task(agent, async_execution=True), conditional(agent, look, context=[])]).kickoff()
    assert seen == ["slow"]


def test_async_tasks_may_depend_on_each_other(make_agent: Any, make_task: Any) -> None:
    """CrewAI refuses this; here the second one waits."""
    first = make_task(make_agent([after(0.02, "one")]), async_execution=True)
    agent = make_agent(["two"])
    second = make_task(agent, async_execution=True, context=[first])
    assert Crew(tasks=[first, second]).kickoff().raw == "two"
    assert "one" in agent.llm.requests[0].messages[-1]["content"]


def test_wrong_conditions_are_told(make_agent: Any, make_task: Any) -> None:
    agent = make_agent(["a"])
    with pytest.raises(ConfigError, match="first task is conditional"):
        Crew(tasks=[conditional(agent, lambda o: True), make_task(agent)])
    with pytest.raises(ConfigError, match="async_execution: a conditional task"):
        conditional(agent, lambda o: True, async_execution=True)
    with pytest.raises(ConfigError, match="condition"):
        conditional(agent, "yes")
    with pytest.raises(ConfigError, match="condition is missing"):
        ConditionalTask(description="d", expected_output="e", agent=agent)  # pyright: ignore[reportCallIssue]
    with pytest.raises(TaskError, match="condition must return True or False, it returned 'yes'"):
        Crew(tasks=[make_task(agent), conditional(agent, lambda o: "yes")]).kickoff()
