"""The OpenAPI document: what FastAPI finds out by itself, and errors as what they are."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from quarterdeck.server.api.models import ProblemBody
from quarterdeck.server.api.problems import TITLES

PROBLEM = "application/problem+json"
_SCHEMA = f"#/components/schemas/{ProblemBody.__name__}"


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """These errors, for ``responses=`` of routes."""
    return {status: {"model": ProblemBody, "description": TITLES[status]} for status in statuses}


def answer(model: type[BaseModel], status: int, description: str) -> dict[int | str, dict[str, Any]]:
    """An answer that an endpoint makes by itself, for ``responses=``."""
    return {status: {"model": model, "description": description}}


def install(app: FastAPI) -> None:
    """Lets an app say that its errors are problem details (RFC 9457)."""
    make = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = make()
            for path in document["paths"].values():
                for operation in path.values():
                    _mark(operation["responses"])
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = openapi


def _mark(responses: dict[str, dict[str, Any]]) -> None:
    for response in responses.values():
        content = response.get("content", {})
        for kind, said in list(content.items()):
            schema = said.get("schema", {})
            if schema.get("$ref") == _SCHEMA:
                content[PROBLEM] = content.pop(kind)
            if "$ref" in schema:
                schema.pop("type", None)  # of a stream FastAPI says that it is text, too
