"""``crew.test``: several runs, each task's output scored by a model that judges."""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Unpack

from pydantic import BaseModel, Field

from quarterdeck.agent import prompts
from quarterdeck.agent.question import ask_model, asking
from quarterdeck.concurrency import finish_all
from quarterdeck.errors import ConfigError, JournalError, RunError
from quarterdeck.events import RunStatus
from quarterdeck.llm import BaseLLM, create_llm
from quarterdeck.llm.types import UsageMetrics
from quarterdeck.runtime.options import RunOptions
from quarterdeck.runtime.run import Run
from quarterdeck.task.output import TaskOutput

if TYPE_CHECKING:
    from quarterdeck.crew.crew import Crew


class Verdict(BaseModel):
    """What the judge says of an output. The reason comes first: it is thought before it is scored."""

    reason: str = Field(description="One sentence: what is good, and what is missing")
    score: int = Field(ge=1, le=10)


class TaskScore(BaseModel):
    """A task's score in one run.

    Args:
        task: The task's name.
        score: From 1 to 10.
        reason: Why.
    """

    task: str
    score: int
    reason: str


class EvaluatedRun(BaseModel):
    """One of the runs.

    Args:
        number: From 1.
        run_id: Its id.
        status: How it ended; ``failed`` with an ``error``.
        scores: Those of its finished tasks.
        tokens: Tokens of the run, without the judge's.
        cost_usd: Its cost; None where a price is not known.
        seconds: How long it took.
        error: What failed.
    """

    number: int
    run_id: str
    status: RunStatus = "failed"
    scores: list[TaskScore] = Field(default_factory=list[TaskScore])
    tokens: int = 0
    cost_usd: float | None = None
    seconds: float = 0.0
    error: str = ""

    @property
    def score(self) -> float | None:
        """The mean of its tasks' scores; None where none was finished."""
        return _mean([item.score for item in self.scores])


class TaskRow(BaseModel):
    """One task over all runs.

    Args:
        task: Its name.
        scores: Its score in each run; None where it was not finished.
        mean: The mean of the scores.
        spread: Their standard deviation; None with fewer than two.
    """

    task: str
    scores: list[int | None]
    mean: float | None
    spread: float | None


class Evaluation(BaseModel):
    """What ``crew.test`` gives.

    Args:
        runs: The runs.
        tasks: The tasks' names, in order.
        judge: The model that judged.
        judge_usage: Its tokens and calls.
        judge_cost_usd: Their cost; None where the price is not known.
    """

    runs: list[EvaluatedRun]
    tasks: list[str]
    judge: str
    judge_usage: UsageMetrics
    judge_cost_usd: float | None

    @property
    def rows(self) -> list[TaskRow]:
        """A row for each task."""
        return [self._row(task) for task in self.tasks]

    def _row(self, task: str) -> TaskRow:
        scores = [next((item.score for item in run.scores if item.task == task), None) for run in self.runs]
        known = [score for score in scores if score is not None]
        return TaskRow(task=task, scores=scores, mean=_mean(known), spread=_spread(known))

    @property
    def score(self) -> float | None:
        """The mean of the runs' scores; None where no task was finished."""
        return _mean([run.score for run in self.runs if run.score is not None])

    @property
    def spread(self) -> float | None:
        """The standard deviation of the runs' scores; None with fewer than two."""
        return _spread([run.score for run in self.runs if run.score is not None])

    @property
    def failed(self) -> list[EvaluatedRun]:
        """The runs that did not complete."""
        return [run for run in self.runs if run.status != "completed"]

    @property
    def seconds(self) -> float | None:
        """The mean time of a run in seconds."""
        return _mean([run.seconds for run in self.runs])

    @property
    def tokens(self) -> int:
        """Tokens of all runs, without the judge's."""
        return sum(run.tokens for run in self.runs)

    @property
    def cost_usd(self) -> float | None:
        """Cost of all runs, without the judge's; None where a price is not known."""
        return _sum([run.cost_usd for run in self.runs])

    def __str__(self) -> str:
        head = ["task", *(f"run {run.number}" for run in self.runs), "mean", "spread"]
        lines = [head]
        lines += [[row.task, *map(shown, row.scores), shown(row.mean), shown(row.spread)] for row in self.rows]
        lines.append(["all", *(shown(run.score) for run in self.runs), shown(self.score), shown(self.spread)])
        widths = [max(len(line[n]) for line in lines) for n in range(len(head))]
        return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def shown(value: float | None) -> str:
    """A score as a table shows it."""
    return "-" if value is None else str(value) if isinstance(value, int) else f"{value:.1f}"


