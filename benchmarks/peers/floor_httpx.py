"""Floor: plain httpx."""

from __future__ import annotations

from typing import Any

from . import _floor
from ._floor import build_one  # noqa: F401

IMPORTS = "import httpx"
DISTRIBUTIONS = ["httpx"]


def setup(url: str) -> None:
    global endpoint, client, async_client
    import httpx

    endpoint = f"{url}/chat/completions"
    limits = httpx.Limits(max_connections=1000, max_keepalive_connections=1000)
    client, async_client = httpx.Client(timeout=60, limits=limits), httpx.AsyncClient(timeout=60, limits=limits)


def call(body: dict[str, Any]) -> dict[str, Any]:
    return client.post(endpoint, json=body).json()["choices"][0]["message"]


async def acall(body: dict[str, Any]) -> dict[str, Any]:
    return (await async_client.post(endpoint, json=body)).json()["choices"][0]["message"]


def run_sync(topic: str) -> str:
    return _floor.drive(call, topic)


async def run_async(topic: str) -> str:
    return await _floor.adrive(acall, topic)
