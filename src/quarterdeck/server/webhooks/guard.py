"""Which URLs webhooks may go to: HTTPS, and to public addresses only (server-side request forgery)."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import socket
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from quarterdeck.concurrency import call_in_thread
from quarterdeck.errors import ConfigError
from quarterdeck.server.store import Authentication, Hooks
from quarterdeck.tools.builtin.addresses import guarded, is_public

_LONGEST_URL = 2000
_LOOKUP_SECONDS = 3.0
_KEY_BYTES = range(24, 65)  # Standard Webhooks


class Refused(NamedTuple):
    """A field of a kickoff that cannot be accepted, and why."""

    field: str
    message: str


def check_url(url: str, dev: bool) -> None:
    """Checks the URL of a webhook; its host's name is looked up, which may take seconds.

    A name that is not known (yet) is let pass: what counts is the address that each connection is made to.

    Args:
        url: The URL.
        dev: Whether addresses that are not public may be used, and plain HTTP to this machine.

    Raises:
        ConfigError: It may not be used.
    """
    scheme, host, port = _parts(url)
    if scheme == "http" and not dev:
        raise ConfigError("must be an https:// URL (plain http is for this machine, with --dev)")
    for address in _addresses(host, port):
        if scheme == "http" and not _is_loopback(address):
            raise ConfigError("must be an https:// URL: with --dev, plain http may go to this machine only")
        if not (dev or is_public(address)):
            raise ConfigError("leads to an address that is not public (private, loopback or link-local)")


def origin(url: str) -> str:
    """Scheme, host and port: whom a request goes to."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


def socket_factory(scheme: str, dev: bool) -> Callable[[tuple[Any, ...]], socket.socket]:
    """Makes the sockets for URLs of a scheme, and refuses there what ``check_url`` refuses."""

    def permits(host: str) -> bool:
        return dev and (scheme == "https" or _is_loopback(host))

    return guarded(permits, ConfigError)


async def check_hooks(hooks: Hooks, dev: bool) -> list[Refused]:
    """What is wrong with the webhooks of a kickoff; nothing where they can be accepted.

    Args:
        hooks: The webhooks.
        dev: See ``check_url``.
    """
    urls: dict[str, list[str]] = {}
    found: list[Refused] = []
    for hook in _hooks(hooks):
        urls.setdefault(hook.url, []).append(hook.url_field)
        found += [Refused(f"{hook.field}.authentication", why) for why in _bad_access(hook.access)]
        if hook.secret:
            try:
                key_of(hook.secret)
            except ConfigError as error:
                found.append(Refused(f"{hook.field}.secret", str(error)))
    reasons = await asyncio.gather(*(_reason(url, dev) for url in urls))
    for fields, reason in zip(urls.values(), reasons, strict=True):
        found += [Refused(field, reason) for field in fields if reason]
    return found


def key_of(secret: str) -> bytes:
    """The key that a secret stands for.

    Args:
        secret: 24 to 64 bytes in base64, with or without ``whsec_`` before them (Standard Webhooks).

    Raises:
        ConfigError: It is none.
    """
    text = secret.removeprefix("whsec_")
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        key = b""
    if len(key) not in _KEY_BYTES:
        raise ConfigError("must be 24 to 64 random bytes in base64, with whsec_ before them")
    return key


def _parts(url: str) -> tuple[str, str, int]:
    if len(url) > _LONGEST_URL or any(char.isspace() or not char.isprintable() for char in url):
        raise ConfigError(f"must be a URL of at most {_LONGEST_URL} characters, without spaces")
    try:
        parts = urlsplit(url)
        port = parts.port
        host = (parts.hostname or "").encode("idna").decode() if ":" not in (parts.hostname or "") else parts.hostname
    except ValueError:  # a bad port, a bad IPv6 address, a name that cannot be one
        raise ConfigError("must be a URL such as https://example.com/hook") from None
    if parts.scheme not in ("http", "https") or not host or port == 0 or "\\" in url:
        raise ConfigError("must be a URL such as https://example.com/hook")
    if "@" in parts.netloc:
        raise ConfigError("must have no user name or password in it: give them as authentication")
    return parts.scheme, host, port or (443 if parts.scheme == "https" else 80)


def _addresses(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return [str(address[0]) for *_, address in found]


def _is_loopback(host: str) -> bool:
    address = ipaddress.ip_address(host.split("%", 1)[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


async def _reason(url: str, dev: bool) -> str:
    try:
        async with asyncio.timeout(_LOOKUP_SECONDS):
            await call_in_thread(check_url, url, dev)
    except ConfigError as error:
        return str(error)
    except TimeoutError:  # as for a name that is not known
        pass
    return ""


class _Hook(NamedTuple):
    field: str
    url_field: str
    url: str
    access: Authentication | None = None
    secret: str = ""


def _hooks(hooks: Hooks) -> list[_Hook]:
    plain = {"taskWebhookUrl": hooks.task_url, "stepWebhookUrl": hooks.step_url, "crewWebhookUrl": hooks.crew_url}
    found = [_Hook(field, field, url) for field, url in plain.items() if url]
    if hooks.human_input:
        name = "humanInputWebhook"
        found.append(_Hook(name, f"{name}.url", hooks.human_input.url, hooks.human_input.authentication))
    for number, stream in enumerate(hooks.streams):
        name = "webhooks" if len(hooks.streams) == 1 else f"webhooks.{number}"
        found.append(_Hook(name, f"{name}.url", stream.url, stream.authentication, stream.secret))
    return found


def _bad_access(given: Authentication | None) -> list[str]:
    if given is None:
        return []
    if not all(text.isprintable() for text in (given.token, given.username, given.password)):
        return ["must be of printable characters"]
    if given.strategy == "bearer" and not given.token:
        return ["needs a token: the strategy is bearer"]
    if given.strategy == "basic" and (not given.username or ":" in given.username):
        return ["needs a username without a colon: the strategy is basic"]
    return []
