"""One status from every server: AMP as documented, AMP as it answers, ours; and waiting for the end."""

from __future__ import annotations

import time
from typing import Any

import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quarterdeck.client import APIError, Question, TaskResult
from quarterdeck.client.status import read_status

RUN = "0197c0de-0000-7000-8000-000000000001"
LAST_TASK = {"name": "write", "agent": "Writer", "description": "d", "expected_output": "e", "output": "The text."}


def test_as_documented() -> None:
    progress = {"completed_tasks": 1, "total_tasks": 3}
    running = read_status(RUN, {"status": "running", "current_task": "research_task", "progress": progress})
    assert (running.state, running.current_task) == ("running", "research_task")
    assert (running.completed_tasks, running.total_tasks) == (1, 3)
    assert not running.ended
    task = {"task_id": "research_task", "output": "Facts.", "agent": "Researcher", "execution_time": 45.2}
    body = {"status": "completed", "result": {"output": "Report.", "tasks": [task]}, "execution_time": 108.5}
    done = read_status(RUN, body)
    assert (done.state, done.output, done.execution_time, done.ended) == ("completed", "Report.", 108.5, True)
    assert done.tasks == (TaskResult("research_task", "Facts.", "Researcher", 45.2),)
    failed = read_status(RUN, {"status": "error", "error": "Task failed", "execution_time": 23.1})
    assert (failed.state, failed.error, failed.output, failed.ended) == ("error", "Task failed", "", True)


@pytest.mark.parametrize(
    ("state", "ours"),
    [
        ("PENDING", "queued"),
        ("STARTED", "running"),
        ("RUNNING", "running"),
        ("RETRY", "running"),
        ("SUCCESS", "completed"),
        ("COMPLETED", "completed"),
        ("FAILED", "error"),
        ("FAILURE", "error"),
        ("REVOKED", "cancelled"),
        ("Pending Human Input", "pending_human_input"),
        ("WARMING_UP", "unknown"),
    ],
)
def test_as_the_service_answers(state: str, ours: str) -> None:
    assert read_status(RUN, {"state": state}).state == ours
    assert read_status(RUN, {"state": state, "status": None}).state == ours
    assert read_status(RUN, {"state": state, "status": "200 OK"}).state == ours


def test_as_the_service_ends() -> None:
    tasks = [{"name": "write", "raw": "The text.", "agent": "Writer"}]
    body = {"state": "SUCCESS", "result": "The text.", "last_executed_task": LAST_TASK, "tasks_output": tasks}
    done = read_status(RUN, body)
    assert (done.state, done.output) == ("completed", "The text.")
    assert done.tasks == (TaskResult("write", "The text.", "Writer"),)
    failed = read_status(RUN, {"state": "FAILED", "status": "FAILED", "result": None, "error": {"code": 3}})
    assert (failed.state, failed.output, failed.error) == ("error", "", '{"code": 3}')
    assert read_status(RUN, {"state": "SUCCESS", "result": {"score": 3}}).output == '{"score": 3}'


def test_the_end_counts_where_the_two_words_differ() -> None:
    assert read_status(RUN, {"state": "SUCCESS", "status": "running"}).state == "completed"
    assert read_status(RUN, {"state": "RUNNING", "status": "pending_human_input"}).state == "pending_human_input"
    assert read_status(RUN, {"state": "FAILED", "status": "cancelled", "reason": "by the user"}).error == "by the user"


def test_a_question() -> None:
    pending = {"task_id": "plan", "agent": "Planner", "output": "A plan.", "question": "Good?", "expires": None}
    asked = read_status(RUN, {"status": "pending_human_input", "state": "RUNNING", "pending": pending})
    assert asked.waits_for_person
    assert not asked.ended
    assert asked.pending == Question("plan", "A plan.", "Good?", "Planner")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
NAMES = (
    *("status", "state", "result", "error", "reason", "pending", "progress", "tasks_output"),
    *("execution_time", "current_task"),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(NAMES), JSON))
def test_any_answer_can_be_read(body: dict[str, Any]) -> None:
    status = read_status(RUN, body)
    assert isinstance(status.output, str)
    assert isinstance(status.error, str)
    assert status.body == body


async def test_waiting_asks_as_often_as_is_advised(script: Any) -> None:
    async def soon(_: web.Request) -> web.Response:
        return web.json_response({"state": "STARTED"}, headers={"Retry-After": "0.3"})

    script.answers(soon, soon, {"state": "SUCCESS", "result": "Done."})
    seen: list[str] = []
    began = time.monotonic()
    status = await script.client().wait(RUN, on_status=lambda status: seen.append(status.state))
    assert time.monotonic() - began >= 0.6
    assert (status.output, seen) == ("Done.", ["running", "running", "completed"])
    assert {got.path for got in script.got} == {f"/status/{RUN}"}


async def test_waiting_ends_in_time_and_for_a_person(script: Any) -> None:
    script.answers({"state": "STARTED"})
    assert (await script.client().wait(RUN, timeout=0.2)).state == "running"
    script.answers({"status": "pending_human_input"})
    assert (await script.client().wait(RUN)).waits_for_person
    assert len(script.got) == 1


async def test_waiting_outlasts_a_server_that_is_started_again(script: Any) -> None:
    """At the beginning it does not wait for one that is not there."""

    async def away(_: web.Request) -> web.Response:
        return web.json_response({"error": "Service Unavailable"}, status=503, headers={"Retry-After": "0"})

    async def running(_: web.Request) -> web.Response:
        return web.json_response({"state": "STARTED"}, headers={"Retry-After": "0"})

    script.answers(running, *[away] * 5, {"state": "SUCCESS", "result": "Done."})
    assert (await script.client().wait(RUN)).output == "Done."
    script.answers(*[away] * 5, {"state": "SUCCESS", "result": "Done."})
    with pytest.raises(APIError, match="503"):
        await script.client().wait(RUN)
    assert len(script.got) == 4
