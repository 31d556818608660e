"""The server's processes: AMP's webhooks from kickoff to the end, and what a kill -9 leaves to be sent.

On SQLite one process serves and works, on PostgreSQL ``quarterdeck serve --no-worker`` and ``quarterdeck worker``.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from standardwebhooks import Webhook
from tests.server.webhooks.conftest import Got, Receiver

from quarterdeck.server.store import Store
from quarterdeck.server.webhooks import new_secret
from quarterdeck.testing import LoopbackServer, call

CREWS = """
from quarterdeck import LLM, Agent, Crew, Task
from quarterdeck.tools import tool

@tool
def lookup(word: str) -> str:
    \"\"\"Looks a word up.

    Args:
        word: The word.
    \"\"\"
    return f"{{word}}: found"

model = LLM("openai/gpt-4o-mini", base_url={url!r}, api_key="k")
writer = Agent(role="Writer", goal="write", backstory="brief", llm=model, tools=[lookup])
research = Task(name="research", description="Look up {{topic}}", expected_output="facts", agent=writer)
text = Task(name="text", description="Write about {{topic}}", expected_output="a text", agent=writer)
report = Crew(name="report", tasks=[research, text])
plan = Task(name="plan", description="Plan {{topic}}", expected_output="a plan", agent=writer, human_input=True)
asking = Crew(name="asking", tasks=[plan])
"""
AMP = {
    "step": {"prompt", "thought", "tool", "tool_input", "result"},
    "task": {"description", "name", "expected_output", "summary", "agent", "output", "output_json"},
    "crew": {"result", "result_json", "token_usage", "status", "error"},
    "human_input": {"execution_id", "task_id", "agent", "output", "question"},
}
OURS = {"kickoff_id", "meta", "type", "seq", "timestamp"}
TOKEN = "a-token"
META = {"userId": "u1", "nested": {"a": [1]}}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Service:
    """The processes and what they are asked."""

    def __init__(self, database: str, crews: Path, secrets: str) -> None:
        self.port = free_port()
        self.shown = ""
        common = [f"report@1={crews}:report", f"asking@1={crews}:asking", "--database", database, "--dev"]
        limits = ["--run-seconds", "60", "--question-seconds", "3600", "--question-default", "cancel"]
        self._commands = [["serve", *common, "--port", str(self.port), *limits]]
        if "://" in database:
            self._commands[0].append("--no-worker")
            self._commands.append(["worker", *common])
        given = {"QUARTERDECK_TOKEN": TOKEN} | ({"QUARTERDECK_WEBHOOK_SECRET": secrets} if secrets else {})
        self._environment = {k: v for k, v in os.environ.items() if not k.startswith("QUARTERDECK")} | given
        self._processes: list[asyncio.subprocess.Process] = []
        self._session = aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"})

    async def start(self) -> None:
        """Returns when it takes work."""
        self._processes = [
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "quarterdeck", *command), env=self._environment, stdout=asyncio.subprocess.PIPE
            )
            for command in self._commands
        ]
        output = self._processes[0].stdout
        assert output
        self.shown = ""
        async with asyncio.timeout(60):
            while "API: " not in self.shown:
                line = await output.readline()
                assert line, f"it has ended: {self.shown}"
                self.shown += line.decode()
            while not await self._is_ready():  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    async def _is_ready(self) -> bool:
        try:
            async with self._session.get(f"http://127.0.0.1:{self.port}/health/ready") as response:
                return response.status == 200
        except aiohttp.ClientError:
            return False

    async def end(self, how: signal.Signals) -> None:
        for process in self._processes:
            process.send_signal(how)
        for process in self._processes:
            code = await asyncio.wait_for(process.wait(), 40)
            assert code in ((0, -how) if how == signal.SIGTERM else (-how,))

    async def close(self) -> None:
        await self._session.close()
        for process in self._processes:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        async with self._session.request(method, f"http://127.0.0.1:{self.port}{path}", json=body) as response:
            answer = await response.json()
            assert response.status == 200, answer
            return answer

    async def kickoff(self, crew: str, **hooks: Any) -> str:
        body = {"inputs": {"topic": "tides"}, "meta": META} | hooks
        return (await self.ask("POST", f"/crews/{crew}/kickoff", body))["kickoff_id"]

    async def reaches(self, crew: str, run_id: str, state: str) -> None:
        async with asyncio.timeout(30):
            while (await self.ask("GET", f"/crews/{crew}/{run_id}/status"))["status"] != state:  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    async def deliveries(self, state: str) -> list[dict[str, Any]]:
        return (await self.ask("GET", f"/admin/deliveries?state={state}"))["deliveries"]


def answer(request: Any) -> Any:
    """Looks up first, where that is the task."""
    words = str(request.messages[-1]["content"])
    return call("lookup", word="tides") if "Look up" in words else f"about {words.split()[1]}"


@pytest.fixture
def model() -> Iterator[LoopbackServer]:
    with LoopbackServer(by=answer) as model:
        yield model


@pytest.fixture
def secrets(journal_url: str) -> str:
    """On PostgreSQL two given ones, the new and the old; on SQLite the one that the server makes."""
    return f"{new_secret()} {new_secret()}" if "://" in journal_url else ""


@pytest.fixture
async def service(journal_url: str, secrets: str, tmp_path: Path, model: LoopbackServer) -> AsyncIterator[Service]:
    (tmp_path / "crews.py").write_text(CREWS.format(url=model.base_url))
    service = Service(journal_url, tmp_path / "crews.py", secrets)
    yield service
    await service.close()


def verifier(service: Service, secrets: str) -> Callable[[Got], dict[str, Any]]:
    """Verifies a request with each secret; gives its body."""
    known = secrets.split() or [service.shown.partition("Webhook secret: ")[2].split()[0]]

    def verified(got: Got) -> dict[str, Any]:
        (body, *others) = [Webhook(secret).verify(got.raw, got.headers) for secret in known]
        assert others in ([], [body])
        return body

    return verified


async def test_amps_webhooks(
    service: Service, secrets: str, receiver: Receiver, journal_url: str, tmp_path: Path
) -> None:
    await service.start()
    if not secrets:
        assert stat.S_IMODE((tmp_path / "webhook.secret").stat().st_mode) == 0o600
    verified = verifier(service, secrets)
    url = f"{receiver.url}/all"
    run_id = await service.kickoff("report", stepWebhookUrl=url, taskWebhookUrl=url, crewWebhookUrl=url)
    await receiver.until(lambda: [got for got in receiver.got if got.body["type"] == "crew"], 30)
    bodies = [verified(got) for got in receiver.got]
    assert [body["type"] for body in bodies] == ["step", "step", "task", "step", "task", "crew"]
    assert [body["seq"] for body in bodies] == sorted({body["seq"] for body in bodies})
    for body in bodies:
        assert set(body) == AMP[body["type"]] | OURS
        assert (body["kickoff_id"], body["meta"]) == (run_id, META)
    tool, *_ = bodies
    assert (tool["tool"], tool["tool_input"], tool["result"]) == ("lookup", '{"word": "tides"}', "tides: found")
    assert [body["name"] for body in bodies if body["type"] == "task"] == ["research", "text"]
    assert (bodies[-1]["status"], bodies[-1]["result"]) == ("completed", "about about")
    assert bodies[-1]["token_usage"]["total_tokens"] > 0

    receiver.got.clear()
    access = {"strategy": "bearer", "token": "t0"}
    asked_at = {"url": f"{receiver.url}/ask", "authentication": access}
    run_id = await service.kickoff("asking", humanInputWebhook=asked_at, crewWebhookUrl="", taskWebhookUrl=url)
    await receiver.until(lambda: receiver.at("/ask"), 30)
    (asked,) = receiver.at("/ask")
    body = verified(asked)
    assert set(body) == AMP["human_input"] | OURS
    assert asked.headers["authorization"] == "Bearer t0"
    answer = {name: body[name] for name in ("execution_id", "task_id")} | {"human_feedback": "", "is_approve": True}
    reply = await service.ask("POST", "/crews/asking/resume", answer | {"crewWebhookUrl": f"{receiver.url}/end"})
    assert reply["status"] == "resumed"
    await receiver.until(lambda: receiver.at("/end") and receiver.at("/all"), 30)
    assert verified(receiver.at("/end")[0])["status"] == "completed"
    assert verified(receiver.at("/all")[0])["name"] == "plan"

    store = await Store.open(journal_url)
    record = await store.get(run_id)
    await asyncio.to_thread(store.close)
    assert record
    assert (record.max_seconds, record.answer_seconds, record.default_action) == (60, 3600, "cancel")


async def test_killed_between_the_event_and_its_delivery(service: Service, secrets: str) -> None:
    """The receiver is away, the processes are killed; both come back, and everything comes, in order."""
    await service.start()
    verified = verifier(service, secrets)
    port = free_port()
    url = f"http://127.0.0.1:{port}/hook"
    runs = [await service.kickoff("report", taskWebhookUrl=url, crewWebhookUrl=url) for _ in range(3)]
    for run_id in runs:
        await service.reaches("report", run_id, "completed")
    async with asyncio.timeout(20):
        while len([item for item in await service.deliveries("pending") if item["tries"]]) < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    waiting = await service.deliveries("pending")
    assert len(waiting) == 9
    assert "ClientConnectorError" in "".join(item["last_error"] for item in waiting)
    await service.end(signal.SIGKILL)

    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/hook", receiver.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await service.start()
    for item in waiting:  # sooner than by itself, after 5 s
        await service.ask("POST", f"/admin/deliveries/{item['id']}/resend")
    await receiver.until(lambda: len({got.id for got in receiver.got}) == 9, 60)  # 20 s, had a request been under way
    seqs: dict[str, list[int]] = {run_id: [] for run_id in runs}
    for got in receiver.got:
        body = verified(got)
        if body["seq"] not in seqs[body["kickoff_id"]]:
            seqs[body["kickoff_id"]].append(body["seq"])
    for run_id in runs:
        assert len(seqs[run_id]) == 3
        assert seqs[run_id] == sorted(seqs[run_id])
    async with asyncio.timeout(20):
        while await service.deliveries("pending"):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert {item["id"] for item in await service.deliveries("delivered")} == {item["id"] for item in waiting}
    await runner.cleanup()
    await service.end(signal.SIGTERM)
