"""A flow as a picture: Mermaid text, and one HTML page with everything in it."""

from __future__ import annotations

import html
from collections.abc import Iterable
from dataclasses import dataclass

from quarterdeck.flow.conditions import And, Condition, Name
from quarterdeck.flow.definition import Graph, Method

WIDTH, HEIGHT = 190, 54
GAP_X, GAP_Y = 50, 76
MARGIN = 40


@dataclass(frozen=True, slots=True)
class Edge:
    """What leads from one method to another.

    Args:
        source: The method that finishes.
        target: The method that is called.
        label: The router's label that leads there; "" for the method's own end.
        joined: Whether the target waits for others too (``and_``).
    """

    source: str
    target: str
    label: str = ""
    joined: bool = False


def edges_of(graph: Graph) -> list[Edge]:
    """What leads where."""
    found: dict[Edge, None] = {}
    for method in graph.methods.values():
        for name, joined in _names(method.mark.condition, False):
            for edge in _sources(graph, method.name, name, joined):
                found[edge] = None
    return list(found)


def _names(condition: Condition | None, joined: bool) -> list[tuple[str, bool]]:
    if condition is None:
        return []
    if isinstance(condition, Name):
        return [(condition.name, joined)]
    inside = joined or (isinstance(condition, And) and len(condition.items) > 1)
    return [found for item in condition.items for found in _names(item, inside)]


def _sources(graph: Graph, target: str, name: str, joined: bool) -> Iterable[Edge]:
    if name in graph.methods:
        yield Edge(name, target, "", joined)
    routers = [method for method in graph.methods.values() if method.router and name in method.labels]
    if not routers and name not in graph.methods:  # a label that some router computes
        routers = [method for method in graph.methods.values() if method.router and not method.closed]
    for router in routers:
        if router.name != target or name in router.labels:
            yield Edge(router.name, target, name, joined)


def kind_of(method: Method) -> str:
    """What a method is in the picture."""
    if method.mark.feedback is not None:
        return "human"
    if method.router:
        return "router"
    return "start" if method.mark.start else "listen"


# -- Mermaid --------------------------------------------------------------------------------------------------

_SHAPES = {"start": '(["{}"])', "listen": '["{}"]', "router": '{{"{}"}}', "human": '[/"{}"/]'}


def mermaid(graph: Graph) -> str:
    """The flow as a Mermaid flowchart: starts are round, routers are diamonds, thick lines wait for each other."""
    lines = ["flowchart TD"]
    for name, method in graph.methods.items():
        lines.append(f"    m_{name}{_SHAPES[kind_of(method)].format(name)}")  # "end" alone means something else
    for edge in edges_of(graph):
        arrow = "==>" if edge.joined else "-->"
        label = edge.label.replace('"', "#quot;").replace("|", "#124;")
        text = f'|"{label}"|' if label else ""
        lines.append(f"    m_{edge.source} {arrow}{text} m_{edge.target}")
    return "\n".join(lines) + "\n"


