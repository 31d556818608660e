"""What every endpoint of a crew needs: the crew, who asks, and the run in question."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, cast

from fastapi import Depends, Header, Request, Security
from fastapi.security import HTTPBearer
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


_bearer = HTTPBearer(auto_error=False, description="The server's token")


async def principal(request: Request, _said: Annotated[Any, Security(_bearer)]) -> Principal:
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
    return await find_run(_services(request).store, who.tenant, crew.partition("@")[0], kickoff_id)


async def find_run(store: Store, tenant: str, crew: str, run_id: str) -> RunRecord:
    """A run of a tenant and a crew.

    Raises:
        Problem: 404, there is none.
    """
    record = await known_run(store, tenant, run_id)
    if record is None or record.crew != crew:
        raise not_found(run_id)
    return record


async def known_run(store: Store, tenant: str, run_id: str) -> RunRecord | None:
    """A run of a tenant by what a client says is its id; None where there is none."""
    # What can be no id is not asked for: PostgreSQL takes no NUL, and neither database a lone surrogate.
    return await store.get(run_id, tenant) if len(run_id) <= 200 and run_id.isprintable() else None


async def dialect(request: Request, x_amp_dialect: Annotated[Dialect | None, Header()] = None) -> Dialect:
    """The form of the status answer: the header ``X-AMP-Dialect``, else the server's setting."""
    return x_amp_dialect or _services(request).settings.dialect


ServicesOf = Annotated[Services, Depends(services)]
Who = Annotated[Principal, Depends(principal)]
EntryOf = Annotated[Entry, Depends(entry)]
RunOf = Annotated[RunRecord, Depends(run_of)]
DialectOf = Annotated[Dialect, Depends(dialect)]
