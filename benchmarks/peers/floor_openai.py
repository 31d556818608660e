"""Floor: OpenAI's own SDK."""

from __future__ import annotations

from typing import Any

from . import KEY, _floor
from ._floor import build_one  # noqa: F401

IMPORTS = "from openai import OpenAI, AsyncOpenAI"
DISTRIBUTIONS = ["openai"]


def setup(url: str) -> None:
    global client, async_client
    from openai import AsyncOpenAI, OpenAI

    client, async_client = OpenAI(base_url=url, api_key=KEY), AsyncOpenAI(base_url=url, api_key=KEY)


def plain(message: Any) -> dict[str, Any]:
    calls = [
        {"id": c.id, "type": "function", "function": {"name": c.function.name, "arguments": c.function.arguments}}
        for c in message.tool_calls or ()
    ]
    return {"content": message.content, "tool_calls": calls}


def call(body: dict[str, Any]) -> dict[str, Any]:
    return plain(client.chat.completions.create(**body).choices[0].message)


async def acall(body: dict[str, Any]) -> dict[str, Any]:
    return plain((await async_client.chat.completions.create(**body)).choices[0].message)


def run_sync(topic: str) -> str:
    return _floor.drive(call, topic)


async def run_async(topic: str) -> str:
    return await _floor.adrive(acall, topic)
