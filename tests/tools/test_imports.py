"""What ``import quarterdeck.tools`` offers, and what it does not load."""

from __future__ import annotations

import subprocess
import sys

import pytest

import quarterdeck.tools


def loaded_by(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return {name.split(".")[0] for name in done.stdout.split()}


def test_every_name_is_there():
    for name in quarterdeck.tools.__all__:
        assert getattr(quarterdeck.tools, name).__module__.startswith(("quarterdeck.tools.", "quarterdeck.errors"))
    assert dir(quarterdeck.tools) == sorted(quarterdeck.tools.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Missing'"):
        quarterdeck.tools.Missing  # noqa: B018


def test_nothing_heavy_is_loaded():
    heavy = {"aiohttp", "duckdb", "rich", "xllamacpp", "genai_prices", "psycopg", "litellm"}
    code = "from quarterdeck.tools import *; FetchURL(); QueryData(); Calculator()"
    assert "pydantic" in loaded_by(code)
    assert not loaded_by(code) & heavy
    assert "pydantic" not in loaded_by("import quarterdeck.tools")