async def evaluate(
    crew: Crew,
    n_iterations: int,
    eval_llm: Any,
    inputs: Mapping[str, Any] | None,
    criteria: str | Mapping[str, str] | None,
    **options: Unpack[RunOptions],
) -> Evaluation:
    """Runs a crew several times and has its outputs scored: see ``Crew.test``."""
    check_iterations(n_iterations)
    wanted = _by_task(crew, criteria)
    judge = create_llm(crew.first_llm if eval_llm is None else eval_llm)
    test_id = options.get("run_id") or str(uuid.uuid4())
    runs: list[EvaluatedRun] = []
    usage, costs = UsageMetrics(), list[float | None]()
    for number in range(1, n_iterations + 1):
        evaluated, outputs = await _run(crew, number, inputs, {**options, "run_id": f"{test_id}/{number}"})
        if outputs:
            given = {"outputs": [output.raw for output in outputs], "criteria": wanted}
            async with asking("judge", given, **{**options, "run_id": f"{test_id}/{number}/judge"}) as judging:
                evaluated.scores = await _scored(judging, judge, outputs, wanted)
            usage.add_usage_metrics(judging.usage)
            costs.append(judging.cost_usd)
        runs.append(evaluated)
    return Evaluation(runs=runs, tasks=crew.steps, judge=judge.model, judge_usage=usage, judge_cost_usd=_sum(costs))


async def _run(
    crew: Crew, number: int, inputs: Mapping[str, Any] | None, options: RunOptions
) -> tuple[EvaluatedRun, Sequence[TaskOutput]]:
    done = EvaluatedRun(number=number, run_id=str(options.get("run_id")))
    started = time.perf_counter()
    try:
        output = await crew.akickoff(inputs, **{**options, "stream": False})
    except JournalError:
        raise
    except RunError as error:
        done.error, done.seconds = f"{type(error).__name__}: {error}", time.perf_counter() - started
        return done, ()
    done.status = "completed" if output.status == "completed_with_issues" else output.status
    done.error, done.seconds = output.reason, time.perf_counter() - started
    done.tokens, done.cost_usd = output.token_usage.total_tokens, output.cost_usd
    return done, output.tasks_output


async def _scored(
    run: Run, judge: BaseLLM, outputs: Sequence[TaskOutput], wanted: Mapping[str, str]
) -> list[TaskScore]:
    async def score(output: TaskOutput) -> TaskScore:
        name = str(output.name)
        text = prompts.judge(output.description, wanted.get(name) or output.expected_output or "good work", output.raw)
        verdict = await ask_model(run, f"judge/{name}", judge, prompts.JUDGE, text, Verdict, role="Judge")
        return TaskScore(task=name, score=verdict.score, reason=verdict.reason)

    return await finish_all([score(output) for output in outputs])


def check_iterations(number: Any) -> None:
    """Checks a number of runs.

    Raises:
        ConfigError: It is none.
    """
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise ConfigError(f"n_iterations must be a number of runs, 1 or more; got {number!r}")


def _by_task(crew: Crew, criteria: str | Mapping[str, str] | None) -> dict[str, str]:
    """The criteria of each task that has any."""
    if criteria is None:
        return {}
    if isinstance(criteria, str):
        return dict.fromkeys(crew.steps, criteria)
    unknown = criteria.keys() - set(crew.steps)
    if unknown:
        raise ConfigError(f"criteria has {sorted(unknown)[0]!r}, which is no task; there are {', '.join(crew.steps)}")
    return dict(criteria)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _spread(values: Sequence[float]) -> float | None:
    mean = _mean(values)
    if mean is None or len(values) < 2:
        return None
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
