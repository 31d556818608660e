"""Webhooks: what a run's events cause to be sent, and the sending."""

from __future__ import annotations

from quarterdeck.server.webhooks.deliverer import Deliverer, Delivery, DeliveryState, DeliveryType, Retries, delivering
from quarterdeck.server.webhooks.guard import Refused, check_hooks, check_url
from quarterdeck.server.webhooks.outbox import outbox_for
from quarterdeck.server.webhooks.sender import new_secret
from quarterdeck.server.webhooks.sql import Limits

__all__ = [
    "Deliverer",
    "Delivery",
    "DeliveryState",
    "DeliveryType",
    "Limits",
    "Refused",
    "Retries",
    "check_hooks",
    "check_url",
    "delivering",
    "new_secret",
    "outbox_for",
]
