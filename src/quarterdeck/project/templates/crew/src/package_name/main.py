"""Runs the crew: ``python -m package_name.main``, or ``quarterdeck run``."""

from __future__ import annotations

from package_name.crew import CrewName


def run() -> None:
    """Runs the crew once, with the default inputs."""
    output = CrewName().crew().kickoff(inputs={})
    print(output.raw)


if __name__ == "__main__":
    run()
