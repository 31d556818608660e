"""The tools that come with Quarterdeck; import them from ``quarterdeck.tools``."""
