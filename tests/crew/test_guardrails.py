"""Guardrails that ask a model: sentences, lists of both kinds, agents alone, hallucination checks, the journal."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from quarterdeck import Agent, Crew, HallucinationGuardrail, LiteAgentOutput, LLMGuardrail, Task, TaskOutput
from quarterdeck.errors import ConfigError, GuardrailError
from quarterdeck.events import Event, GuardrailFinished, LLMFinished
from quarterdeck.testing import LoopbackServer, ScriptedLLM, call
from quarterdeck.tools import tool

YES = '{"valid": true, "feedback": ""}'
NOTHING_TO_SAY = '{"valid": true, "feedback": null}'
NO = '{"valid": false, "feedback": "give the depth in metres"}'


def asked(llm: Any, number: int) -> str:
    """The last user message of a call."""
    return str([m for m in llm.requests[number].messages if m["role"] == "user"][-1]["content"])


def test_a_sentence_is_checked_by_the_agents_model(make_agent: Any, make_task: Any) -> None:
    """The verdict has a path of its own, its feedback goes back with the refused output."""
    agent = make_agent(["Deep.", NO, "14.5 m.", YES])
    events: list[Event] = []
    crew = Crew(tasks=[make_task(agent, name="survey", guardrail="A depth in metres")])
    output = crew.kickoff(on_event=events.append)
    assert output.raw == "14.5 m."
    assert [e.path for e in events if isinstance(e, LLMFinished)] == [
        "survey/1/llm/1",
        "survey/1/guardrail/1/llm/1",
        "survey/2/llm/1",
        "survey/2/guardrail/1/llm/1",
    ]
    verdicts = [e for e in events if isinstance(e, GuardrailFinished)]
    assert [(v.path, v.ok) for v in verdicts] == [("survey/1/guardrail/1", False), ("survey/2/guardrail/1", True)]
    assert verdicts[0].feedback == "give the depth in metres"
    assert "A depth in metres" in verdicts[0].guardrail
    assert "A depth in metres" in asked(agent.llm, 1)
    assert "<output>\nDeep.\n</output>" in asked(agent.llm, 1)
    assert "give the depth in metres" in asked(agent.llm, 2)
    assert output.token_usage.successful_requests == 4  # the verdicts are paid for too


def test_a_guardrail_may_have_a_model_of_its_own(make_agent: Any, make_task: Any) -> None:
    """A list mixes functions, sentences and LLMGuardrail objects; they are asked in order."""
    judge = ScriptedLLM([YES], schemas=True)
    agent = make_agent(["14 m", YES])
    seen: list[str] = []

    def first(output: TaskOutput) -> tuple[bool, Any]:
        seen.append(output.raw)
        return True, output.raw + "."

    crew = Crew(tasks=[make_task(agent, guardrails=[first, "Has a figure", LLMGuardrail("Is polite", judge)])])
    assert crew.kickoff().raw == "14 m."
    assert (seen, len(agent.llm.requests), len(judge.requests)) == (["14 m"], 2, 1)
    assert "14 m." in asked(judge, 0)
    assert judge.requests[0].output_schema is not None
    assert "schema" not in asked(judge, 0)  # the model is held to it, so it is not told


def test_a_sentence_gives_up_after_its_retries(make_agent: Any, make_task: Any) -> None:
    agent = make_agent(["a", NO, "b", NO])
    task = make_task(agent, guardrail="A depth", guardrail_max_retries=1)
    with pytest.raises(GuardrailError, match="'A depth' refused the output after 1 retries: give the depth"):
        Crew(tasks=[task]).kickoff()
    agent.llm.assert_done()


def test_a_verdict_need_say_nothing(make_agent: Any, make_task: Any) -> None:
    """Null is how many models say that there is nothing to say: no repair."""
    agent = make_agent(["14.5 m", NOTHING_TO_SAY])
    assert Crew(tasks=[make_task(agent, guardrail="A depth")]).kickoff().raw == "14.5 m"


def test_a_verdict_is_repaired_once_it_does_not_fit(make_agent: Any, make_task: Any) -> None:
    agent = make_agent(["14 m", "Yes, that is fine!", YES])
    assert Crew(tasks=[make_task(agent, guardrail="A depth")]).kickoff().raw == "14 m"
    assert "valid" in str(agent.llm.requests[2].messages)


@pytest.mark.parametrize(
    "answers", [["fine", "fine", "fine"], ['{"feedback": "x"}', "{}", '{"valid": "perhaps"}'], [""]]
)
def test_a_verdict_that_cannot_be_read_is_no_pass(make_agent: Any, make_task: Any, answers: list[str]) -> None:
    """It is an error that says so."""
    agent = make_agent(["14 m", *answers])
    with pytest.raises(GuardrailError, match=r"guardrail 'A depth' gave no verdict that can be read"):
        Crew(tasks=[make_task(agent, guardrail="A depth")]).kickoff()
    agent.llm.assert_done()


def test_verdicts_are_kept(tmp_path: Any, make_agent: Any, make_task: Any) -> None:
    """A run that goes on after its model failed asks for no verdict twice."""
    agent = make_agent(["Deep.", NO, RuntimeError("gone"), "14 m", YES], max_retry_limit=0)
    crew = Crew(tasks=[make_task(agent, guardrail="A depth")])
    run: dict[str, Any] = {"journal": tmp_path / "runs.db", "run_id": "r"}
    with pytest.raises(RuntimeError, match="gone"):
        crew.kickoff(**run)
    assert crew.kickoff(**run).raw == "14 m"
    agent.llm.assert_done()
    assert crew.kickoff(**run).raw == "14 m"


def test_a_verdict_is_not_a_partial_output(make_agent: Any, make_task: Any) -> None:
    from quarterdeck import Budget

    agent = make_agent(["Deep.", NO])
    output = Crew(tasks=[make_task(agent, guardrail="A depth")]).kickoff(budget=Budget(max_llm_calls=2))
    assert (output.status, output.raw) == ("limited", "Deep.")


def test_structured_output_and_a_sentence(make_agent: Any, make_task: Any) -> None:
    class Berth(BaseModel):
        depth: float

    agent = make_agent(['{"depth": 1}', NO, '{"depth": 14.5}', YES])
    output = Crew(tasks=[make_task(agent, output_pydantic=Berth, guardrail="Deeper than 10 m")]).kickoff()
    assert output.pydantic == Berth(depth=14.5)


def test_an_agent_alone_has_guardrails(tmp_path: Any, make_agent: Any) -> None:
    """A refused answer stays in the conversation; a function is given the LiteAgentOutput."""
    seen: list[LiteAgentOutput] = []

    def polite(output: LiteAgentOutput) -> tuple[bool, Any]:
        seen.append(output)
        return (True, output) if "please" in output.raw else (False, "say please")

    agent = make_agent(["go", "please go", NO, "please go 3 m", YES], guardrail=[polite, "Has a distance"])
    paths: list[str] = []
    run: dict[str, Any] = {"journal": tmp_path / "runs.db", "run_id": "r"}
    output = agent.kickoff("Which way?", on_event=lambda e: paths.append(e.path), **run)
    assert (output.raw, output.token_usage.successful_requests) == ("please go 3 m", 5)
    assert [s.raw for s in seen] == ["go", "please go", "please go 3 m"]
    assert [m["role"] for m in agent.llm.requests[1].messages] == ["system", "user", "assistant", "user"]
    assert "say please" in asked(agent.llm, 1)
    assert "agent/2/guardrail/2/llm/1" in paths
    assert agent.kickoff("Which way?", **run).raw == "please go 3 m"
    agent.llm.assert_done()


def test_an_agents_guardrail_gives_up_or_changes_the_answer(make_agent: Any) -> None:
    class Berth(BaseModel):
        depth: float

    with pytest.raises(GuardrailError, match=r"agent 'Pilot': guardrail .* refused the output after 1 retries: no"):
        make_agent(["a", "b"], guardrail=lambda o: (False, "no"), guardrail_max_retries=1).kickoff("Go")
    deeper = make_agent(['{"depth": 1}'], guardrail=lambda o: (True, '{"depth": 2}'))
    assert deeper.kickoff("Go", Berth).pydantic == Berth(depth=2)
    with pytest.raises(GuardrailError, match="does not fit Berth"):
        make_agent(['{"depth": 1}'], guardrail=lambda o: (True, "two")).kickoff("Go", Berth)
    agent = make_agent(["x"], guardrail="Never asked of a task")
    assert Crew(tasks=[Task(description="d", expected_output="e", agent=agent)]).kickoff().raw == "x"


@tool
def gauge(harbour: str) -> str:
    """The depth of a harbour."""
    return f"{harbour} is 14.5 m deep"


def test_hallucinations_are_found(make_agent: Any, make_task: Any) -> None:
    """The sources are the task, what it was given and what its tools said; the claims are the feedback."""
    judge = ScriptedLLM(
        [
            '{"unsupported": ["Oslo is the capital of ships"], "score": 6}',
            '{"unsupported": [], "score": 10}',
        ]
    )
    first = make_task(make_agent(["The pilot is Ann."]), name="ask")
    agent = make_agent(
        [call("gauge", harbour="Oslo"), "Oslo, capital of ships, is 14.5 m deep.", "14.5 m"], tools=[gauge]
    )
    second = make_task(agent, description="Sound Oslo.", guardrail=HallucinationGuardrail(judge))
    assert Crew(tasks=[first, second]).kickoff().raw == "14.5 m"
    for source in ("Sound Oslo.", "The pilot is Ann.", "Oslo is 14.5 m deep"):
        assert source in asked(judge, 0)
    assert "- Oslo is the capital of ships" in asked(agent.llm, 2)


def test_a_threshold_lets_a_score_pass(make_agent: Any, make_task: Any) -> None:
    """With a context, that is the source; a tool_response is one more."""
    verdict = '{"unsupported": ["it is blue"], "score": 7}'
    agent = make_agent(["The sea is blue.", verdict, "The sea is blue."])
    passes = HallucinationGuardrail(context="The sea.", threshold=7, tool_response="It is wet.")
    assert Crew(tasks=[make_task(agent, guardrail=passes)]).kickoff().raw == "The sea is blue."
    assert "<source>\nThe sea.\n</source>\n<source>\nIt is wet.\n</source>" in asked(agent.llm, 1)
    assert "Do it." not in asked(agent.llm, 1)
    strict = HallucinationGuardrail(ScriptedLLM([verdict]), context="The sea.", threshold=7.5)
    with pytest.raises(GuardrailError, match=r"(?s)scores 7 of 10.*at least 7\.5 is needed.*- it is blue"):
        Crew(tasks=[make_task(make_agent(["Blue."]), guardrail=strict, guardrail_max_retries=0)]).kickoff()


def test_an_agent_alone_is_checked_against_what_it_was_told(make_agent: Any) -> None:
    judge = ScriptedLLM(['{"unsupported": [], "score": 10}'])
    agent = make_agent(
        [call("gauge", harbour="Oslo"), "14.5 m"], tools=[gauge], guardrail=HallucinationGuardrail(judge)
    )
    assert agent.kickoff("How deep is Oslo?").raw == "14.5 m"
    assert "How deep is Oslo?" in asked(judge, 0)
    assert "Oslo is 14.5 m deep" in asked(judge, 0)


def test_a_guardrail_can_be_called_as_a_function() -> None:
    """CrewAI's form: outside a run, with a model of its own."""
    output = TaskOutput(description="d", agent="a", raw="14 m")
    guardrail = LLMGuardrail(description="A depth", llm=ScriptedLLM([YES, NO]))
    assert guardrail(output) == (True, output)
    assert guardrail(output) == (False, "give the depth in metres")
    with pytest.raises(ConfigError, match="needs llm="):
        LLMGuardrail("A depth")(output)
    with pytest.raises(ConfigError, match="nothing to check against"):
        HallucinationGuardrail(ScriptedLLM([]))(output)
    with pytest.raises(ConfigError, match="threshold must be from 0 to 10"):
        HallucinationGuardrail(threshold=11)


@pytest.mark.parametrize("model", ["gpt-4o-mini", "claude-sonnet-4-5"])
def test_the_verdict_over_the_wire(model: str) -> None:
    """The verdict's schema goes with the request."""
    with LoopbackServer(["14 m", YES]) as server:
        agent = Agent(role="R", goal="g", llm=server.llm(model))
        task = Task(description="d", expected_output="e", agent=agent, guardrail="A depth")
        assert Crew(tasks=[task]).kickoff().raw == "14 m"
        schema = server.requests[1].request.output_schema
    assert schema is not None
    assert sorted(schema.schema["properties"]) == ["feedback", "valid"]
