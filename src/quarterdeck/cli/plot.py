"""``quarterdeck plot``: a flow as a picture."""

from __future__ import annotations

from typing import Annotated

import typer

from quarterdeck.cli.run import CrewName, Target, load
from quarterdeck.errors import ConfigError


def plot(
    target: Target = ".",
    flow: CrewName = None,
    output: Annotated[str, typer.Option("--output", "-o", help="The HTML file that is written.")] = "flow.html",
    show: Annotated[bool, typer.Option(help="Open it in the browser.")] = False,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="Print Mermaid text instead.")] = False,
) -> None:
    """Draws a flow: its methods and what leads where, as an HTML page or as Mermaid text."""
    from quarterdeck.flow import Flow

    found = load(target, flow, None)
    if not isinstance(found, Flow):
        raise ConfigError(f"target {target!r} is a {type(found).__name__}; a Flow can be drawn")
    print(found.to_mermaid() if mermaid else found.plot(output, show=show), end="" if mermaid else "\n")
