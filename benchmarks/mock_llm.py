"""A model that costs nothing: OpenAI's chat completions on 127.0.0.1, the same answers every time.

A request with tools and no tool result yet is answered with a call of the first tool, its arguments made up from the
JSON Schema; any other one with a text. The latency is in the path: ``/d50/v1`` waits 50 ms before each answer.
``GET /stats`` gives counters, ``POST /reset`` zeroes them.

    python benchmarks/mock_llm.py [--port 0] [--ready-file FILE]

It is a bare asyncio protocol, on uvloop where that is installed, so that it is never what is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import resource
from pathlib import Path
from typing import Any

COUNTERS = (
    "requests",
    "tool_calls",
    "streams",
    "prompt_tokens",
    "completion_tokens",
    "request_bytes",
    "connections",
    "errors",
    "in_flight",
    "max_in_flight",
)
ANSWER = "The data shows a steady trend with clear causes and three findings worth acting on. " * 2
_DELAY = re.compile(r"^/d(\d+)(/.*)$")


def sample(schema: Any, root: dict[str, Any], n: int, name: str = "value") -> Any:
    """A value that fits a (simple) JSON Schema."""
    if "$ref" in schema:
        node: Any = root
        for part in schema["$ref"].lstrip("#/").split("/"):
            node = node[part]
        return sample(node, root, n, name)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    for key in ("anyOf", "oneOf", "allOf"):
        if schema.get(key):
            options = [option for option in schema[key] if option.get("type") != "null"]
            return sample(options[0], root, n, name)
    if "properties" in schema:
        needed = schema.get("required") or list(schema["properties"])
        return {key: sample(schema["properties"][key], root, n, key) for key in needed}
    simple = {"integer": 1, "number": 1.0, "boolean": True, "null": None, "object": {}, "array": []}
    return simple.get(schema.get("type"), f"{name}-{n}")


def text_of(message: dict[str, Any]) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


class Model:
    """What the answers are, and what has been asked."""

    def __init__(self) -> None:
        self.stats: dict[str, int] = {}
        self.reset()

    def reset(self) -> None:
        self.stats = dict.fromkeys(COUNTERS, 0)

    def _message(self, request: dict[str, Any]) -> tuple[dict[str, Any], str, int]:
        """The answer's message, why it ends, and its tokens."""
        messages, tools, n = request["messages"], request.get("tools"), self.stats["requests"]
        if tools and not any(message["role"] == "tool" for message in messages):
            function = tools[0]["function"]
            schema = function.get("parameters") or {"type": "object"}
            arguments = json.dumps(sample(schema, schema, n))
            self.stats["tool_calls"] += 1
            call = {"name": function["name"], "arguments": arguments}
            calls = [{"id": f"call_{n:08d}", "type": "function", "function": call}]
            return {"role": "assistant", "content": None, "tool_calls": calls}, "tool_calls", len(arguments) // 4 + 1
        form = request.get("response_format") or {}
        if form.get("type") == "json_schema":
            schema = form["json_schema"]["schema"]
            text = json.dumps(sample(schema, schema, n))
        else:
            text = f"Answer {n}: {ANSWER[:160]}"
            if not tools and any("Final Answer:" in text_of(message) for message in messages):
                text = f"Thought: I now can give a great answer\nFinal Answer: {text}"
        return {"role": "assistant", "content": text}, "stop", len(text) // 4 + 1

    def complete(self, request: dict[str, Any]) -> tuple[bytes, bytes]:
        """Content type and body of the answer. A token is four characters of the messages' texts."""
        self.stats["requests"] += 1
        message, finish, completion = self._message(request)
        prompt = sum(len(text_of(message)) for message in request["messages"]) // 4 + 1
        self.stats["prompt_tokens"] += prompt
        self.stats["completion_tokens"] += completion
        usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
        base = {"id": f"chatcmpl-{self.stats['requests']:08d}", "created": 1700000000, "model": request["model"]}
        if request.get("stream"):
            return b"text/event-stream", self._stream(base, message, finish, usage, request)
        choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": None}
        body = {**base, "object": "chat.completion", "usage": usage, "choices": [choice]}
        return b"application/json", json.dumps(body).encode()

    def _stream(
        self,
        base: dict[str, Any],
        message: dict[str, Any],
        finish: str,
        usage: dict[str, int],
        request: dict[str, Any],
    ) -> bytes:
        self.stats["streams"] += 1
        words = (message["content"] or "").split(" ")
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
        deltas += [{"tool_calls": [{"index": i, **call}]} for i, call in enumerate(message.get("tool_calls") or ())]
        if message["content"]:  # about ten tokens an event
            pieces = [" ".join(words[i : i + 8]) for i in range(0, len(words), 8)]
            deltas += [{"content": piece if i == 0 else f" {piece}"} for i, piece in enumerate(pieces)]
        choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
        choices.append({"index": 0, "delta": {}, "finish_reason": finish})
        base = {**base, "object": "chat.completion.chunk"}
        events = [{**base, "choices": [choice]} for choice in choices]
        if (request.get("stream_options") or {}).get("include_usage"):
            events.append({**base, "choices": [], "usage": usage})
        return "".join(f"data: {json.dumps(event)}\n\n" for event in events).encode() + b"data: [DONE]\n\n"