# -- the page -------------------------------------------------------------------------------------------------

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root {{ color-scheme: light dark; --ink: #1c2733; --soft: #66788a; --back: #fbfcfd; --box: #fff; }}
@media (prefers-color-scheme: dark) {{ :root {{ --ink: #e6edf3; --soft: #93a4b5; --back: #10161c; --box: #1a232c; }} }}
body {{ margin: 2rem; background: var(--back); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }}
h1 {{ font-size: 1.3rem; margin: 0 0 .2rem; }} p {{ margin: 0 0 1rem; color: var(--soft); }}
svg {{ max-width: 100%; height: auto; }}
svg rect {{ fill: var(--box); stroke: var(--soft); stroke-width: 1.5; }}
svg text {{ fill: var(--ink); font-size: 13px; text-anchor: middle; }}
svg .kind {{ fill: var(--soft); font-size: 11px; }} svg .label {{ font-size: 12px; font-style: italic; }}
svg path {{ fill: none; stroke: var(--soft); stroke-width: 1.4; }} svg .joined {{ stroke-width: 3; }}
svg .tip {{ fill: var(--soft); stroke: none; }}
svg .start rect {{ stroke: #2e8b57; }} svg .router rect {{ stroke: #c77d0a; }} svg .human rect {{ stroke: #8250df; }}
pre {{ padding: 1rem; background: var(--box); overflow-x: auto; font-size: 13px; }}
</style></head><body>
<h1>{title}</h1>
<p>{count} methods. Green: where it begins; orange: routers; violet: a person is asked; thick: all are waited for.</p>
{svg}
<details><summary>As Mermaid text</summary><pre>{mermaid}</pre></details>
</body></html>
"""


def page(name: str, graph: Graph) -> str:
    """The flow as an HTML page that needs nothing else."""
    return _PAGE.format(
        title=html.escape(name), count=len(graph.methods), svg=_svg(graph), mermaid=html.escape(mermaid(graph))
    )


def _svg(graph: Graph) -> str:
    edges = edges_of(graph)
    rows = _rows(graph, edges)
    places: dict[str, tuple[float, float]] = {}
    widest = max(len(row) for row in rows)
    full = widest * WIDTH + (widest - 1) * GAP_X
    for n, row in enumerate(rows):
        left = MARGIN + (full - len(row) * WIDTH - (len(row) - 1) * GAP_X) / 2
        for place, name in enumerate(row):
            places[name] = (left + place * (WIDTH + GAP_X), MARGIN + n * (HEIGHT + GAP_Y))
    back = [edge for edge in edges if places[edge.target][1] <= places[edge.source][1]]
    width = full + 2 * MARGIN + 34 * (len(back) + 1)
    height = len(rows) * (HEIGHT + GAP_Y) - GAP_Y + 2 * MARGIN
    parts = [_drawn(edge, places, full + MARGIN, back) for edge in edges]
    parts += [_box(method, *places[name]) for name, method in graph.methods.items()]
    tip = '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="9" markerHeight="9" '
    tip += 'markerUnits="userSpaceOnUse" orient="auto"><path class="tip" d="M0 0 8 4 0 8z"/></marker>'
    size = f'viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" role="img" {size}><defs>{tip}</defs>{"".join(parts)}</svg>'


def _rows(graph: Graph, edges: list[Edge]) -> list[list[str]]:
    """The methods by how far they are from a start."""
    rows: list[list[str]] = []
    left = list(graph.methods)
    row = [name for name in left if graph.methods[name].mark.unconditional]
    row = row or [name for name in left if graph.methods[name].mark.start]
    while left:
        row = row or left  # what nothing leads to
        rows.append(row)
        left = [name for name in left if name not in row]
        row = [name for name in left if any(edge.target == name and edge.source in row for edge in edges)]
    return rows


def _box(method: Method, x: float, y: float) -> str:
    name, kind = html.escape(method.name), kind_of(method)
    shown = name if len(name) <= 24 else name[:23] + "…"
    round_ = HEIGHT / 2 if kind == "start" else 6
    condition = html.escape(str(method.mark.condition or "start"))
    return (
        f'<g class="{kind}"><title>{name}: {condition}</title>'
        f'<rect x="{x:g}" y="{y:g}" width="{WIDTH}" height="{HEIGHT}" rx="{round_:g}"/>'
        f'<text x="{x + WIDTH / 2:g}" y="{y + 24:g}">{shown}</text>'
        f'<text class="kind" x="{x + WIDTH / 2:g}" y="{y + 41:g}">{kind}</text></g>'
    )


def _drawn(edge: Edge, places: dict[str, tuple[float, float]], right: float, back: list[Edge]) -> str:
    (from_x, from_y), (to_x, to_y) = places[edge.source], places[edge.target]
    if edge in back:  # around the right side
        side = right + 24 + 34 * back.index(edge)
        x1, y1, x2, y2 = from_x + WIDTH, from_y + HEIGHT / 2, to_x + WIDTH, to_y + HEIGHT / 2 - 8
        path = (
            f"M{x1:g} {y1:g} C{side:g} {y1:g} {side:g} {y1:g} {side:g} {(y1 + y2) / 2:g} S{side:g} {y2:g} {x2:g} {y2:g}"
        )
        label_x, label_y = side, (y1 + y2) / 2
    else:
        x1, y1, x2, y2 = from_x + WIDTH / 2, from_y + HEIGHT, to_x + WIDTH / 2, to_y - 2
        middle = (y1 + y2) / 2
        path = f"M{x1:g} {y1:g} C{x1:g} {middle:g} {x2:g} {middle:g} {x2:g} {y2:g}"
        label_x, label_y = (x1 + x2) / 2, middle - 4
    thick = ' class="joined"' if edge.joined else ""
    text = f'<text class="label" x="{label_x:g}" y="{label_y:g}">{html.escape(edge.label)}</text>' if edge.label else ""
    return f'<path{thick} d="{path}" marker-end="url(#tip)"/>{text}'
