"""Projects: crews found by file, module and name."""

from quarterdeck.project.registry import Entry, Registry
from quarterdeck.project.target import Runnable, as_runnable, load_target

__all__ = ["Entry", "Registry", "Runnable", "as_runnable", "load_target"]
