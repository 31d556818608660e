"""Every endpoint of a real server is asked things made up from its OpenAPI document: no answer is the server's fault,
and each has a status, a content type and a body that the document declares.

``QUARTERDECK_API_EXAMPLES`` says how many requests an endpoint gets (8).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tests.server.api.conftest import TOKEN, Server

EXAMPLES = int(os.environ.get("QUARTERDECK_API_EXAMPLES", "8"))
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
MODES = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)
TOKENS = [f"Bearer {TOKEN}"] * 8 + ["Bearer wrong", "Basic eDp5", ""]


class Known:
    """A server, and runs that it has."""

    def __init__(self, server: Server) -> None:
        self.url = server.url
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {TOKEN}"
        self.done = [self.kickoff("writers", "completed") for _ in range(2)]
        self.asking = self.kickoff("asking", "pending_human_input")

    def kickoff(self, crew: str, state: str) -> tuple[str, str]:
        base = f"{self.url}/crews/{crew}"
        run_id = self.session.post(f"{base}/kickoff", json={"inputs": {"topic": "t"}}).json()["kickoff_id"]
        deadline = time.monotonic() + 20
        while self.session.get(f"{base}/status/{run_id}").json()["status"] != state:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return crew, run_id


@pytest.fixture
def known(server: Server) -> Iterator[Known]:
    known = Known(server)
    with known.session:
        yield known


# The server runs in a thread of this process, and its jitter moves the state of `random` while a request is drawn.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")
def test_answers_are_as_the_document_says(known: Known) -> None:
    schema = schemathesis.openapi.from_url(f"{known.url}/openapi.json")
    seen: dict[str, set[int]] = {}
    for found in schema.get_all_operations():
        operation = found.ok()
        seen[operation.label] = ask(known, operation)
    assert len(seen) >= 12
    assert set().union(*seen.values()) >= {200, 400, 401, 404}, seen


Made = tuple[Any, str, tuple[str, str] | None, str | None]


def made_up(operation: Any, runs: list[tuple[str, str]]) -> list[Made]:
    """Requests to one endpoint, always the same ones: what is answered changes nothing in what is asked next."""
    found: list[Made] = []

    @settings(
        max_examples=EXAMPLES, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(
        st.tuples(
            st.one_of(*(operation.as_strategy(mode) for mode in MODES)),
            st.sampled_from(TOKENS),
            st.sampled_from([*runs, None]),
            st.one_of(st.none(), st.text(max_size=20)),
        )
    )
    def make(made: Made) -> None:
        found.append(made)

    make()
    return found


def ask(known: Known, operation: Any) -> set[int]:
    """Asks one endpoint; what it answered."""
    runs = known.done if operation.path.endswith("/events") else [*known.done, known.asking]
    statuses: set[int] = set()
    for case, token, run, topic in made_up(operation, runs):
        if run:
            real = {"crew": run[0], "kickoff_id": run[1]}
            case.path_parameters = {name: real.get(name, value) for name, value in case.path_parameters.items()}
        if topic is not None and isinstance(case.body, dict) and isinstance(case.body.get("inputs"), dict):
            kept = {name: case.body[name] for name in ("meta", "budget") if name in case.body}
            case.body = {**kept, "inputs": {**case.body["inputs"], "topic": topic}}
        response = case.call(known.url, headers={"Authorization": token}, timeout=20)
        statuses.add(response.status_code)
        case.validate_response(response, checks=CHECKS)
        if response.status_code >= 400:
            is_problem(response)
    return statuses


def is_problem(response: Any) -> None:
    body = response.json()
    assert body["error"]
    assert body["message"] == body["detail"]
    assert body["status"] == response.status_code
    assert "Traceback" not in response.text
