"""A flow as a picture: a page that needs nothing else, and Mermaid text."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from quarterdeck.flow import Flow, and_, human_feedback, listen, or_, router, start
from quarterdeck.flow.plot import Edge, edges_of

SOURCE = """
from quarterdeck.flow import Flow, listen, start


class Greeting(Flow):
    @start()
    def hello(self):
        return "hello"

    @listen(hello)
    def end(self):
        pass
"""


class Loop(Flow):
    @start()
    def begin(self) -> None: ...

    @start()
    def other(self) -> None: ...

    @listen(and_(begin, other))
    def both(self) -> None: ...

    @router(or_(both, "again"))
    def pick(self) -> str:
        return "again" if self.state else "<done>"

    @human_feedback("OK?", emit=["yes", "no"])
    @listen("<done>")
    def judge(self) -> None: ...

    @listen("yes")
    def end(self) -> None: ...


def test_edges() -> None:
    assert set(edges_of(Loop.graph)) == {
        Edge("begin", "both", "", True),
        Edge("other", "both", "", True),
        Edge("both", "pick"),
        Edge("pick", "pick", "again"),
        Edge("pick", "judge", "<done>"),
        Edge("judge", "end", "yes"),
    }


def test_mermaid_text() -> None:
    text = Loop().to_mermaid()
    assert text.startswith("flowchart TD\n")
    assert "    m_begin ==> m_both\n" in text
    assert '    m_pick{"pick"}\n' in text
    assert '    m_judge -->|"yes"| m_end\n' in text


def test_the_page_needs_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path(Loop().plot(show=False))
    assert path == tmp_path / "crewai_flow.html"
    text = path.read_text()
    assert not re.search(r"(?:src|href)\s*=|@import|url\((?!#)", text)
    assert "<done>" not in text
    svg = ElementTree.fromstring(text[text.index("<svg") : text.index("</svg>") + 6])
    names = {item.text for item in svg.iter() if item.tag.endswith("title")}
    assert {name.partition(":")[0] for name in names if name} == set(Loop.graph.methods)
    places = [(r.get("x"), r.get("y")) for r in svg.iter() if r.tag.endswith("rect")]
    assert len(set(places)) == len(places) == 6
    assert len([item for item in svg.iter() if item.tag.endswith("path")]) == 6 + 1  # one is the arrow's tip


def test_the_command(tmp_path: Path) -> None:
    (tmp_path / "greeting.py").write_text(SOURCE)
    command = [sys.executable, "-m", "quarterdeck", "plot", "greeting.py:Greeting"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()) == tmp_path / "flow.html"
    done = subprocess.run([*command, "--mermaid"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "m_hello --> m_end" in done.stdout
