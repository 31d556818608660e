"""Clients of the HTTP API: of this project's server, and of CrewAI AMP."""

from __future__ import annotations

from quarterdeck.client.client import AsyncClient, Client
from quarterdeck.client.events import StreamEvent
from quarterdeck.client.status import Question, State, Status, TaskResult
from quarterdeck.errors import APIError

__all__ = ["APIError", "AsyncClient", "Client", "Question", "State", "Status", "StreamEvent", "TaskResult"]
