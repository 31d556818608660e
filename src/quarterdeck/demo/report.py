"""The demo's report: what the crew's tasks gave, put on one page."""

from __future__ import annotations

from pathlib import Path

from quarterdeck import CrewOutput
from quarterdeck.demo.crew import Arrival, Quote


def write(output: CrewOutput, path: Path, model: str, seconds: float) -> str:
    """Writes the report and returns its text.

    Args:
        output: What the crew gave.
        path: The file.
        model: The model that was used.
        seconds: How long it took.
    """
    answers = [task.pydantic for task in output.tasks_output]
    arrivals = [answer for answer in answers if isinstance(answer, Arrival)]
    quotes = [answer.sentence for answer in answers if isinstance(answer, Quote)]
    usage = output.token_usage
    text = "\n".join(
        [
            "# The harbour's day",
            "",
            "| time | ship | from | brought |",
            "|---|---|---|---|",
            *(f"| {a.time} | {a.ship} | {a.port} | {a.cargo} |" for a in arrivals),
            "",
            "Of note:",
            "",
            *(f"- {arrival.ship}: {quote}" for arrival, quote in zip(arrivals, quotes, strict=False)),
            "",
            f"Taken from the log by {model}, which chose every entry: {usage.successful_requests} calls, "
            f"{usage.total_tokens} tokens, {seconds:.0f} seconds.",
            "",
        ]
    )
    path.write_text(text, encoding="utf-8")
    return text
