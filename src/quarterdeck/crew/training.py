"""``crew.train``: a person's remarks on outputs, kept in a readable file, and the rules that are made of them."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from quarterdeck.agent import prompts
from quarterdeck.agent.agent import Agent
from quarterdeck.agent.question import ask_model, asking
from quarterdeck.crew import copies
from quarterdeck.crew.evaluation import check_iterations
from quarterdeck.errors import ConfigError, RunError
from quarterdeck.llm.structured import describe
from quarterdeck.runtime.human import HumanAnswer, HumanInput, HumanRequest, current_human_input
from quarterdeck.runtime.options import RunOptions

if TYPE_CHECKING:
    from quarterdeck.crew.crew import Crew

MOST_RULES = 7
"""Rules of one agent: each is in every prompt."""


class Remark(BaseModel):
    """What a person said of one output.

    Args:
        task: The task's name.
        output: The output, as the person saw it.
        said: The remark.
        accepted: The output that the person accepted in the end; empty where the run did not come so far.
    """

    model_config = ConfigDict(extra="forbid")

    task: str
    output: str
    said: str
    accepted: str = ""


class TrainedAgent(BaseModel):
    """What an agent has learned.

    Args:
        suggestions: Short rules, which are put into its prompts.
        feedback: The remarks that they were made of.
    """

    model_config = ConfigDict(extra="forbid")

    suggestions: list[str] = Field(default_factory=list[str])
    feedback: list[Remark] = Field(default_factory=list[Remark])


class Rules(BaseModel):
    """What a model makes of the remarks."""

    rules: list[str] = Field(max_length=MOST_RULES)


Trained = dict[str, TrainedAgent]
"""By the agents' roles, as their definitions have them."""


def read_trained(path: str | os.PathLike[str]) -> Trained:
    """Reads a file of ``crew.train``: YAML, or JSON by its suffix.

    Raises:
        ConfigError: It is not there, or is no such file.
    """
    file = Path(path)
    _check_suffix(file)
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            f"there is no file {file}; make it with crew.train(n_iterations, filename={str(file)!r})"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from None
    try:
        data = json.loads(text) if file.suffix == ".json" else _yaml_load(text)
    except ValueError as error:
        raise ConfigError(f"{file}: {error}") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{file} must be a mapping of agents' roles to suggestions and feedback")
    trained: Trained = {}
    for role, value in cast("dict[Any, Any]", data).items():
        try:
            trained[str(role)] = TrainedAgent.model_validate(value)
        except ValidationError as error:
            raise ConfigError(f"{file}: {role}: {describe(error)}") from None
    return trained


def write_trained(path: str | os.PathLike[str], trained: Trained) -> None:
    """Writes the file, whole or not at all."""
    file = Path(path)
    data = {role: agent.model_dump() for role, agent in trained.items()}
    text = json.dumps(data, indent=2, ensure_ascii=False) + "\n" if file.suffix == ".json" else _yaml_dump(data)
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    beside.write_text(text, encoding="utf-8")
    beside.replace(file)


def _so_far(file: Path) -> Trained:
    _check_suffix(file)
    return read_trained(file) if file.exists() else {}


def _check_suffix(file: Path) -> None:
    if file.suffix not in (".yaml", ".yml", ".json"):
        raise ConfigError(
            f"what is learned is kept as YAML or JSON: name a file that ends with .yaml, got {str(file)!r}"
        )


def _yaml_load(text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None


def _yaml_dump(data: Any) -> str:
    import yaml

    class Dumper(yaml.SafeDumper):
        """Texts of several lines as they are."""

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, "|" if "\n" in value else None)  # pyright: ignore[reportUnknownMemberType]

    Dumper.add_representer(str, text)  # pyright: ignore[reportUnknownMemberType]
    return yaml.dump(data, Dumper=Dumper, allow_unicode=True, sort_keys=False, width=120)


async def train(
    crew: Crew,
    n_iterations: int,
    filename: str | os.PathLike[str],
    inputs: Mapping[str, Any] | None,
    **options: Unpack[RunOptions],
) -> Trained:
    """Runs a crew with a person who says what should be better: see ``Crew.train``."""
    check_iterations(n_iterations)
    file = Path(filename)
    trained = _so_far(file)
    asked = copies.asking(crew)
    agents = dict(zip(crew.steps, map(crew.staff.worker, crew.tasks), strict=True))
    train_id = options.get("run_id") or str(uuid.uuid4())
    for number in range(1, n_iterations + 1):
        listener = _Listener(options.get("human") or current_human_input(), file, trained, agents)
        run: RunOptions = {**options, "run_id": f"{train_id}/{number}", "human": listener, "stream": False}
        output = await asked.akickoff(inputs, **run)
        listener.accepted({str(item.name): item.raw for item in output.tasks_output})
        if output.partial:
            raise RunError(f"training run {number} ended as {output.status}: {output.reason}")
    for agent in {agent.role: agent for agent in agents.values()}.values():
        if trained.get(agent.role, TrainedAgent()).feedback:
            count = len(trained[agent.role].feedback)
            run_id = f"{train_id}/rules/{agent.role}/{count}"
            await _consolidate(agent, trained[agent.role], {**options, "run_id": run_id})
            write_trained(file, trained)
    return trained


class _Listener:
    """Asks the person, and writes down at once what is said."""

    def __init__(self, inner: HumanInput, file: Path, trained: Trained, agents: Mapping[str, Agent]) -> None:
        self._inner = inner
        self._file = file
        self._trained = trained
        self._agents = agents
        self._remarks: list[Remark] = []

    async def ask(self, request: HumanRequest) -> HumanAnswer | None:
        answer = await self._inner.ask(request)
        if answer is not None and not answer.approved and answer.feedback:
            remark = Remark(task=request.task, output=request.output, said=answer.feedback)
            self._remarks.append(remark)
            self._trained.setdefault(self._agents[request.task].role, TrainedAgent()).feedback.append(remark)
            write_trained(self._file, self._trained)
        return answer

    def accepted(self, outputs: Mapping[str, str]) -> None:
        for remark in self._remarks:
            remark.accepted = outputs.get(remark.task, "")
        if self._remarks:
            write_trained(self._file, self._trained)


async def _consolidate(agent: Agent, trained: TrainedAgent, options: RunOptions) -> None:
    """Makes rules of an agent's remarks, with its own model, in a run of its own."""
    remarks = [(item.output, item.said, item.accepted) for item in trained.feedback]
    text = prompts.teach(agent.role, trained.suggestions, remarks, MOST_RULES)
    given = {"remarks": [list(item) for item in remarks]}
    async with asking("rules", given, **options) as run:
        made = await ask_model(run, "rules", agent.llm, prompts.TEACHER, text, Rules, role="Teacher")
    trained.suggestions = [rule.strip() for rule in made.rules if rule.strip()]
