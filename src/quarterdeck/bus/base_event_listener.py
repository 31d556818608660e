"""BaseEventListener: handlers together in a class (CrewAI: ``BaseEventListener``)."""

from __future__ import annotations

from abc import ABC, abstractmethod

from quarterdeck.bus.event_bus import CrewAIEventsBus, crewai_event_bus


class BaseEventListener(ABC):
    """Registers its handlers when an object of it is made."""

    def __init__(self) -> None:
        self.setup_listeners(crewai_event_bus)

    @abstractmethod
    def setup_listeners(self, crewai_event_bus: CrewAIEventsBus) -> None:
        """Registers the handlers, with ``@crewai_event_bus.on(EventClass)``."""
