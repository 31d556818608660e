"""FetchURL against a real server on the loopback."""

from __future__ import annotations

import asyncio
import gzip
import html
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.errors import ConfigError
from quarterdeck.tools import FetchURL
from quarterdeck.tools.builtin.addresses import is_public
from quarterdeck.tools.builtin.html import html_to_text

PAGE = """<!DOCTYPE html><html><head><title>A &amp; B</title><style>p {color: red}</style></head>
<body><script>if (1 < 2) { document.write("<p>no</p>") }</script><!-- no > -->
<h1>Hello</h1><p>One <b>two</b>
three.<br>Four</p><ul><li>x<li><a href="/z?a=1&amp;b=2">y</a></ul>
<table><tr><th>k</th><th>v</th></tr><tr><td>1</td><td>2</td></tr></table>
<pre>a
    b</pre><svg><text>no</text></svg><p title="a > b">1 < 2</p></body></html>"""


class Server:
    """Answers that the tests need, and the requests that arrived."""

    def __init__(self) -> None:
        self.requests: list[web.Request] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        path = request.path
        if path == "/page":
            return web.Response(text=PAGE, content_type="text/html")
        if path == "/json":
            return web.json_response({"a": 1})
        if path == "/image":
            return web.Response(body=b"\x89PNG", content_type="image/png")
        if path == "/binary":
            return web.Response(body=b"a\0b", content_type="text/plain")
        if path == "/latin":
            return web.Response(
                body="<meta charset=latin-1><p>caf\u00e9".encode("latin-1"), headers={"Content-Type": "text/html"}
            )
        if path == "/to":
            raise web.HTTPFound(request.query["url"])
        if path == "/bomb":
            return web.Response(
                body=gzip.compress(b"x" * 50_000_000),
                headers={"Content-Encoding": "gzip", "Content-Type": "text/plain"},
            )
        if path == "/slow":
            await asyncio.sleep(30)
        if path == "/endless":
            response = web.StreamResponse(headers={"Content-Type": "text/plain"})
            await response.prepare(request)
            while True:
                await response.write(b"x" * 65536)
        return web.Response(status=503 if path == "/busy" else 404)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    app = web.Application()
    app.router.add_get("/{path:.*}", made.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


async def fetch(call: Any, url: str, **settings: Any) -> Any:
    return await call(FetchURL(**{"allow_private": True, **settings}), {"url": url})


async def test_a_page_becomes_text(server: Server, call: Any):
    result = await fetch(call, f"{server.url}/page")
    assert result.output == (
        "A & B\n\n# Hello\n\nOne two three.\nFour\n\n- x\n- y\n\nk | v\n\n1 | 2\n\na\n    b\n\n1 < 2"
    )
    assert server.requests[0].headers["User-Agent"] == "quarterdeck"


async def test_links_on_demand(server: Server, call: Any):
    result = await fetch(call, f"{server.url}/page", links=True)
    assert f"- [y]({server.url}/z?a=1&b=2)" in result.output


async def test_other_texts(server: Server, call: Any):
    assert (await fetch(call, f"{server.url}/json")).output == '{"a": 1}'
    assert (await fetch(call, f"{server.url}/latin")).output == "caf\u00e9"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/image", "is image/png, not text."),
        ("/binary", "holds binary data, not text."),
        ("/missing", "answered 404 Not Found. (code: 404)"),
        ("/busy", "answered 503 Service Unavailable. (code: 503) The same call may succeed later."),
        ("/to?url=ftp://example.org/x", "'ftp://example.org/x' is not an http:// or https:// address"),
        ("/to?url=/to?url=/page", "OK"),
    ],
)
async def test_answers_that_are_no_text(server: Server, call: Any, path: str, said: str):
    result = await fetch(call, server.url + path)
    assert result.ok == (said == "OK")
    assert said == "OK" or said in result.output


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://example.org",
        "example.org",
        "http://",
        "http://[",
        "http://a:99999/",
        "http://u:p@a/",
        "",
        "http://a/" + "x" * 4000,
    ],
)
async def test_addresses_that_are_not_asked_for(call: Any, url: str):
    result = await fetch(call, url)
    assert (result.ok, result.reason) == (False, "exception")
    assert "address" in result.output


