"""Where webhooks may go: refused at kickoff, and again when the connection is made."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from tests.server.webhooks.conftest import Receiver, settled

from quarterdeck.errors import ConfigError
from quarterdeck.events import TaskFinished
from quarterdeck.server.settings import Settings
from quarterdeck.server.store import Authentication, Hooks, HumanInputHook, Store, StreamHook
from quarterdeck.server.webhooks import Deliverer, Retries, check_hooks, check_url, new_secret

PUBLIC = "93.184.215.14"


@pytest.mark.parametrize(
    "url",
    [
        f"https://{PUBLIC}/hook",
        f"https://{PUBLIC}:8443/hook?a=1",
        "https://[2606:2800:21f:cb07:6820:80da:af6b:8b2c]/",
        "https://no-such-host.invalid/hook",
        "https://müller.invalid/hook",
    ],
)
def test_permitted(url: str) -> None:
    check_url(url, dev=False)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://example.invalid/", "must be an https"),
        (f"http://{PUBLIC}/", "must be an https"),
        ("ftp://example.invalid/", "must be a URL"),
        ("file:///etc/passwd", "must be a URL"),
        ("//example.invalid", "must be a URL"),
        ("https://", "must be a URL"),
        ("https://a:99999/", "must be a URL"),
        ("https://a:0/", "must be a URL"),
        ("https://[::1/", "must be a URL"),
        (f"https://{'a' * 64}.invalid/", "must be a URL"),
        ("https://a\\@127.0.0.1/", "must be a URL"),
        ("https://a.invalid/\n", "without spaces"),
        ("https://a.invalid/ b", "without spaces"),
        (f"https://a.invalid/{'x' * 2000}", "at most 2000"),
        (f"https://ann:pw@{PUBLIC}/", "user name or password"),
        (f"https://ann@{PUBLIC}/", "user name or password"),
        ("https://localhost/", "not public"),
        ("https://127.0.0.1/", "not public"),
        ("https://127.1/", "not public"),
        ("https://2130706433/", "not public"),
        ("https://0x7f.1/", "not public"),
        ("https://0.0.0.0/", "not public"),
        ("https://10.0.0.1/", "not public"),
        ("https://172.16.3.4/", "not public"),
        ("https://192.168.1.1/", "not public"),
        ("https://169.254.169.254/latest/meta-data", "not public"),
        ("https://100.64.0.1/", "not public"),
        ("https://[::1]/", "not public"),
        ("https://[::]/", "not public"),
        ("https://[fe80::1]/", "not public"),
        ("https://[fd00::1]/", "not public"),
        ("https://[::ffff:127.0.0.1]/", "not public"),
        ("https://[64:ff9b::7f00:1]/", "not public"),
    ],
)
def test_refused(url: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        check_url(url, dev=False)


def test_dev_permits_this_machine_and_https_to_private_addresses() -> None:
    for url in ("http://127.0.0.1:8000/x", "http://localhost/x", "http://[::1]/", "https://10.0.0.1/"):
        check_url(url, dev=True)
    for url in ("http://10.0.0.1/", f"http://{PUBLIC}/", "http://169.254.169.254/"):
        with pytest.raises(ConfigError, match="this machine only"):
            check_url(url, dev=True)
    with pytest.raises(ConfigError, match="user name"):
        check_url("http://a:b@127.0.0.1/", dev=True)


async def test_every_field_is_named() -> None:
    bad = "https://127.0.0.1/"
    hooks = Hooks(
        task_url=bad,
        step_url="http://x.invalid",
        crew_url="https://fine.invalid/",
        human_input=HumanInputHook(bad, Authentication("bearer")),
        streams=(
            StreamHook(bad, authentication=Authentication("basic", username="a:b"), secret="short"),
            StreamHook("https://fine.invalid", authentication=Authentication("bearer", "a\nb"), secret=new_secret()),
        ),
    )
    assert sorted(item.field for item in await check_hooks(hooks, False)) == [
        "humanInputWebhook.authentication",
        "humanInputWebhook.url",
        "stepWebhookUrl",
        "taskWebhookUrl",
        "webhooks.0.authentication",
        "webhooks.0.secret",
        "webhooks.0.url",
        "webhooks.1.authentication",
    ]
    assert await check_hooks(Hooks(), False) == []


def test_a_secret_of_the_server_that_is_none(store_of_nothing: Any) -> None:
    for secret in ("whsec_abc", "not base64!" * 5, "whsec_" + "A" * 400):
        with pytest.raises(ConfigError, match="QUARTERDECK_WEBHOOK_SECRET"):
            Deliverer(store_of_nothing, Settings(webhook_secret=secret))
    assert "MfKQ" not in repr(Settings(webhook_secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"))


@pytest.fixture
async def store_of_nothing(tmp_path: Any) -> Any:
    store = await Store.open(str(tmp_path / "x.db"))
    yield store
    store.close()


async def test_a_name_that_leads_elsewhere_later(
    receiver: Receiver, deliver: Any, writer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: public when it is checked, this machine when the connection is made."""
    port = int(receiver.url.rpartition(":")[2])
    url = f"https://rebinding.test:{port}/hook"
    answers = [PUBLIC]
    lookup = socket.getaddrinfo

    def rebinding(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host == "rebinding.test":
            host = answers.pop(0) if answers else "127.0.0.1"
        return lookup(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    check_url(url, dev=False)
    with pytest.raises(ConfigError):
        check_url(url, dev=False)
    async with deliver(dev=False, retries=Retries(first=0.01, total=0.05)) as deliverer:
        await writer.run(Hooks(task_url=url), TaskFinished(task="t"))
        await settled(deliverer, "dead")
        (item,) = await deliverer.deliveries("acme")
    assert "127.0.0.1 is not a public address" in item.last_error
    assert receiver.got == []


async def test_plain_http_is_not_sent_without_dev(receiver: Receiver, deliver: Any, writer: Any) -> None:
    """A message that was kept while the server had --dev."""
    async with deliver(dev=False, retries=Retries(first=0.01, total=0.05)) as deliverer:
        await writer.run(Hooks(task_url=receiver.url), TaskFinished(task="t"))
        await settled(deliverer, "dead")
    assert receiver.got == []
