"""``/admin``: what concerns the whole server. Webhooks that were sent, or could not be."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query

from quarterdeck.server.api.context import ServicesOf, Who
from quarterdeck.server.api.models import DeliveriesResponse, DeliveryBody, ResendResponse
from quarterdeck.server.api.pages import before, cursor_after
from quarterdeck.server.api.problems import Problem
from quarterdeck.server.webhooks import DeliveryState

router = APIRouter(prefix="/admin")


@router.get("/deliveries", summary="Webhooks, newest first")
async def deliveries(
    who: Who,
    services: ServicesOf,
    state: Annotated[DeliveryState | None, Query(description="``dead``: it was given up")] = None,
    kickoff_id: Annotated[str | None, Query(max_length=200, description="Only this run's")] = None,
    cursor: Annotated[str | None, Query(max_length=100, description="The last page's ``next``")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> DeliveriesResponse:
    """What receivers were told or are still to be told, and why they have not accepted it."""
    if kickoff_id is not None and not kickoff_id.isprintable():
        raise Problem(400, f"kickoff_id must be printable, got {kickoff_id[:60]!r}")
    found = await services.deliverer.deliveries(
        who.tenant, state=state, run_id=kickoff_id, before=before(cursor), limit=limit
    )
    bodies = [DeliveryBody(kickoff_id=item.run_id, **asdict(item)) for item in found]
    return DeliveriesResponse(deliveries=bodies, next=cursor_after(found, limit))


@router.post("/deliveries/{delivery_id}/resend", summary="Sends a webhook again")
async def resend(delivery_id: str, who: Who, services: ServicesOf) -> ResendResponse:
    """At once, delivered or not, with the same ``webhook-id`` and body; where it fails, again for 24 hours."""
    if not delivery_id.isprintable() or not await services.deliverer.resend(delivery_id, who.tenant):
        raise Problem(404, f"there is no delivery {delivery_id[:60]!r}")
    return ResendResponse(id=delivery_id)
