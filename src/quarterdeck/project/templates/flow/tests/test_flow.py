"""The flow with its models' answers written down: no key, no network, the same each time."""

from __future__ import annotations

from package_name.main import FlowName

from quarterdeck.testing import ScriptedLLM

LONG = "High water comes twice a day, and it is easily missed by those who do not look."


def test_a_report_that_is_too_long_is_shortened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the report is written there
    model = ScriptedLLM(["- High water comes twice a day.", LONG, "High water comes twice a day."])

    result = FlowName(model).kickoff(inputs={"topic": "the tides", "max_words": 8})

    assert result == "High water comes twice a day."
    assert (tmp_path / "report.md").read_text(encoding="utf-8") == result
    assert LONG in str(model.requests[2].messages)
    model.assert_done()


def test_a_short_report_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = ScriptedLLM(["- High water comes twice a day.", "It comes twice a day."])
    assert FlowName(model).kickoff(inputs={}) == "It comes twice a day."
