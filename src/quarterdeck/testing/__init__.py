"""For tests of what is built on Quarterdeck: scripted models, a loopback server, recorded calls."""

from quarterdeck.testing.scripted import ScriptedLLM, after, call

__all__ = ["ScriptedLLM", "after", "call"]
