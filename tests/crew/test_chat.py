"""A conversation that collects a crew's inputs and runs it."""

from __future__ import annotations

from typing import Any

import pytest
from typer.testing import CliRunner

from quarterdeck import Agent, Crew, Task
from quarterdeck.cli import app
from quarterdeck.crew.chat import Chat
from quarterdeck.testing import LoopbackServer, ScriptedLLM, call


def crew_of(answers: list[Any], **fields: Any) -> Crew:
    agent = Agent(role="Writer", goal="Write", llm=ScriptedLLM(answers))
    return Crew(tasks=[Task(description="Write about {topic}.", expected_output="A text", agent=agent)], **fields)


def test_by_default_the_crews_own_model_talks() -> None:
    assert Chat(crew_of(["What about?"])).say("Write.") == "What about?"


def test_it_asks_runs_and_tells() -> None:
    """Inputs that do not fit go back to the model; the conversation is kept."""
    llm = ScriptedLLM(
        [
            "What about?",
            call("run_crew", inputs={}),
            call("run_crew", inputs={"topic": "tides"}),
            "Here it is: a text.",
            "You are welcome.",
        ]
    )
    crew = crew_of(["a text"], chat_llm=llm)
    chat = Chat(crew)
    assert chat.inputs == {"topic": ""}
    assert chat.say("Write something.") == "What about?"
    assert chat.say("Tides.") == "Here it is: a text."
    assert chat.say("Thanks.") == "You are welcome."
    first = str(llm.requests[0].messages[0]["content"])
    assert "- Write about <topic>." in first
    assert "- topic" in first
    said = [str(message["content"]) for message in llm.requests[-1].messages if message["role"] == "user"]
    assert said == ["Write something.", "Tides.", "Thanks."]
    results = [str(message["content"]) for message in llm.requests[3].messages if message["role"] == "tool"]
    assert "needs the input topic" in results[0]
    assert results[1] == "a text"
    llm.assert_done()


def test_the_command(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "crew.yaml").write_text(
        "chat_llm: openai/gpt-4o-mini\nagents:\n  a: {role: Writer, goal: Write, llm: openai/gpt-4o-mini}\n"
        "tasks:\n  facts: {description: 'Facts on {topic}.', expected_output: Facts, agent: a}\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    with LoopbackServer([call("run_crew", inputs={"topic": "tides"}), "a fact", "It is: a fact."]) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        result = CliRunner().invoke(app, ["chat"], input="Facts on tides, please.\n\n")
    assert result.exit_code == 0, result.output
    assert result.stdout == "It is: a fact.\n"
    assert "Facts on tides." in str(server.requests[1].request.messages)
