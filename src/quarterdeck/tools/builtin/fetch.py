"""FetchURL: a page of the web as text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from pydantic import Field

from quarterdeck.concurrency import call_in_thread
from quarterdeck.errors import ToolError
from quarterdeck.tools.base import BaseTool
from quarterdeck.tools.builtin.addresses import Network, guarded, in_network
from quarterdeck.tools.builtin.html import html_to_text
from quarterdeck.tools.failure import ToolFailure

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

_REDIRECTS = (301, 302, 303, 307, 308)
_MAY_PASS = (408, 425, 429, 500, 502, 503, 504)
_TEXT_TYPE = re.compile(r"text/.*|application/(?:.*\+)?(?:json|xml|yaml|javascript)|application/x-(?:ndjson|yaml)")
_CHARSET = re.compile(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?([\w-]{1,40})", re.IGNORECASE)
_MAX_URL = 4_000


class FetchURL(BaseTool):
    """Fetches a page by HTTP GET and gives its text; HTML is turned into readable text.

    Only ``http`` and ``https``. An address that is private, loopback or link-local is refused, whether it is written
    in the URL, comes from the DNS, or is where a redirect leads: what counts is the address that the connection is
    made to. Proxy settings of the environment are not used.

    Args:
        allow_private: Permits such addresses: True for all, or the networks that are permitted, such as
            ``["10.1.0.0/16"]``.
        max_bytes: The most that is read of one page; the rest is left out, and the text says so.
        max_redirects: How many redirects are followed.
        links: Whether links are kept, as ``[text](address)``.
        user_agent: The ``User-Agent`` header.
        timeout: Time limit of the whole call in seconds.
    """

    name: str = "fetch_url"
    description: str = "Fetches a web page or another text from an http(s) address, and gives its text."
    timeout: float | None = 30.0
    allow_private: bool | tuple[Network, ...] = False
    max_bytes: int = Field(default=1_000_000, gt=0)
    max_redirects: int = Field(default=5, ge=0)
    links: bool = False
    user_agent: str = "quarterdeck"

    async def _arun(self, url: str) -> str | ToolFailure:
        """Fetches.

        Args:
            url: The address, with http:// or https://
        """
        from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector

        connector = TCPConnector(socket_factory=guarded(self._permits, ToolError), force_close=True)
        limit = ClientTimeout(total=self.timeout, connect=min(10.0, self.timeout or 10.0))
        headers = {"User-Agent": self.user_agent, "Accept": "text/html, text/plain, application/json, */*;q=0.5"}
        try:
            async with ClientSession(
                connector=connector, timeout=limit, headers=headers, cookie_jar=DummyCookieJar()
            ) as session:
                page = await self._follow(session, url)
        except TimeoutError as error:
            raise ToolError(f"{url} did not answer in time.") from error
        except (ClientError, ValueError) as error:
            raise ToolError(f"{url} cannot be fetched: {type(error).__name__}: {str(error)[:200]}") from error
        if isinstance(page, ToolFailure):
            return page
        return await call_in_thread(self._text, page)

    def _permits(self, host: str) -> bool:
        if isinstance(self.allow_private, bool):
            return self.allow_private
        return any(in_network(host, network) for network in self.allow_private)

    async def _follow(self, session: ClientSession, url: str) -> _Page | ToolFailure:
        for _ in range(self.max_redirects + 1):
            _check_url(url)
            async with session.get(url, allow_redirects=False) as response:
                target = response.headers.get("Location")
                if response.status not in _REDIRECTS or not target:
                    return await self._read(response)
                url = urljoin(url, target)
        raise ToolError(f"There were more than {self.max_redirects} redirects; the last led to {url[:200]}.")

    async def _read(self, response: ClientResponse) -> _Page | ToolFailure:
        url = str(response.url)
        if response.status >= 300:
            return ToolFailure(
                f"{url} answered {response.status} {response.reason or ''}".strip() + ".",
                code=str(response.status),
                retryable=response.status in _MAY_PASS,
            )
        kind = response.headers.get("Content-Type", "text/plain").split(";", 1)[0].strip().lower()
        if not _TEXT_TYPE.fullmatch(kind):
            raise ToolError(f"{url} is {kind}, not text.")
        data = bytearray()
        async for chunk in response.content.iter_chunked(65_536):
            data += chunk
            if len(data) > self.max_bytes:
                break
        whole = len(data) <= self.max_bytes
        return _Page(url, kind, bytes(data[: self.max_bytes]), response.charset, whole)

    def _text(self, page: _Page) -> str:
        text = _decoded(page)
        if page.kind in ("text/html", "application/xhtml+xml"):
            text = html_to_text(text, page.url, self.links)
        if not page.whole:
            text += f"\n[the page is longer than {self.max_bytes:,} bytes; the rest was not read]"
        return text or "The page has no text."


@dataclass(frozen=True, slots=True)
class _Page:
    url: str
    kind: str
    data: bytes
    charset: str | None
    whole: bool


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - reading it checks it
    except ValueError as error:
        raise ToolError(f"{url[:200]!r} is not a valid address: {error}.") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or len(url) > _MAX_URL:
        raise ToolError(f"{url[:200]!r} is not an http:// or https:// address of at most {_MAX_URL:,} characters.")
    if parts.username is not None or parts.password is not None:
        raise ToolError("An address with a user name or password in it is not fetched.")


def _decoded(page: _Page) -> str:
    charset = page.charset
    if charset is None and (found := _CHARSET.search(page.data[:2048])):
        charset = found[1].decode()
    if b"\0" in page.data[:8192] and (charset or "").lower().replace("-", "")[:5] not in ("utf16", "utf32"):
        raise ToolError(f"{page.url} holds binary data, not text.")
    try:
        return page.data.decode(charset or "utf-8-sig", errors="replace")
    except LookupError:  # a character set that Python does not know
        return page.data.decode("utf-8", errors="replace")
