"""Errors as clients get them: RFC 9457 problem details that also carry AMP's ``error`` and ``message``."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from quarterdeck.errors import InputError
from quarterdeck.events import json_of

ASKED = "quarterdeck.asked"
"""Where a request's scope has the path that the client asked for."""

logger = logging.getLogger("quarterdeck.server")

TITLES = {
    400: "Invalid Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    413: "Content Too Large",
    422: "Validation Error",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


class Problem(Exception):
    """A request that cannot be answered as asked.

    Args:
        status: The HTTP status.
        message: What is wrong and what would be right.
        error: AMP's short name of it; by default the status's title.
        headers: More headers, such as Retry-After.
        extra: More fields of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        error: str | None = None,
        headers: Mapping[str, str] | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.error = error or TITLES.get(status, "Error")
        self.headers = dict(headers or {})
        self.extra = extra

    def response(self) -> Response:
        """The answer."""
        body = {
            "type": "about:blank",
            "title": TITLES.get(self.status, "Error"),
            "status": self.status,
            "detail": self.message,
            "error": self.error,
            "message": self.message,
            **self.extra,
        }
        return Response(json_of(body), self.status, self.headers, media_type="application/problem+json")


def not_found(run_id: str) -> Problem:
    """AMP's answer for an unknown run; a run of somebody else's is unknown too."""
    shown = run_id if len(run_id) <= 100 else f"{run_id[:100]}…"
    return Problem(404, f"Execution with ID '{shown}' does not exist", error="Execution not found")


def bad_inputs(error: InputError) -> Problem:
    """Inputs that break the crew's contract: one entry a field, and AMP's ``details.missing_inputs``."""
    fields = [{"field": p.field, "expected": p.message, "got": p.got} for p in error.problems]
    return Problem(422, str(error), details={"missing_inputs": list(error.missing)}, errors=fields)


async def _problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return error.response()


async def _validation(request: Request, error: Exception) -> Response:
    """A body or parameter of another form than the endpoint's."""
    assert isinstance(error, RequestValidationError)
    found = list(error.errors())
    if found and found[0]["type"] == "json_invalid":
        said = f"the body is no JSON: {found[0]['ctx']['error']} (character {found[0]['loc'][1]})"
        return Problem(400, said).response()
    if isinstance(error.body, bytes):
        kind = request.headers.get("content-type", "none")
        said = f"the body must be a JSON object sent with Content-Type: application/json, got {kind[:60]!r}"
        return Problem(400, said).response()
    fields = [{"field": _field(item["loc"]), "expected": item["msg"]} for item in found[:50]]
    said = "; ".join(f"{item['field']}: {item['expected']}" for item in fields[:10])
    return Problem(400, f"the request does not fit: {said}", errors=fields).response()


def _field(place: Sequence[Any]) -> str:
    """The name of what does not fit. A part of it may be a key of the client's."""
    return ".".join(str(part)[:60] for part in place[1:]) or str(place[0])


async def _http(request: Request, error: Exception) -> Response:
    """No such path, or no such method there."""
    assert isinstance(error, HTTPException)
    message = str(error.detail)
    if error.status_code == 404:
        asked = str(request.scope.get(ASKED, request.url.path))[:100]
        message = f"there is no {asked}; where a server has several crews, each is at /crews/NAME"
    return Problem(error.status_code, message, headers=dict(error.headers or {})).response()


async def _unexpected(request: Request, error: Exception) -> Response:
    """A fault of ours: the client gets an id, the log gets the rest."""
    request_id = str(uuid.uuid4())
    logger.error("request %s: %s %s failed", request_id, request.method, request.url.path, exc_info=error)
    message = f"the server failed; the log has more under request_id {request_id}"
    return Problem(500, message, request_id=request_id).response()


def install(app: FastAPI) -> None:
    """Lets an app answer with problem details."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)
