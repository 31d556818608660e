"""What every endpoint of a crew needs: the crew, who asks, and the run in question."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request
from starlette.datastructures import State

from quarterdeck.project import Entry, Registry
from quarterdeck.server.api.problems import Problem, not_found
from quarterdeck.server.auth import Authenticator, Principal
from quarterdeck.server.live import Live
from quarterdeck.server.settings import Dialect, Settings
from quarterdeck.server.store import RunRecord, Store
from quarterdeck.server.webhooks import Deliverer


@dataclass(frozen=True, slots=True)
class Services:
    """What the app is made of.

    Args:
        store: The runs.
        registry: The crews.
        settings: How the server behaves.
        auth: Knows the tokens.
        live: Shows events that the journal does not keep.
        deliverer: Sends the webhooks.
    """

    store: Store
    registry: Registry
    settings: Settings
    auth: Authenticator
    live: Live
    deliverer: Deliverer


# Dependencies are async, though nothing is awaited: FastAPI calls sync ones in a thread each.


async def services(request: Request) -> Services:
    """The app's services."""
    return _services(request)


def _services(request: Request) -> Services:
    return cast("Services", cast("State", request.app.state).services)


async def principal(request: Request) -> Principal:
    """Who asks."""
    return _services(request).auth.principal(request)


async def entry(request: Request, crew: str, _who: Annotated[Principal, Depends(principal)]) -> Entry:
    """The crew that a request is for, ``name`` or ``name@version``. Nobody without a token learns which there are."""
    registry = _services(request).registry
    name, _, version = crew.partition("@")
    found = registry.get(name, version or None)
    if found is None:
        known = ", ".join(registry.names())
        raise Problem(404, f"there is no crew {crew!r} here; there are: {known}")
    return found


async def run_of(
    request: Request, crew: str, kickoff_id: str, who: Annotated[Principal, Depends(principal)]
) -> RunRecord:
    """The run that a request is about. One of another tenant or crew is not there."""
    record = await _services(request).store.get(kickoff_id, who.tenant)
    if record is None or record.crew != crew.partition("@")[0]:
        raise not_found(kickoff_id)
    return record


async def dialect(request: Request) -> Dialect:
    """The form of the status answer: the header ``X-AMP-Dialect``, else the server's setting.

    Raises:
        Problem: 400, the header names no dialect.
    """
    asked = request.headers.get("x-amp-dialect", _services(request).settings.dialect)
    if asked not in ("documented", "runtime"):
        raise Problem(400, f"X-AMP-Dialect must be 'documented' or 'runtime', got {asked[:40]!r}")
    return asked


ServicesOf = Annotated[Services, Depends(services)]
Who = Annotated[Principal, Depends(principal)]
EntryOf = Annotated[Entry, Depends(entry)]
RunOf = Annotated[RunRecord, Depends(run_of)]
DialectOf = Annotated[Dialect, Depends(dialect)]
