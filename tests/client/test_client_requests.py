"""What the client sends, when it sends it again, and what it says when it is refused."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from aiohttp import web

from quarterdeck.client import APIError, AsyncClient, Client
from quarterdeck.errors import ConfigError, InputError

RUN = "0197c0de-0000-7000-8000-000000000001"


def problem(status: int, error: str, message: str, headers: dict[str, str] | None = None, **more: Any) -> Any:
    """An error in AMP's form, made anew each time that it is sent."""

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"error": error, "message": message, **more}, status=status, headers=headers)

    return answer


async def test_inputs_and_kickoff(script: Any) -> None:
    script.answers({"inputs": ["budget", "topic"]}, {"kickoff_id": RUN})
    client = script.client()
    assert await client.inputs() == ["budget", "topic"]
    given = {"budget": "12 €", "topic": {"a": [1, None]}}
    assert await client.kickoff(given, meta={"userId": "u"}, crewWebhookUrl="https://x.example/h") == RUN
    first, second = script.got
    assert (first.method, first.path, first.headers["authorization"]) == ("GET", "/inputs", "Bearer user-token")
    assert (second.method, second.path) == ("POST", "/kickoff")
    assert second.body == {"inputs": given, "meta": {"userId": "u"}, "crewWebhookUrl": "https://x.example/h"}
    assert "idempotency-key" not in second.headers


async def test_resume_and_cancel(script: Any) -> None:
    script.answers({"status": "retrying", "message": "m"}, {"kickoff_id": RUN, "status": "cancelled"})
    client = script.client()
    assert await client.resume(RUN, "plan", approve=False, feedback="shorter", taskWebhookUrl="") == "retrying"
    assert (await client.cancel(RUN)).state == "cancelled"
    asked = {"execution_id": RUN, "task_id": "plan", "human_feedback": "shorter", "is_approve": False}
    assert script.got[0].body == {**asked, "taskWebhookUrl": ""}
    assert (script.got[1].method, script.got[1].path) == ("POST", f"/{RUN}/cancel")


@pytest.mark.parametrize("trouble", [None, problem(503, "Service Unavailable", "draining", {"Retry-After": "0"})])
async def test_a_kickoff_is_sent_again_with_its_key_only(script: Any, trouble: Any) -> None:
    script.answers(trouble, trouble, {"kickoff_id": RUN})
    assert await script.client().kickoff({}, key="order-7") == RUN
    assert [got.headers["idempotency-key"] for got in script.got] == ["order-7"] * 3
    script.answers(trouble, {"kickoff_id": RUN})
    with pytest.raises(APIError, match=r"the connection broke|503"):
        await script.client().kickoff({})
    assert len(script.got) == 1


async def test_an_answer_to_a_question_is_never_sent_again(script: Any) -> None:
    script.answers(None, {"status": "resumed", "message": ""})
    with pytest.raises(APIError, match="the connection broke"):
        await script.client().resume(RUN, "plan", approve=True)
    assert len(script.got) == 1


async def test_tries_have_an_end(script: Any) -> None:
    script.answers(problem(500, "Internal Server Error", "oops", {"Retry-After": "0"}))
    with pytest.raises(APIError, match="answered 500: Internal Server Error: oops") as caught:
        await script.client(retries=2).status(RUN)
    assert caught.value.status == 500
    assert len(script.got) == 3


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (problem(401, "Unauthorized", "Invalid token"), "answered 401: Unauthorized: Invalid token"),
        (problem(404, "Execution not found", f"Execution with ID '{RUN}' does not exist"), "404: Execution not found"),
        (
            problem(422, "Validation Error", "Missing inputs", details={"missing_inputs": ["budget", "topic"]}),
            r"422: Validation Error: Missing inputs \(missing: budget, topic\)",
        ),
    ],
)
async def test_refusals_are_one_line_and_final(script: Any, answer: Any, says: str) -> None:
    script.answers(answer)
    with pytest.raises(APIError, match=says) as caught:
        await script.client().status(RUN)
    assert len(script.got) == 1
    assert not caught.value.retryable
    assert caught.value.body["error"]
    assert "\n" not in str(caught.value)
    assert "user-token" not in str(caught.value)


async def test_what_is_no_crew_says_so(script: Any) -> None:
    script.answers(web.Response(text="<html>\n  Welcome\n</html>", content_type="text/html"))
    with pytest.raises(APIError, match=r"no JSON object.*is it a crew's URL"):
        await script.client().inputs()
    script.answers({"hello": "world"})
    with pytest.raises(APIError, match="is it a crew's URL"):
        await script.client().inputs()
    with pytest.raises(APIError, match="without a kickoff_id"):
        await script.client().kickoff()


async def test_a_token_is_not_sent_to_another_place(script: Any) -> None:
    script.answers(web.Response(status=301, headers={"Location": "https://elsewhere.example/kickoff"}))
    with pytest.raises(APIError, match=r"it is at https://elsewhere.example/kickoff: give that as the base URL"):
        await script.client().kickoff()


async def test_nobody_is_there() -> None:
    began = time.monotonic()
    with pytest.raises(APIError, match="no connection: Connection refused") as caught:
        await AsyncClient("http://127.0.0.1:1", retries=0).inputs()
    assert caught.value.status is None
    assert caught.value.retryable
    assert time.monotonic() - began < 10


async def test_a_slow_answer_is_none(script: Any) -> None:
    async def slow(_: web.Request) -> web.Response:
        await asyncio.sleep(5)
        return web.Response()

    script.answers(slow)
    with pytest.raises(APIError, match=r"no answer within 0.1 s"):
        await script.client(timeout=0.1, retries=0).inputs()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8000",
        "ftp://x",
        "https://",
        "https://x/?a=b",
        "https://user:pass@x.example",
        "http://[x",
        "http://x:99999",
    ],
)
def test_bad_base_urls(url: str) -> None:
    with pytest.raises(ConfigError, match="base_url"):
        Client(url)


async def test_bad_arguments_are_not_sent(script: Any) -> None:
    script.answers({})
    client = script.client()
    for bad in ("", "../inputs", "a/b", "a?b", "ä"):
        with pytest.raises(ConfigError, match="no id of a run"):
            await client.status(bad)
    for bad in ("", "x" * 201, "a\nb", "ä"):
        with pytest.raises(ConfigError, match="key must be"):
            await client.kickoff({}, key=bad)
    for bad in (float("nan"), object(), "\ud800"):
        with pytest.raises(InputError, match="JSON"):
            await client.kickoff({"x": bad})
    with pytest.raises(ConfigError, match="token"):
        AsyncClient("http://x.example", "a\r\nb")
    assert not script.got


async def test_the_sync_client_works_inside_a_running_loop(script: Any) -> None:
    """As in a notebook; the script runs on this loop, so the client waits in a thread."""
    script.answers({"inputs": ["a"]})
    client = Client(script.url)
    assert await asyncio.to_thread(client.inputs) == ["a"]
    assert "authorization" not in script.got[0].headers
