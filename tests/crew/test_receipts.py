"""Receipts: which tools ran with what outcome, failures that nobody made up for, and the three policies."""

from __future__ import annotations

from typing import Any

import pytest

from quarterdeck import Crew
from quarterdeck.concurrency import run_sync
from quarterdeck.errors import ConfigError, ToolExecutionFailedError
from quarterdeck.events import Event, RunFinished, ToolFinished
from quarterdeck.flow import Flow, start
from quarterdeck.testing import call
from quarterdeck.tools import BaseTool, ToolFailure, tool

DOWN = ToolFailure("the gauge is down", code="E7", details={"since": "monday"})


def gauge(*results: Any, **fields: Any) -> BaseTool:
    """A tool that gives these results, one a call: exceptions are raised."""
    given = list(results)

    @tool("gauge", **fields)
    def gauge(harbour: str) -> Any:
        """The depth of a harbour."""
        result = given.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    return gauge


def sound(harbour: str = "Oslo") -> Any:
    return call("gauge", harbour=harbour)


def test_what_ran_is_listed(make_agent: Any, make_task: Any) -> None:
    """By task, in order, also where a call failed and a later one of the same tool made up for it."""
    agent = make_agent([sound(), sound(), "14 m"], tools=[gauge(DOWN, "14 m")])
    other = make_agent([call("nothing"), call("gauge", harbour="Bergen"), "done"], tools=[gauge("9 m")])
    output = Crew(tasks=[make_task(agent, name="survey"), make_task(other, name="report")]).kickoff()
    assert output.status == "completed"
    assert (output.issues, output.partial) == ([], False)
    rows = [(r.task, r.agent, r.tool, r.ok, r.reason, r.handled, r.path) for r in output.tool_receipts]
    assert rows[:2] == [
        ("survey", "Pilot", "gauge", False, "tool_reported", True, "survey/1/tool/1"),
        ("survey", "Pilot", "gauge", True, "", True, "survey/1/tool/2"),
    ]
    assert {row[2:6] for row in rows[2:]} >= {("gauge", True, "", True)}
    assert output.tool_receipts[0].message == "the gauge is down (code: E7)"
    assert output.has_tool_failures
    assert {(f.task, f.tool) for f in output.tool_failures} == {("survey", "gauge"), ("report", "nothing")}
    first, second = output.tasks_output
    assert [r.path for r in first.tool_receipts] == ["survey/1/tool/1", "survey/1/tool/2"]
    assert [f.tool for f in second.tool_failures] == ["nothing"]
    assert (first.has_tool_failures, second.has_tool_failures) == (True, True)
    assert all(r.seconds >= 0 for r in output.tool_receipts)


@pytest.mark.parametrize(
    ("answers", "results", "reason"),
    [
        ([sound(), "x"], [DOWN], "tool_reported"),
        ([sound(), "x"], [OSError("no line")], "exception"),
        ([sound(), sound(), "x"], ["14 m", DOWN], "tool_reported"),  # the last call counts
        ([call("gauge", port="Oslo"), "x"], [], "invalid_input"),
        ([call("nothing"), "x"], [], "unknown_tool"),
    ],
)
def test_a_failure_that_nobody_made_up_for_is_an_issue(
    make_agent: Any, make_task: Any, answers: list[Any], results: list[Any], reason: str
) -> None:
    """The output says so; the run itself is completed, and so its state stays what clients know."""
    events: list[Event] = []
    agent = make_agent(answers, tools=[gauge(*results)])
    output = Crew(tasks=[make_task(agent, name="survey")]).kickoff(on_event=events.append)
    assert (output.status, output.partial, output.raw) == ("completed_with_issues", False, "x")
    assert len(output.issues) == 1
    assert f"failed ({reason})" in output.issues[0]
    assert output.issues[0].startswith("survey: ")
    end = events[-1]
    assert isinstance(end, RunFinished)
    assert (end.status, end.issues) == ("completed", output.issues)


def test_success_in_another_task_makes_up_for_nothing(make_agent: Any, make_task: Any) -> None:
    agent = make_agent([sound(), "a", sound(), "b"], tools=[gauge(DOWN, "14 m")])
    output = Crew(tasks=[make_task(agent, name="first"), make_task(agent, name="second")]).kickoff()
    assert [issue.partition(":")[0] for issue in output.issues] == ["first"]