async def test_redirects_have_a_limit(server: Server, call: Any):
    url = "/page"
    for _ in range(3):
        url = f"/to?url={quote(url)}"
    result = await fetch(call, server.url + url, max_redirects=2)
    assert "There were more than 2 redirects; the last led to" in result.output
    assert len(server.requests) == 3
    assert (await fetch(call, server.url + url, max_redirects=3)).ok


async def test_an_answer_that_does_not_say_what_it_is(call: Any):
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert (await fetch(call, f"http://127.0.0.1:{port}/")).output == "plain"


async def test_long_pages_are_cut_while_they_are_read(server: Server, call: Any):
    for path in ("/bomb", "/endless"):
        result = await fetch(call, server.url + path, max_bytes=1000)
        assert result.output == "x" * 1000 + "\n[the page is longer than 1,000 bytes; the rest was not read]"


async def test_the_time_limit(server: Server, call: Any):
    result = await fetch(call, f"{server.url}/slow", timeout=0.2)
    assert not result.ok
    assert result.seconds < 5
    assert "time" in result.output


class TestPrivateAddresses:
    @pytest.mark.parametrize(
        "host",
        ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]"],
    )
    async def test_are_refused_in_every_form(self, server: Server, call: Any, host: str):
        port = server.url.rsplit(":", 1)[1]
        result = await call(FetchURL(), {"url": f"http://{host}:{port}/page"})
        assert not result.ok
        assert "Hello" not in result.output
        assert server.requests == []

    async def test_are_refused_after_a_redirect(self, server: Server, call: Any):
        port = server.url.rsplit(":", 1)[1]
        here = FetchURL(allow_private=["127.0.0.1/32"])
        assert (await call(here, {"url": f"{server.url}/page"})).ok
        for target in (f"http://127.0.0.2:{port}/page", "http://169.254.169.254/latest", f"http://[::1]:{port}/page"):
            result = await call(here, {"url": f"{server.url}/to?url={target}"})
            assert "is not a public address; private addresses may not be fetched" in result.output
        assert all(request.path != "/page" for request in server.requests[1:])

    @pytest.mark.parametrize(
        "address",
        [
            *[
                "10.0.0.1",
                "172.16.0.1",
                "192.168.1.1",
                "100.64.0.1",
                "169.254.169.254",
                "127.0.0.1",
                "0.0.0.0",
                "224.0.0.1",
            ],
            *["240.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fec0::1", "ff02::1"],
            *["::ffff:10.0.0.1", "2002:7f00:1::", "64:ff9b::7f00:1", "::ffff:0:127.0.0.1", "127.1", "localhost", ""],
        ],
    )
    def test_ranges(self, address: str):
        assert not is_public(address)

    @pytest.mark.parametrize(
        "address", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
    )
    def test_public_addresses(self, address: str):
        assert is_public(address)

    def test_a_network_that_is_none(self):
        with pytest.raises(ConfigError, match="FetchURL: 'allow_private"):
            FetchURL(allow_private=["not a network"])


class TestHtml:
    @given(st.text(alphabet="<>/!-=\"' abp&;#", max_size=80) | st.text(max_size=40))
    def test_any_text_is_read(self, page: str):
        assert isinstance(html_to_text(page, "http://a/", links=True), str)

    @given(st.lists(st.text(alphabet="abc \u00e9&<", min_size=1), min_size=1, max_size=5))
    def test_escaped_text_comes_back(self, texts: list[str]):
        page = "".join(f"<p>{html.escape(text)}</p>" for text in texts)
        words = [" ".join(text.split()) for text in texts]
        assert html_to_text(page).split("\n\n") == [word for word in words if word] or not any(words)

    @pytest.mark.parametrize(
        "piece",
        [
            "<!--",
            "<",
            "<a ",
            "<![CDATA[",
            "<a x='",
            '<a x="',
            "&#",
            "&",
            "<?",
            "<!x ",
            "</",
            "<script>",
            "<li>",
            "<a '>",
            "<p>x ",
        ],
    )
    def test_hostile_pages_take_no_long_time(self, piece: str):
        page = piece * (200_000 // len(piece))
        begun = time.process_time()
        html_to_text(page, links=True)
        assert time.process_time() - begun < 2
