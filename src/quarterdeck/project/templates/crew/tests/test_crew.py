"""The crew with its models' answers written down: no key, no network, the same each time."""

from __future__ import annotations

from package_name.crew import CrewName

from quarterdeck.testing import ScriptedLLM


def test_the_report_is_made_from_the_facts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the report is written there
    model = ScriptedLLM(["- High water comes twice a day.", "High water comes twice a day, and is easily missed."])

    output = CrewName(model).crew().kickoff(inputs={"topic": "the tides"})

    assert output.raw == "High water comes twice a day, and is easily missed."
    assert [task.name for task in output.tasks_output] == ["research", "report"]
    assert "- High water comes twice a day." in str(model.requests[1].messages)
    assert (tmp_path / "report.md").read_text(encoding="utf-8") == output.raw
    model.assert_done()
