"""A whole run at CrewAI AMP's service, from the shell: its own paths, words and forms, and nothing that is ours."""

from __future__ import annotations

import asyncio
import re
import sys
from typing import Any

import pytest
from aiohttp import web

from quarterdeck.cli import main

RUN = "9e2f3b1c-6a54-4c1e-8f0d-0d2a4b7c1e55"
TOKEN = "amp-token"


class Amp:
    """AMP's service, as its clients have found it to answer: ``state`` in Celery's words, ``result`` a text."""

    def __init__(self) -> None:
        self.states = iter([{"state": "PENDING"}, {"state": "STARTED", "last_step": {"result": "…"}}])
        self.end: dict[str, Any] = {
            "state": "SUCCESS",
            "status": "SUCCESS",
            "result": "The report.",
            "result_json": None,
            "last_executed_task": {"name": "report", "agent": "Writer", "output": "The report."},
        }

    async def __call__(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.json_response({"error": "Unauthorized", "message": "Invalid or missing token"}, status=401)
        match request.method, request.path:
            case "GET", "/inputs":
                return web.json_response({"inputs": ["topic"]})
            case "POST", "/kickoff":
                body = await request.json()
                if "topic" in body["inputs"]:
                    return web.json_response({"kickoff_id": RUN})
                details = {"missing_inputs": ["topic"]}
                text = {"error": "Validation Error", "message": "Required inputs missing", "details": details}
                return web.json_response(text, status=422)
            case "GET", path if path == f"/status/{RUN}":
                return web.json_response(next(self.states, self.end))
            case _:
                return web.json_response({"error": "Not Found", "message": "no such thing"}, status=404)


@pytest.fixture
def shell(script: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command in a thread, while the service answers on this loop."""
    monkeypatch.setenv("QUARTERDECK_URL", script.url)
    monkeypatch.setenv("QUARTERDECK_TOKEN", TOKEN)
    monkeypatch.setattr("quarterdeck.client.client.POLL_SECONDS", 0.1)

    async def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["quarterdeck", *arguments])
        with pytest.raises(SystemExit) as caught:
            await asyncio.to_thread(main)
        said = capsys.readouterr()
        return int(caught.value.code or 0), said.out, said.err

    return run


async def test_a_run_that_succeeds(script: Any, shell: Any) -> None:
    script.answers(Amp())
    code, out, err = await shell("kickoff", "--input", "topic=tides", "--wait")
    assert (code, out) == (0, "The report.\n")
    assert err.splitlines() == [f"run {RUN}", "queued", "running"]


async def test_a_run_that_fails(script: Any, shell: Any) -> None:
    amp = Amp()
    amp.end = {"state": "FAILED", "result": None, "error": "The model is gone"}
    script.answers(amp)
    code, out, err = await shell("kickoff", "--input", "topic=tides", "--wait")
    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == f"quarterdeck: run {RUN} ended as error: The model is gone"


async def test_refusals(script: Any, shell: Any) -> None:
    """And what AMP does not have: a clear no."""
    script.answers(Amp())
    for arguments, says in (
        (("kickoff",), r"422: Validation Error: Required inputs missing \(missing: topic\)"),
        (("status", "unknown"), "404: Not Found: no such thing"),
        (("status", RUN, "--token", "other"), "401: Unauthorized: Invalid or missing token"),
        (("events", RUN), "404: Not Found"),
        (("cancel", RUN), "404: Not Found"),
    ):
        code, out, err = await shell(*arguments)
        assert (code, out) == (2, "")
        assert re.search(says, err), err
