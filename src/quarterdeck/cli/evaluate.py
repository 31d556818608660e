"""``quarterdeck test``, ``quarterdeck train`` and ``quarterdeck chat``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quarterdeck.cli.run import CrewName, InputPairs, InputsFile, Model, Target, ask_missing, load, read_inputs
from quarterdeck.errors import ConfigError

if TYPE_CHECKING:
    from quarterdeck.crew import Crew
    from quarterdeck.crew.evaluation import Evaluation

ShortModel = Annotated[str | None, typer.Option("-m", "--model", help="A model for all agents.")]
Times = Annotated[int, typer.Option("-n", "--n-iterations", min=1, help="How many runs.")]
Journal = Annotated[str | None, typer.Option(help="A SQLite file or postgresql:// URL that keeps the runs.")]
RunId = Annotated[str | None, typer.Option(help="The id; one that is in the journal goes on.")]


def score(
    target: Target = ".",
    n_iterations: Times = 3,
    model: ShortModel = None,
    judge: Annotated[
        str | None, typer.Option(help="The model that judges; by default --model's, or that of the first task.")
    ] = None,
    criteria: Annotated[str | None, typer.Option(help="What is judged by, instead of each expected output.")] = None,
    crew: CrewName = None,
    pairs: InputPairs = None,
    inputs: InputsFile = None,
    journal: Journal = None,
    run_id: RunId = None,
    min_score: Annotated[float | None, typer.Option(help="Exit with 1 where the mean score is lower.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Everything, as JSON.")] = False,
) -> None:
    """Runs a crew several times and has a model score each task's output from 1 to 10."""
    from quarterdeck.runtime.verbose import shown

    found = _crew(target, crew, model)
    given = ask_missing(found.contract, read_inputs(pairs or [], inputs))
    options: dict[str, Any] = {"journal": journal, "run_id": run_id}
    with shown() as on_event:
        options["on_event"] = None if json else on_event
        result = found.test(n_iterations, judge or model, given, criteria, **options)
    if json:
        print(result.model_dump_json(indent=2))
    else:
        _show(result)
    if result.failed or (min_score is not None and (result.score or 0.0) < min_score):
        raise SystemExit(1)


def train(
    target: Target = ".",
    n_iterations: Times = 1,
    filename: Annotated[Path, typer.Option("-f", "--filename", help="Where it is kept: .yaml or .json.")] = Path(
        "trained_agents.yaml"
    ),
    model: Model = None,
    crew: CrewName = None,
    pairs: InputPairs = None,
    inputs: InputsFile = None,
    journal: Journal = None,
    run_id: RunId = None,
) -> None:
    """Runs a crew with you as its teacher: what you say of its outputs becomes rules for its agents."""
    found = _crew(target, crew, model)
    given = ask_missing(found.contract, read_inputs(pairs or [], inputs))
    trained = found.train(n_iterations, filename, given, journal=journal, run_id=run_id)
    for role, agent in trained.items():
        print("\n".join([f"{role}:", *(f"  - {rule}" for rule in agent.suggestions)]))
    print(f"\nKept in {filename}. Crew(trained_agents_file={str(filename)!r}) puts it into the agents' prompts.")


def chat(
    target: Target = ".",
    model: Annotated[
        str | None,
        typer.Option(help="The model that talks; by default the crew's chat_llm, or that of its first task."),
    ] = None,
    crew: CrewName = None,
) -> None:
    """Talks with you, asks for the crew's inputs, runs it and tells the result. An empty line ends it."""
    from quarterdeck.crew.chat import Chat
    from quarterdeck.runtime.verbose import shown

    with shown() as on_event:
        talk = Chat(_crew(target, crew, None), model, on_event=on_event)
        print("An empty line ends this conversation.", file=sys.stderr)
        while True:
            print("> ", end="", file=sys.stderr, flush=True)
            text = sys.stdin.readline().strip()
            if not text:
                return
            print(talk.say(text), flush=True)


def _crew(target: str, name: str | None, model: str | None) -> Crew:
    from quarterdeck.crew import Crew

    found = load(target, name, model)
    if not isinstance(found, Crew):
        raise ConfigError(f"{target} is a {type(found).__name__}; this command takes a Crew")
    return found


def _show(result: Evaluation) -> None:
    from rich.console import Console
    from rich.table import Table

    from quarterdeck.crew.evaluation import shown

    table = Table(title=f"Scores from 1 to 10, by {result.judge}")
    for name in ("", *(f"run {run.number}" for run in result.runs), "mean", "spread"):
        table.add_column(name, justify="left" if not name else "right")
    for row in result.rows:
        table.add_row(row.task, *map(shown, row.scores), shown(row.mean), shown(row.spread))
    table.add_section()
    table.add_row("all tasks", *(shown(run.score) for run in result.runs), shown(result.score), shown(result.spread))
    table.add_row("tokens", *(f"{run.tokens:,}" for run in result.runs), "", "")
    table.add_row("USD", *(_usd(run.cost_usd) for run in result.runs), "", "")
    table.add_row("seconds", *(f"{run.seconds:.1f}" for run in result.runs), shown(result.seconds), "")
    console = Console()
    console.print(table)
    for run in result.runs:
        if run.status != "completed":
            console.print(f"run {run.number} {run.status}: {run.error}", markup=False)
    for run in result.runs:
        for item in run.scores:
            console.print(f"run {run.number}, {item.task}, {item.score}: {item.reason}", markup=False, highlight=False)
    console.print(f"The judge: {result.judge_usage.total_tokens:,} tokens, {_usd(result.judge_cost_usd)} USD")


def _usd(cost: float | None) -> str:
    return "?" if cost is None else f"{cost:.4f}"
