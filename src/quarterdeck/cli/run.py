"""``quarterdeck run``: runs a crew or a flow once."""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from quarterdeck.concurrency import run_sync
from quarterdeck.errors import ConfigError

if TYPE_CHECKING:
    from quarterdeck.crew.contract import Contract
    from quarterdeck.project import Runnable

Target = Annotated[
    str,
    typer.Argument(help="A project's folder, a crew.yaml or crew.jsonc, file.py:attr or module:attr."),
]
CrewName = Annotated[str | None, typer.Option("--crew", help="Which one, where quarterdeck.toml has several.")]
InputPairs = Annotated[list[str] | None, typer.Option("--input", help="An input, as NAME=VALUE; as often as needed.")]
InputsFile = Annotated[
    Path | None, typer.Option("--inputs", help="A JSON or YAML file with inputs; - for JSON from the standard input.")
]
Model = Annotated[str | None, typer.Option(help="A model for all agents, in place of their own.")]


def run(
    target: Target = ".",
    crew: CrewName = None,
    pairs: InputPairs = None,
    inputs: InputsFile = None,
    journal: Annotated[str | None, typer.Option(help="A SQLite file or postgresql:// URL that keeps the run.")] = None,
    run_id: Annotated[str | None, typer.Option(help="The run's id; one that is in the journal goes on.")] = None,
    model: Model = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="The result alone, without what happens.")] = False,
    compat: Annotated[
        bool,
        typer.Option("--compat", help="Answer 'import crewai' with Quarterdeck; a plain file.py runs as a script."),
    ] = False,
) -> None:
    """Runs a crew or a flow, shows what happens, and prints the result."""
    from quarterdeck.flow import Flow
    from quarterdeck.runtime.verbose import shown

    if compat:
        from quarterdeck.compat.finder import install

        install()
        if target.endswith(".py"):
            run_script(target, (crew, pairs, inputs, journal, run_id, model))
            return
    runnable = load(target, crew, model)
    given = read_inputs(pairs or [], inputs)
    options: dict[str, Any] = {"journal": journal, "run_id": run_id, "stream": False}
    work = runnable.arun if isinstance(runnable, Flow) else runnable.akickoff
    given = ask_missing(runnable.contract, given)
    with shown() as on_event:
        output = run_sync(work(given, **options, on_event=None if quiet else on_event))
    print(output.raw)
    if output.partial:
        print(f"quarterdeck: the run ended as {output.status}: {output.reason}", file=sys.stderr)
        raise SystemExit(1)


def run_script(path: str, options: Sequence[object]) -> None:
    """Runs a script as ``python path`` would.

    Raises:
        ConfigError: There is no such file, or an option is given that a script does not take.
    """
    if not Path(path).is_file():
        raise ConfigError(f"TARGET: there is no file {path}")
    if any(options):
        raise ConfigError(f"a script takes no options but --compat; to run one of its crews, name it: {path}:crew")
    sys.path.insert(0, str(Path(path).resolve().parent))
    sys.argv = [path]
    runpy.run_path(path, run_name="__main__")


def load(target: str, crew: str | None, model: str | None) -> Runnable:
    """The crew or flow of a target, on another model where one is named.

    Raises:
        ConfigError: There is none, or several and none is named.
    """
    from quarterdeck.project import Registry
    from quarterdeck.project.folder import load_env_of

    load_env_of([target])
    if model:
        os.environ["QUARTERDECK_MODEL"] = model  # for agents that name none
    registry = Registry.load([target])
    names = registry.names()
    if crew is None and len(names) > 1:
        raise ConfigError(f"{target} has {', '.join(names)}; name one: --crew {names[0]}")
    entry = registry.get(crew or names[0])
    if entry is None:
        raise ConfigError(f"{target} has no crew {crew!r}; it has {', '.join(names)}")
    return on_model(entry.runnable, model) if model else entry.runnable


def on_model(runnable: Runnable, model: str) -> Runnable:
    """A crew with a model for all its agents; anything else as it is."""
    from quarterdeck.crew import Crew
    from quarterdeck.crew.copies import with_llm

    return cast("Runnable", with_llm(runnable, model)) if isinstance(runnable, Crew) else runnable


def read_inputs(pairs: list[str], file: Path | None) -> dict[str, Any]:
    """The inputs of a command line: those of the file, and NAME=VALUE in their place.

    Raises:
        ConfigError: One is no NAME=VALUE, or the file cannot be read.
    """
    from quarterdeck.project.jsonc import JSONCError, parse

    given = _from_file(file) if file else {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name:
            raise ConfigError(f"--input must be NAME=VALUE, got {pair!r}")
        try:
            given[name] = parse(value) if value[:1] in ("{", "[") else value
        except JSONCError:
            given[name] = value
    return given


def _from_file(file: Path) -> dict[str, Any]:
    from quarterdeck.project.jsonc import JSONCError, parse
    from quarterdeck.project.source import read_source

    if str(file) != "-":
        return dict(read_source(file).data)
    try:
        data = parse(sys.stdin.read())
    except JSONCError as error:
        raise ConfigError(f"--inputs -, line {error.line}: {error}") from None
    if not isinstance(data, dict):
        raise ConfigError(f"--inputs - must hold a JSON object, it holds a {type(data).__name__}")
    return cast("dict[str, Any]", data)


def ask_missing(contract: Contract, given: dict[str, Any]) -> dict[str, Any]:
    """Asks on the terminal for required inputs that are missing; elsewhere they are an error of the kickoff."""
    missing = [name for name in contract.required if name not in given]
    if not missing or not contract.complete or not sys.stdin.isatty():
        return given
    described = contract.schema.get("properties", {})
    asked: dict[str, Any] = {}
    for name in missing:
        about = described.get(name, {}).get("description", "")
        asked[name] = typer.prompt(f"{name} ({about})" if about else name)
    return {**given, **asked}
