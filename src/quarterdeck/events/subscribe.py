"""Who is shown the events of every run in this process."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable

from quarterdeck.events.event import Event

Subscriber = Callable[[Event], None]

_subscribers: dict[int, tuple[Subscriber, tuple[type[Event], ...]]] = {}
_numbers = itertools.count()
_lock = threading.Lock()


def subscribe(function: Subscriber, *types: type[Event]) -> Callable[[], None]:
    """Calls ``function`` with the events of every run in this process, in order within a run.

    It is called on the event loop: it must be quick and must not block. An exception in it is logged and
    does not disturb the run.

    Args:
        function: Called with each event.
        types: Only these event classes; none means all.

    Returns:
        A function that ends the subscription.
    """
    with _lock:
        number = next(_numbers)
        _subscribers[number] = (function, types or (Event,))

    def unsubscribe() -> None:
        with _lock:
            _subscribers.pop(number, None)

    return unsubscribe


def subscribers() -> list[tuple[Subscriber, tuple[type[Event], ...]]]:
    """The functions subscribed now, with the classes that each wants."""
    return list(_subscribers.values())