def test_limits_are_no_issue(make_agent: Any, make_task: Any) -> None:
    """A call beyond ``max_usage_count`` is refused, as was asked for."""
    agent = make_agent([sound(), sound(), "x"], tools=[gauge("14 m", max_usage_count=1)])
    output = Crew(tasks=[make_task(agent)]).kickoff()
    assert (output.status, [f.reason for f in output.tool_failures]) == ("completed", ["usage_limit"])


POLICIES = [
    ({}, {}, {}, {}, "warn"),
    ({}, {}, {}, {"tool_failure_policy": "raise"}, "raise"),
    ({}, {}, {"tool_failure_policy": "ignore"}, {"tool_failure_policy": "raise"}, "ignore"),
    ({}, {"tool_failure_policy": "raise"}, {"tool_failure_policy": "ignore"}, {}, "raise"),
    ({"tool_failure_policy": "ignore"}, {"tool_failure_policy": "raise"}, {}, {}, "ignore"),
    ({"tool_failure_policy": "warn"}, {"tool_failure_policy": "raise"}, {}, {"tool_failure_policy": "ignore"}, "warn"),
]


@pytest.mark.parametrize(("of_tool", "of_task", "of_agent", "of_crew", "expected"), POLICIES)
def test_the_policy_is_the_tools_the_tasks_the_agents_the_crews(
    make_agent: Any, make_task: Any, of_tool: Any, of_task: Any, of_agent: Any, of_crew: Any, expected: str
) -> None:
    agent = make_agent([sound(), "x"], tools=[gauge(DOWN, **of_tool)], **of_agent)
    crew = Crew(tasks=[make_task(agent, **of_task)], **of_crew)
    if expected == "raise":
        with pytest.raises(
            ToolExecutionFailedError, match=r"Pilot: the tool 'gauge' failed \(tool_reported\).*E7"
        ) as e:
            crew.kickoff()
        assert (e.value.tool, e.value.reason, e.value.path) == ("gauge", "tool_reported", "task_1/1/tool/1")
        assert len(agent.llm.requests) == 1
        return
    output = crew.kickoff()
    assert output.status == ("completed" if expected == "ignore" else "completed_with_issues")
    assert output.has_tool_failures == (expected == "warn")
    assert [r.ok for r in output.tool_receipts] == [False]


def test_what_the_model_got_wrong_does_not_raise(make_agent: Any, make_task: Any) -> None:
    """It is told, and may do better."""
    answers = [call("nothing"), call("gauge", port=1), sound(), "14 m"]
    agent = make_agent(answers, tools=[gauge("14 m")], tool_failure_policy="raise")
    output = Crew(tasks=[make_task(agent)]).kickoff()
    assert (output.status, output.raw, len(output.tool_failures)) == ("completed", "14 m", 2)


def test_receipts_are_read_from_the_journal(tmp_path: Any, make_agent: Any, make_task: Any) -> None:
    """A run that goes on, and one that is asked for again, have the same ones; the task's event has no copy."""
    agent = make_agent([sound(), "a", RuntimeError("gone"), "b"], tools=[gauge(DOWN)], max_retry_limit=0)
    crew = Crew(tasks=[make_task(agent, name="survey"), make_task(agent)])
    run: dict[str, Any] = {"journal": tmp_path / "runs.db", "run_id": "r"}
    with pytest.raises(RuntimeError, match="gone"):
        crew.kickoff(**run)
    first = crew.kickoff(**run)
    again = crew.kickoff(**run)
    assert first.status == again.status == "completed_with_issues"
    assert first.tool_receipts == again.tool_receipts
    assert first.tasks_output[0].tool_receipts == again.tasks_output[0].tool_receipts == first.tool_receipts
    assert again.issues == first.issues != []


