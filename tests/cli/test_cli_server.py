"""The commands against a real server process: what they print, and how they exit."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from quarterdeck.cli import main
from quarterdeck.client import AsyncClient

CREWS = """
from quarterdeck import Agent, Crew, Task
from quarterdeck.errors import BadRequestError
from quarterdeck.testing import ScriptedLLM, after


def answer(request):
    text = str(request.messages[-1]["content"])
    if "impossible" in text:
        return BadRequestError("no such thing")
    said = text.partition("said: ")[2].partition("\\n")[0]
    return after(30, "late") if "slow" in text else f"about {text.split()[1]}{f' ({said})' if said else ''}"


agent = Agent(role="Writer", goal="Write", llm=ScriptedLLM(by=answer))
writers = Crew(tasks=[
    Task(name="outline", description="Outline {topic} well", expected_output="e", agent=agent),
    Task(name="text", description="Write {topic} well", expected_output="e", agent=agent, context=[]),
])
asking = Crew(tasks=[
    Task(name="plan", description="Plan {topic} well", expected_output="e", agent=agent, human_input=True),
])
"""
TOKEN = "shell-token"


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


Command = Callable[..., Ended]


@pytest.fixture(scope="module")
def urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The crews' base URLs at a real server."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "crews.py").write_text(CREWS)
    command = [sys.executable, "-m", "quarterdeck", "serve", "--port", "0"]
    command += ["writers@1=crews.py:writers", "asking@1=crews.py:asking"]
    process = subprocess.Popen(
        command, cwd=folder, env={**os.environ, "QUARTERDECK_TOKEN": TOKEN}, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    try:
        said = ""
        while "API:" not in said and process.poll() is None:
            said += process.stdout.readline()
        yield dict(re.findall(r"^Crew (\w+)@1: (http://\S+)$", said, re.MULTILINE))
    finally:
        process.send_signal(signal.SIGTERM)
        process.stdout.close()
        process.wait(30)


@pytest.fixture
def run(urls: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command, as typed, with the writers' URL and the token in the environment."""
    monkeypatch.setenv("QUARTERDECK_URL", urls["writers"])
    monkeypatch.setenv("QUARTERDECK_TOKEN", TOKEN)

    def run(*arguments: str, stdin: str = "") -> Ended:
        monkeypatch.setattr(sys, "argv", ["quarterdeck", *arguments])
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        with pytest.raises(SystemExit) as caught:
            main()
        said = capsys.readouterr()
        return Ended(int(caught.value.code or 0), said.out, said.err)

    return run


def test_kickoff_status_events(run: Command, tmp_path: Path) -> None:
    """The id goes to stdout, for the next command; so does the output, when it is waited for."""
    inputs = tmp_path / "inputs.json"
    inputs.write_text('{"topic": "tides", "more": [1]}')
    code, out, err = run("kickoff", "--inputs", str(inputs), "--key", "k1")
    assert (code, err) == (0, "")
    kickoff_id = out.strip()
    assert run("status", kickoff_id, "--wait")[:2] == (0, "about tides\n")
    code, out, _ = run("status", kickoff_id)
    assert code == 0
    assert re.fullmatch(r"completed, after \d+\.\d s\n\nabout tides\n", out)
    assert json.loads(run("status", kickoff_id, "--json").out)["inputs"] == {"topic": "tides", "more": [1]}

    again = run("kickoff", "--inputs", "-", "--key", "k1", "--wait", stdin=inputs.read_text())
    assert again[:2] == (0, "about tides\n")
    assert f"run {kickoff_id}\n" in again.err

    code, out, _ = run("events", kickoff_id)
    assert code == 0
    assert "task.finished" in out
    assert re.search(r"run\.started +crew\n", out)
    assert out.endswith("the run is completed\n")
    code, out, _ = run("events", kickoff_id, "--types", "task.finished", "--json")
    assert [json.loads(line)["task"] for line in out.splitlines()] == ["outline", "text"]


def test_inputs_of_the_command_line_go_first(run: Command) -> None:
    given = '{"topic": "tides", "n": 1}'
    code, out, _ = run("kickoff", "--inputs", "-", "--input", "topic=a=b", "--wait", "--json", stdin=given)
    assert code == 0
    assert json.loads(out)["inputs"] == {"topic": "a=b", "n": 1}


def test_a_person_answers(run: Command, urls: dict[str, str]) -> None:
    """With --wait the question is shown and the exit code says so; feedback sends the task back; approval ends it."""
    at = ("--url", urls["asking"])
    code, out, err = run("kickoff", *at, "--input", "topic=tides", "--wait")
    kickoff_id = err.split()[1]
    assert (code, out) == (4, "")
    assert "about tides" in err
    assert f"quarterdeck resume {kickoff_id} plan --approve" in err
    code, out, _ = run("status", *at, kickoff_id)
    assert code == 0
    assert out.startswith("pending_human_input, 0 of 1 tasks done")

    assert run("resume", *at, kickoff_id, "plan").code == 2  # neither
    refused = run("resume", *at, kickoff_id, "other", "--approve")
    assert refused.code == 2
    assert "no question of a task 'other'" in refused.err
    assert run("resume", *at, kickoff_id, "plan", "--feedback", "shorter")[:2] == (0, "retrying\n")
    assert run("status", *at, kickoff_id, "--wait").code == 4
    assert run("resume", *at, kickoff_id, "plan", "--approve")[:2] == (0, "resumed\n")
    code, out, _ = run("status", *at, kickoff_id, "--wait")
    assert (code, out.startswith("about tides")) == (0, True)
    assert "409" in run("resume", *at, kickoff_id, "plan", "--feedback", "too late").err


