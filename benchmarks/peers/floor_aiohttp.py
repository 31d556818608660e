"""Floor: plain aiohttp, which has an async form only."""

from __future__ import annotations

from typing import Any

from . import _floor
from ._floor import build_one  # noqa: F401

IMPORTS = "import aiohttp"
DISTRIBUTIONS = ["aiohttp"]

session: Any = None


def setup(url: str) -> None:
    global endpoint
    endpoint = f"{url}/chat/completions"


async def call(body: dict[str, Any]) -> dict[str, Any]:
    global session
    if session is None:
        import aiohttp

        session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1000))
    async with session.post(endpoint, json=body) as response:
        return (await response.json())["choices"][0]["message"]


async def run_async(topic: str) -> str:
    return await _floor.adrive(call, topic)
