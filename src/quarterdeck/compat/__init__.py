"""Answers ``import crewai`` with this package, for code that was written for CrewAI.

``import quarterdeck.compat`` once, before the first ``import crewai``; or ``quarterdeck run --compat file.py``. Where a
module of CrewAI has one of ours that stands for it, both names are the same module object; the classes and functions
are the same objects under both names in any case. What is left out is an ImportError that says so.
"""

from quarterdeck.compat.finder import install

install()