class Http(asyncio.Protocol):
    """As much of HTTP/1.1 as clients of models need."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._buffer = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._model.stats["connections"] += 1

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].split(b"\r\n")
            lengths = [int(line[15:]) for line in head[1:] if line[:15].lower() == b"content-length:"]
            stop = end + 4 + (lengths[0] if lengths else 0)
            if len(self._buffer) < stop:
                return
            body, self._buffer = self._buffer[end + 4 : stop], self._buffer[stop:]
            self._handle(head[0].decode().split(" ")[1], body)

    def _handle(self, path: str, body: bytes) -> None:
        stats, found = self._model.stats, _DELAY.match(path)
        if path == "/stats":
            used = resource.getrusage(resource.RUSAGE_SELF)
            self._send(b"application/json", json.dumps({**stats, "cpu_s": used.ru_utime + used.ru_stime}).encode())
        elif path == "/reset":
            self._model.reset()
            self._send(b"application/json", b"{}")
        elif not path.endswith("/chat/completions"):
            stats["errors"] += 1
            self._send(b"application/json", b'{"error":{"message":"not found"}}', b"404 Not Found")
        else:
            stats["request_bytes"] += len(body)
            stats["in_flight"] += 1
            stats["max_in_flight"] = max(stats["max_in_flight"], stats["in_flight"])
            answer = self._model.complete(json.loads(body))
            if found and found[1] != "0":
                self._loop.call_later(int(found[1]) / 1000, self._finish, *answer)
            else:
                self._finish(*answer)

    def _finish(self, kind: bytes, body: bytes) -> None:
        self._model.stats["in_flight"] -= 1
        self._send(kind, body)

    def _send(self, kind: bytes, body: bytes, status: bytes = b"200 OK") -> None:
        if not self._transport.is_closing():
            head = b"HTTP/1.1 %b\r\ncontent-type: %b\r\ncontent-length: %d\r\nconnection: keep-alive\r\n\r\n"
            self._transport.write(head % (status, kind, len(body)) + body)


async def serve(port: int, ready_file: Path | None) -> None:
    model = Model()
    server = await asyncio.get_running_loop().create_server(lambda: Http(model), "127.0.0.1", port, backlog=4096)
    port = server.sockets[0].getsockname()[1]
    if ready_file:
        ready_file.write_text(str(port))  # noqa: ASYNC240 - nothing else runs yet
    print(f"http://127.0.0.1:{port}", flush=True)
    async with server:
        await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--ready-file", type=Path)
    arguments = parser.parse_args()
    try:
        import uvloop
    except ImportError:
        asyncio.run(serve(arguments.port, arguments.ready_file))
    else:
        uvloop.run(serve(arguments.port, arguments.ready_file))


if __name__ == "__main__":
    main()