def test_a_call_that_ended_the_run_is_made_again(tmp_path: Any, make_agent: Any, make_task: Any) -> None:
    """With ``raise``, the run can go on when the fault is gone."""
    events: list[Event] = []
    agent = make_agent([sound(), "14 m"], tools=[gauge(DOWN, "14 m")])
    crew = Crew(tasks=[make_task(agent)], tool_failure_policy="raise")
    run: dict[str, Any] = {"journal": tmp_path / "runs.db", "run_id": "r", "on_event": events.append}
    with pytest.raises(ToolExecutionFailedError):
        crew.kickoff(**run)
    output = crew.kickoff(**run)
    assert (output.status, output.raw) == ("completed", "14 m")
    assert [(r.ok, r.path) for r in output.tool_receipts] == [(True, "task_1/1/tool/1")]
    assert [e.ok for e in events if isinstance(e, ToolFinished)] == [False, True]
    agent.llm.assert_done()


def test_an_agent_alone_has_receipts(make_agent: Any) -> None:
    output = make_agent([sound(), "x"], tools=[gauge(DOWN)]).kickoff("How deep?")
    assert (output.status, [r.path for r in output.tool_failures]) == ("completed_with_issues", ["agent/1/tool/1"])
    assert len(output.issues) == 1
    with pytest.raises(ToolExecutionFailedError):
        make_agent([sound(), "x"], tools=[gauge(DOWN)], tool_failure_policy="raise").kickoff("How deep?")


@pytest.mark.parametrize("kind", ["agent", "task", "crew"])
def test_a_wrong_policy_is_told(make_agent: Any, make_task: Any, kind: str) -> None:
    made: dict[str, Any] = {
        "agent": lambda **fields: make_agent(["x"], **fields),
        "task": lambda **fields: make_task(make_agent(["x"]), **fields),
        "crew": lambda **fields: Crew(tasks=[make_task(make_agent(["x"]))], **fields),
    }
    with pytest.raises(ConfigError, match=r"tool_failure_policy: input should be 'ignore', 'warn' or 'raise', got"):
        made[kind](tool_failure_policy="shrug")


def test_a_flow_has_those_of_its_crews_and_agents(make_agent: Any, make_task: Any) -> None:
    """The method is the task; the path is that in the flow's run."""

    class Harbour(Flow[dict[str, Any]]):
        @start()
        def measure(self) -> str:
            agent = make_agent([sound(), "x"], tools=[gauge(DOWN)])
            inner = Crew(name="sounding", tasks=[make_task(agent, name="survey")]).kickoff()
            assert [r.task for r in inner.tool_receipts] == ["survey"]
            assert inner.tasks_output[0].has_tool_failures
            return inner.status

    events: list[Event] = []
    flow = Harbour()
    output = run_sync(flow.akickoff(on_event=events.append, stream=False))
    assert output == "completed_with_issues"
    end = events[-1]
    assert isinstance(end, RunFinished)
    assert end.status == "completed"
    assert end.issues == [
        "measure: gauge failed (tool_reported): the gauge is down (code: E7) [measure/1/sounding/1/survey/1/tool/1]"
    ]


async def test_a_task_alone_tells_of_its_issues(make_agent: Any, make_task: Any) -> None:
    events: list[Event] = []
    agent = make_agent([sound(), "x"], tools=[gauge(DOWN)])
    output = await make_task(agent, name="survey").aexecute_sync(on_event=events.append)
    assert [f.path for f in output.tool_failures] == ["survey/1/tool/1"]
    end = events[-1]
    assert isinstance(end, RunFinished)
    assert len(end.issues) == 1


def test_a_call_that_must_not_be_repeated_asks_first(tmp_path: Any, make_agent: Any, make_task: Any) -> None:
    """It failed and ended the run, and it may have happened all the same."""
    agent = make_agent([sound(), "14 m"], tools=[gauge(DOWN, retry="never")])
    crew = Crew(tasks=[make_task(agent)], tool_failure_policy="raise")
    run: dict[str, Any] = {"journal": tmp_path / "runs.db", "run_id": "r"}
    with pytest.raises(ToolExecutionFailedError):
        crew.kickoff(**run)
    doubt = crew.kickoff(**run)
    assert (doubt.status, doubt.ended_by) == ("in_doubt", "task_1/1/tool/1")
    output = crew.kickoff(**run, resolve={doubt.ended_by: "14 m"})
    assert (output.status, output.raw, [r.ok for r in output.tool_receipts]) == ("completed", "14 m", [True])
