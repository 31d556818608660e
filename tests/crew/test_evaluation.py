"""``crew.test``: runs scored by a judge."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from quarterdeck import Agent, Crew, Task
from quarterdeck.cli import app
from quarterdeck.errors import ConfigError, OutputFormatError, ProviderDownError
from quarterdeck.testing import LoopbackServer, ScriptedLLM


def verdict(score: int, reason: str = "fine") -> str:
    return json.dumps({"reason": reason, "score": score})


def crew_of(answers: list[Any], **fields: Any) -> Crew:
    agent = Agent(role="Writer", goal="Write", llm=ScriptedLLM(answers, max_retries=0, price=(1.0, 1.0)))
    tasks = [
        Task(name="facts", description="Facts about {topic}.", expected_output="Three facts", agent=agent),
        Task(name="report", description="Report.", expected_output="A page", agent=agent),
    ]
    return Crew(tasks=tasks, **fields)


def test_scores_means_and_spreads() -> None:
    """Each task of each run is scored by its expected output; tokens, cost and time are the runs' own."""
    crew = crew_of(["f1", "r1", "f2", "r2"])
    by = {"f1": 8, "r1": 6, "f2": 4, "r2": 6}

    def judge(request: Any) -> str:
        text = str(request.messages[-1]["content"])
        return verdict(next(score for output, score in by.items() if f"<output>\n{output}\n" in text))

    judging = ScriptedLLM(by=judge, price=(2.0, 2.0))
    result = crew.test(2, judging, {"topic": "tides"})
    assert [(row.task, row.scores, row.mean) for row in result.rows] == [("facts", [8, 4], 6), ("report", [6, 6], 6)]
    assert result.rows[0].spread == pytest.approx(2.828, abs=0.001)
    assert result.rows[1].spread == 0
    assert [run.score for run in result.runs] == [7, 5]
    assert result.score == 6
    assert result.tokens == sum(run.tokens for run in result.runs) > 0
    assert result.cost_usd == pytest.approx(result.tokens / 1e6)
    assert result.judge_cost_usd == pytest.approx(2 * result.judge_usage.total_tokens / 1e6)
    assert result.judge_usage.successful_requests == 4
    assert result.failed == []
    asked = [str(request.messages[-1]["content"]) for request in judging.requests]
    assert any("Facts about tides." in text and "Criteria: Three facts" in text for text in asked)
    assert str(result).splitlines() == [
        "task    run 1  run 2  mean  spread",
        "facts   8      4      6.0   2.8",
        "report  6      6      6.0   0.0",
        "all     7.0    5.0    6.0   1.4",
    ]


@pytest.mark.parametrize(
    ("criteria", "facts", "report"), [("Short.", "Short.", "Short."), ({"report": "x"}, "Three", "x")]
)
def test_criteria(criteria: Any, facts: str, report: str) -> None:
    """For all tasks, or by name; the others keep their expected output."""
    judge = ScriptedLLM([verdict(5), verdict(5)])
    crew_of(["a", "b"]).test(1, judge, {"topic": "x"}, criteria)
    texts = sorted(str(request.messages[-1]["content"]) for request in judge.requests)
    assert f"Criteria: {facts}" in texts[0]
    assert f"Criteria: {report}" in texts[1]


def test_by_default_the_crews_own_model_judges() -> None:
    """That of who does the first task: what runs can be tested, with no other model set up."""
    crew = crew_of(["a", "b", verdict(6), verdict(8)])
    assert crew.test(1, inputs={"topic": "x"}).score == 7


def test_a_run_that_fails_is_in_the_table() -> None:
    """It has no scores, and does not count in the means."""
    crew = crew_of([ProviderDownError("down"), "f", "r"])
    result = crew.test(2, ScriptedLLM([verdict(9), verdict(7)]), {"topic": "x"})
    assert [run.status for run in result.runs] == ["failed", "completed"]
    assert "down" in result.runs[0].error
    assert result.rows[0].scores[0] is None
    assert result.score == 8
    assert result.failed == result.runs[:1]


def test_a_verdict_that_does_not_fit_is_repaired() -> None:
    """Once; a judge that never gives one is an error."""
    judge = ScriptedLLM([verdict(11), verdict(10), verdict(9)])
    assert crew_of(["f", "r"]).test(1, judge, {"topic": "x"}).runs[0].score == 9.5
    with pytest.raises(OutputFormatError):
        crew_of(["f", "r"]).test(1, ScriptedLLM(by=lambda request: "good!"), {"topic": "x"})


def test_an_interrupted_test_goes_on(tmp_path: Path) -> None:
    """With a journal, no finished call is made again, of the crew's or of the judge's."""
    options: Any = {"journal": str(tmp_path / "j.db"), "run_id": "t"}
    crew = crew_of(["f1", "r1"])
    with pytest.raises(AssertionError):  # the script ends in the second run
        crew.test(2, ScriptedLLM(by=lambda request: verdict(8)), {"topic": "x"}, **options)
    crew.tasks[0].agent.llm = crew.tasks[1].agent.llm = ScriptedLLM(["f2", "r2"])  # type: ignore[union-attr]
    judge = ScriptedLLM([verdict(4), verdict(4)])
    result = crew.test(2, judge, {"topic": "x"}, **options)
    assert [run.score for run in result.runs] == [8, 4]


def test_what_is_wrong() -> None:
    crew = crew_of([])
    with pytest.raises(ConfigError, match="n_iterations must be a number of runs, 1 or more; got 0"):
        crew.test(0)
    with pytest.raises(ConfigError, match="criteria has 'rprt', which is no task; there are facts, report"):
        crew.test(1, ScriptedLLM([]), {}, {"rprt": "x"})


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of scores; JSON; a lowest score for use in CI."""
    (tmp_path / "crew.yaml").write_text(
        "agents:\n  a: {role: Writer, goal: Write, llm: openai/gpt-4o-mini}\n"
        "tasks:\n  facts: {description: 'Facts.', expected_output: Facts, agent: a}\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setenv("QUARTERDECK_MODEL", "openai/gpt-4o-mini")

    def answer(request: Any) -> str:
        return verdict(6, "too short") if "Criteria" in str(request.messages) else "a fact"

    with LoopbackServer(by=answer) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        run: Callable[..., Any] = lambda *more: CliRunner().invoke(app, ["test", "-n", "2", *more])  # noqa: E731
        shown = run()
        assert shown.exit_code == 0, shown.output
        assert "run 2" in shown.stdout
        assert "6.0" in shown.stdout
        assert "run 1, facts, 6: too short" in shown.stdout
        assert run("--min-score", "6.5").exit_code == 1
        data = json.loads(run("--json", "--criteria", "x").stdout)
        assert [item["scores"][0]["score"] for item in data["runs"]] == [6, 6]
