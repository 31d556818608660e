"""HTML to readable text, in time that grows with the page's length, whatever is in it.

The standard library's HTMLParser is not used: a megabyte of ``<!--`` keeps it busy for many minutes, in a thread that
nobody can stop.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from urllib.parse import urljoin

_SKIPPED = frozenset({"script", "style", "template", "svg", "noscript", "iframe", "object", "math", "select"})
_BLOCKS = frozenset(
    {"address", "article", "aside", "blockquote", "body", "caption", "dd", "details", "div", "dl", "dt", "fieldset"}
    | {"figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "head", "header", "hr", "li"}
    | {"main", "nav", "ol", "p", "pre", "section", "summary", "table", "tbody", "tfoot", "thead", "title", "tr", "ul"}
)
_HEADINGS = {f"h{level}": "#" * level + " " for level in range(1, 7)}

_MAX_TAG = 2048
"""Characters in which a tag must end for the quotes in it to be heeded; bounds the work for a quote left open."""
_OPENING = re.compile(r"<(?=[a-zA-Z!?/])")
_NAME = re.compile(r"</?([a-zA-Z][^\s/>]{0,40})")
_REST_OF_TAG = re.compile(r"""(?:[^"'>]|"[^"]*"|'[^']*')*>""")
_HREF = re.compile(r"""\shref\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""", re.IGNORECASE)
_RAW = {name: re.compile(rf"</{name}\b", re.IGNORECASE) for name in ("script", "style", "textarea", "title")}

Token = tuple[str, str]
"""Either ("", text) or (name of the tag, "/" before it where it closes; the tag as written)."""


def html_to_text(html: str, base_url: str = "", links: bool = False) -> str:
    """The text of a page: one line for each block, headings with ``#``, list items with ``-``, cells with ``|``.

    Args:
        html: The page.
        base_url: Where it is from, to complete its links.
        links: Whether links are kept, as ``[text](address)``.
    """
    reader = _Reader(base_url, links)
    for name, source in _tokens(html):
        if not name:
            reader.data(unescape(source))
        elif name[0] == "/":
            reader.end(name[1:])
        else:
            reader.start(name, source)
    return reader.text()


def _tokens(html: str) -> Iterator[Token]:
    position, length = 0, len(html)
    while position < length:
        opening = _OPENING.search(html, position)
        begin = opening.start() if opening else length
        if begin > position:
            yield "", html[position:begin]
        if begin == length:
            return
        name = _NAME.match(html, begin)
        if name is None:
            position = _after_other(html, begin)
            continue
        position = _end_of_tag(html, name.end())
        tag = name[1].lower()
        closes = html[begin + 1] == "/"
        yield ("/" + tag if closes else tag), html[begin:position]
        if not closes and tag in _RAW:  # what is inside is no markup
            inside = _RAW[tag].search(html, position)
            end = inside.start() if inside else length
            yield "", html[position:end]
            position = end


def _after_other(html: str, begin: int) -> int:
    """Where a comment, declaration or processing instruction ends."""
    for opening, closing in (("<!--", "-->"), ("<![CDATA[", "]]>"), ("<", ">")):
        if html.startswith(opening, begin):
            end = html.find(closing, begin + len(opening))
            return len(html) if end < 0 else end + len(closing)
    raise AssertionError("no '<' here")


def _end_of_tag(html: str, begin: int) -> int:
    match = _REST_OF_TAG.match(html, begin, begin + _MAX_TAG)
    if match:
        return match.end()
    end = html.find(">", begin)
    return len(html) if end < 0 else end + 1


class _Reader:
    def __init__(self, base_url: str, links: bool) -> None:
        self._base_url = base_url
        self._links = links
        self._parts: list[str] = []
        self._skipping = ""  # the element whose content is left out
        self._depth = 0  # how many elements of that name are open
        self._preformatted = 0
        self._addresses: list[str] = []

    def start(self, tag: str, source: str) -> None:
        if self._skipping:
            self._depth += tag == self._skipping
        elif tag in _SKIPPED:
            self._skipping, self._depth = ("", 0) if source.endswith("/>") else (tag, 1)
        elif tag in _BLOCKS:
            self._parts.append("\n" + _HEADINGS.get(tag, "- " if tag == "li" else ""))
            self._preformatted += tag == "pre"
        elif tag == "br":
            self._parts.append("\n")
        elif tag in ("td", "th"):
            self._parts.append(" | ")
        elif tag == "a" and self._links:
            self._addresses.append(_address(self._base_url, source))
            self._parts.append("[" if self._addresses[-1] else "")

    def end(self, tag: str) -> None:
        if self._skipping:
            self._depth -= tag == self._skipping
            if self._depth == 0:
                self._skipping = ""
        elif tag in _BLOCKS:
            self._parts.append("\n")
            self._preformatted -= tag == "pre" and self._preformatted > 0
        elif tag == "a" and self._addresses:
            address = self._addresses.pop()
            self._parts.append(f"]({address})" if address else "")

    def data(self, text: str) -> None:
        if not self._skipping:
            self._parts.append(text if self._preformatted else re.sub(r"\s+", " ", text))

    def text(self) -> str:
        """What was read, with no more than one empty line in a row."""
        lines = (line.rstrip() for line in "".join(self._parts).split("\n"))
        tidy = (line if line.startswith("    ") else re.sub(r" {2,}", " ", line).strip() for line in lines)
        kept = (line.removeprefix("| ") for line in tidy if line not in ("-", "|"))
        return re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip()


def _address(base_url: str, source: str) -> str:
    found = _HREF.search(source)
    href = next((group for group in found.groups() if group is not None), "") if found else ""
    try:
        address = urljoin(base_url, unescape(href).strip())
    except ValueError:
        return ""
    return address if href and address.startswith(("http://", "https://")) else ""
