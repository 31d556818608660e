"""CrewAI's event classes, in CrewAI's modules."""

from __future__ import annotations
