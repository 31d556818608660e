"""What calls to models take from the environment: proxies, and nothing of ``~/.netrc``."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import pytest

from quarterdeck.llm import LLM, LLMRequest
from quarterdeck.llm.send import send
from quarterdeck.testing import LoopbackServer

ASK = LLMRequest([{"role": "user", "content": "hi"}])


async def ask(llm: LLM) -> str:
    return (await send(llm, ASK)).text


async def test_a_proxy_gets_the_call_with_its_own_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    with LoopbackServer(["by the proxy"]) as proxy:
        at = proxy.base_url.removesuffix("/v1").replace("http://", "http://me:secret@")
        monkeypatch.setenv("http_proxy", at)
        llm = LLM("openai/gpt-4o-mini", base_url="http://models.test/v1", api_key="key", max_retries=0)
        assert await ask(llm) == "by the proxy"
    headers = proxy.requests[0].headers
    assert headers["host"] == "models.test"
    assert headers["authorization"] == "Bearer key"
    assert headers["proxy-authorization"] == f"Basic {b64encode(b'me:secret').decode()}"


@pytest.mark.parametrize("names", ["127.0.0.1", "other.test,127.0.0.1:{port}", "*"])
async def test_no_proxy_names_hosts_that_are_called_directly(names: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with LoopbackServer(["by the proxy"]) as proxy, LoopbackServer(["directly"]) as server:
        monkeypatch.setenv("http_proxy", proxy.base_url)
        port = server.base_url.rpartition(":")[2].removesuffix("/v1")
        monkeypatch.setenv("no_proxy", names.format(port=port))
        assert await ask(server.llm()) == "directly"
    assert not proxy.requests


async def test_netrc_does_not_stand_in_the_way_of_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with LoopbackServer(["hello"]) as server:
        assert await ask(server.llm()) == "hello"
    assert server.requests[0].headers["authorization"] == "Bearer loopback-key"