async def test_events_go_on_through_connections_that_break(urls: dict[str, str]) -> None:
    """Every 1500 bytes, in the middle of whatever is sent: no gap, no repeat."""
    address = urlsplit(urls["writers"])
    connections = 0

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        answers, requests = await asyncio.open_connection(address.hostname, address.port)
        try:
            requests.write(await reader.readuntil(b"\r\n\r\n"))
            left = 1500
            while left and (data := await answers.read(left)):
                writer.write(data)
                left -= len(data)
        finally:
            for end in (requests, writer):
                end.close()
                with contextlib.suppress(ConnectionError):
                    await end.wait_closed()

    direct = AsyncClient(urls["writers"], TOKEN)
    kickoff_id = await direct.kickoff({"topic": "tides"})
    assert (await direct.wait(kickoff_id)).state == "completed"
    whole = [event async for event in direct.events(kickoff_id)]
    async with await asyncio.start_server(forward, "127.0.0.1", 0) as proxy:
        url = f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}{address.path}"
        pieces = [event async for event in AsyncClient(url, TOKEN).events(kickoff_id)]
    assert pieces == whole
    assert [event.id for event in whole if event.id] == list(range(1, len(whole)))
    assert connections > 1


def test_a_run_that_fails(run: Command) -> None:
    code, out, err = run("kickoff", "--input", "topic=impossible", "--wait")
    kickoff_id = err.split()[1]
    assert (code, out) == (1, "")
    assert re.search(rf"quarterdeck: run {kickoff_id} ended as error: .*no such thing", err)
    code, out, _ = run("status", kickoff_id)
    assert code == 1
    assert out.startswith("error, after")


def test_cancel_and_timeout(run: Command) -> None:
    kickoff_id = run("kickoff", "--input", "topic=slow").out.strip()
    code, out, err = run("status", kickoff_id, "--wait", "--timeout", "0")
    assert (code, out) == (4, "")
    assert "has not ended within 0 s" in err
    assert run("cancel", kickoff_id).code == 0
    code, _, err = run("status", kickoff_id, "--wait")
    assert code == 1
    assert f"run {kickoff_id} ended as cancelled" in err
    assert run("cancel", kickoff_id).out.startswith("cancelled")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("status", "nope"), 2, "404: Execution not found"),
        (("events", "nope"), 2, "404: Execution not found"),
        (("cancel", "nope"), 2, "404: Execution not found"),
        (("resume", "nope", "plan", "--approve"), 2, "404: Execution not found"),
        (("status", "nope", "--token", "wrong"), 2, "401: Unauthorized: the token is not valid"),
        (("kickoff", "--token", "wrong"), 2, "401: Unauthorized"),
        (("kickoff",), 2, "422: Validation Error: the inputs do not fit: topic: is required"),
        (("kickoff", "--input", "topic"), 2, "--input must be NAME=VALUE"),
        (("kickoff", "--inputs", "none.json"), 2, "there is no file none.json"),
        (("kickoff", "--inputs", "-"), 2, "--inputs -, line 1: "),
        (("kickoff", "--url", "http://127.0.0.1:1"), 3, "http://127.0.0.1:1: no connection: Connection refused"),
        (("status", "x", "--url", "localhost"), 2, "base_url must be a crew's base URL"),
        (("events", "x", "--url", "http://x", "--journal", "y"), 2, "give --url or --journal, not both"),
        (("events", "x", "--journal", "none.db"), 2, "there is no journal 'none.db'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_is_wrong_is_one_line(run: Command, arguments: tuple[str, ...], code: int, says: str) -> None:
    ended = run(*arguments)
    assert (ended.code, ended.out) == (code, "")
    assert ended.err.startswith("quarterdeck: ")
    assert says in ended.err
    assert ended.err.count("\n") == 1
    assert TOKEN not in ended.err


def test_a_server_without_the_url_and_token_of_the_environment(
    run: Command, urls: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("QUARTERDECK_URL")
    monkeypatch.delenv("QUARTERDECK_TOKEN")
    assert "send the header Authorization" in run("status", "x", "--url", urls["writers"]).err
    assert run("status", "x", "--url", urls["writers"], "--token", TOKEN).err.count("404") == 1


def test_a_port_that_is_taken(run: Command, urls: dict[str, str], tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "crews.py").write_text(CREWS)
    monkeypatch.chdir(tmp_path)
    port = urls["writers"].split(":")[2].partition("/")[0]
    ended = run("serve", "crews.py:writers", "--port", port)
    assert ended.code == 2
    assert f"cannot listen on 127.0.0.1, port {port}: Address already in use" in ended.err


def test_db(run: Command, journal_url: str) -> None:
    """Looking changes nothing; bringing up to date twice is once."""
    for _ in range(2):
        code, out, _ = run("db", "check", "--database", journal_url)
        assert code == 1
        assert out.startswith("the database has no tables")
    code, out, _ = run("db", "upgrade", "--database", journal_url)
    assert code == 0
    assert re.fullmatch(r"made to version \d+\n", out)
    assert run("db", "upgrade", "--database", journal_url).out.startswith("up to date")
    assert run("db", "check", "--database", journal_url)[0] == 0
    ended = run("db", "upgrade", "--database", "mysql://x")
    assert ended.code == 2
    assert ended.err.startswith("quarterdeck: ")
