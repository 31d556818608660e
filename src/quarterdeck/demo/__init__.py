"""The demo: three agents read a harbour's log and write a report."""

from quarterdeck.demo.crew import build, log_files
from quarterdeck.demo.report import write

__all__ = ["build", "log_files", "write"]
