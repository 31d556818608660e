"""The six calls with no framework: what a framework's cost is measured against."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Generator
from typing import Any

from . import BACKSTORY, MODEL, TASKS, lookup_text

TOOL = {
    "type": "function",
    "function": {
        "name": "lookup",
        "description": "Look up a record.",
        "parameters": {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]},
    },
}


def turns(topic: str) -> Generator[dict[str, Any], dict[str, Any], str]:
    """Yields each call's body, is sent the message it was answered with, and returns the last text."""
    context = ""
    for role, goal, description, expected in TASKS:
        prompt = f"{description.format(topic=topic)}\nExpected output: {expected}"
        messages: list[dict[str, Any]] = [
            {"role": "system", "content": f"You are {role}. Your goal: {goal}. {BACKSTORY}"},
            {"role": "user", "content": f"{prompt}\nContext:\n{context}" if context else prompt},
        ]
        while True:
            message = yield {"model": MODEL, "messages": messages, "tools": [TOOL]}
            calls = message.get("tool_calls")
            if not calls:
                context = message["content"]
                break
            messages.append({"role": "assistant", "content": None, "tool_calls": calls})
            for call in calls:
                result = lookup_text(**json.loads(call["function"]["arguments"]))
                messages.append({"role": "tool", "tool_call_id": call["id"], "content": result})
    return context


def drive(call: Callable[[dict[str, Any]], dict[str, Any]], topic: str) -> str:
    work = turns(topic)
    body = next(work)
    try:
        while True:
            body = work.send(call(body))
    except StopIteration as end:
        return end.value


async def adrive(call: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]], topic: str) -> str:
    work = turns(topic)
    body = next(work)
    try:
        while True:
            body = work.send(await call(body))
    except StopIteration as end:
        return end.value


def build_one() -> dict[str, Any]:
    return next(turns("x"))
