"""The demo's crew: a reader with a tool, a clerk who fills in forms and an editor who picks quotes (strict JSON).

The work is cut into pieces that a model of 135 million parameters does well: one short text at a time.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, create_model

from quarterdeck import Agent, Crew, Task, TaskOutput
from quarterdeck.llm import create_llm
from quarterdeck.tools import ReadFile

LOG = Path(__file__).parent / "harbour"
"""The harbour's log: one short text for each ship of a day."""

LOCAL = "local/smollm2"

_TIMES = re.compile(r"\b[0-2][0-9]:[0-5][0-9]\b")
_NAMES = re.compile(r"(?<=[a-z,] )[A-Z][a-z]+(?: [A-Z][a-z]+)*")
_PLACES = re.compile(r"(?:from|to|the) ([A-Z][a-z]+(?: [A-Z][a-z]+)*)")
_AMOUNTS = re.compile(r"\b[0-9]+ [a-z]+(?: of [a-z]+(?: [a-z]+)?)?")


class Arrival(BaseModel):
    """What the clerk takes from a text."""

    time: str
    ship: str
    port: str
    cargo: str


def arrival_form(text: str) -> type[Arrival]:
    """The form for one text: the model chooses among the times, names and amounts that stand in it.

    The schema holds it to them while it writes, so it can choose wrongly, but not invent.
    """

    def one_of(pattern: re.Pattern[str]) -> Any:
        return _one_of(pattern.findall(text))

    return create_model(
        "ArrivalForm",
        __base__=Arrival,
        time=one_of(_TIMES),
        ship=one_of(_NAMES),
        port=one_of(_PLACES),
        cargo=one_of(_AMOUNTS),
    )


class Quote(BaseModel):
    """The sentence that the editor takes from a text."""

    sentence: str


def quote_form(text: str) -> type[Quote]:
    """The editor's form: the model chooses one of the text's sentences, but the first."""
    sentences = [f"{part.strip().rstrip('.')}." for part in text.split(". ")]
    return create_model("QuoteForm", __base__=Quote, sentence=_one_of(sentences[1:]))


def _one_of(values: list[str]) -> Any:
    return Literal[tuple(dict.fromkeys(values))]


def log_files() -> list[Path]:
    """The texts of the log, in order."""
    return sorted(LOG.glob("*.txt"))


def build(model: str) -> Crew:
    """The crew. Tasks run side by side, each as soon as the text it needs has been read.

    An agent's tasks stand together: its prompts begin alike, and the model keeps what it read last.

    Args:
        model: The model's name.
    """
    reader, clerk, editor = _agents(model)
    reads: list[Task] = []
    forms: list[Task] = []
    quotes: list[Task] = []
    for number, file in enumerate(log_files(), 1):
        text = file.read_text(encoding="utf-8")
        read = Task(
            name=f"read {number}",
            description=f"Use the tool read_file on the file {file.name}.",
            expected_output="a call of read_file",
            agent=reader,
            context=[],
            guardrail=_is_read(text),
            async_execution=True,
        )
        form = Task(
            name=f"form {number}",
            description="Fill in the form with facts from the text: time, ship, port, cargo.",
            expected_output="",
            agent=clerk,
            context=[read],
            output_pydantic=arrival_form(text),
            async_execution=True,
        )
        quote = Task(
            name=f"quote {number}",
            description="Choose the sentence of the text that is the most surprising.",
            expected_output="",
            agent=editor,
            context=[read],
            output_pydantic=quote_form(text),
            async_execution=True,
        )
        reads.append(read)
        forms.append(form)
        quotes.append(quote)
    return Crew(name="harbour log", tasks=[*reads, *forms, *quotes])


def _agents(model: str) -> tuple[Agent, Agent, Agent]:
    settings: dict[str, Any] = {"model": model, "temperature": 0.0}
    reader = Agent(
        role="Reader",
        goal="Read files with the tool read_file",
        backstory='For the file 0-rose.txt you write {"tool": "read_file", "arguments": {"path": "0-rose.txt"}}',
        llm=create_llm(settings | {"max_tokens": 80}),
        tools=[ReadFile(root=LOG, result_as_answer=True)],
        max_iter=2,
    )
    llm = create_llm(settings | {"max_tokens": 100})
    clerk = Agent(role="Clerk", goal="Copy facts from a text", llm=llm)
    editor = Agent(role="Editor", goal="Find what is surprising", llm=llm)
    return reader, clerk, editor


def _is_read(text: str) -> Callable[[TaskOutput], Any]:
    """A guardrail: the reader must have read the file, and not made something up."""

    def was_read(output: TaskOutput) -> Any:
        if output.raw.strip() and output.raw.strip() in text:
            return True, output
        return False, "call read_file with the path of the file"

    return was_read
