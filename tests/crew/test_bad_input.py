"""Every kind of bad input has one clear error: what was got, what is expected, the way out."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from pydantic import BaseModel

from quarterdeck import LLM, Agent, BaseLLM, Budget, Crew, Process, Task
from quarterdeck.errors import ConfigError, InputError, QuarterdeckError
from quarterdeck.testing import ScriptedLLM
from quarterdeck.tools import BaseTool, tool


def agent(**fields: Any) -> Agent:
    return Agent(**({"role": "r", "goal": "g", "llm": ScriptedLLM(["x"])} | fields))


def task(**fields: Any) -> Task:
    return Task(**({"description": "d", "expected_output": "e", "agent": agent()} | fields))


def crew(**fields: Any) -> Crew:
    return Crew(**({"tasks": [task()]} | fields))


def managed(**fields: Any) -> Crew:
    return crew(**({"process": Process.hierarchical, "manager_agent": BOSS} | fields))


class Model(BaseModel):
    x: int


class Other(BaseModel):
    y: int


def undocumented(x: int) -> int:
    return x


LATER = task()
BOSS = agent()
LOOP: list[Any] = []
LOOP.append(LOOP)

CASES: list[tuple[str, Any, str]] = [
    ("agent without role", lambda: Agent(goal="g"), "role is missing"),
    ("agent with a typo", lambda: agent(max_iters=5), "did you mean 'max_iter'"),
    ("agent with max_iter 0", lambda: agent(max_iter=0), "max_iter"),
    ("agent with max_rpm as text", lambda: agent(max_rpm="many"), r"max_rpm.*'many'"),
    ("agent with negative time", lambda: agent(max_execution_time=-1), "max_execution_time"),
    ("agent with a number as model", lambda: agent(llm=3), "llm must be"),
    ("agent with a function as tool", lambda: agent(tools=[undocumented]), "tools: undocumented is no tool.*@tool"),
    ("agent with a tool class", lambda: agent(tools=[BaseTool]), r"write BaseTool\(\)"),
    ("agent with one tool, not in a list", lambda: agent(tools=tool("t")(_documented)), "tools must be a list"),
    ("agent with a negative retry limit", lambda: agent(max_retry_limit=-1), "max_retry_limit"),
    ("agent with a callback that is none", lambda: agent(step_callback="f"), r"step_callback.*'f'"),
    (
        "agent with a model of no tokens",
        lambda: agent(llm={"model": "gpt-4o", "max_tokens": 0}),
        "llm: max_tokens must be at",
    ),
    ("agent with what is not here", lambda: agent(memory=True), "memory.*not supported"),
    ("agent with code execution", lambda: agent(allow_code_execution=True), "allow_code_execution"),
    ("agent with config of another type", lambda: agent(config="x"), "config must be a dict"),
    ("task without description", lambda: Task(expected_output="e"), "description is missing"),
    ("task with a typo", lambda: task(expected_outputs="x"), "did you mean 'expected_output'"),
    ("task with two models", lambda: task(output_json=Model, output_pydantic=Model), "output_json"),
    ("task with another response_model", lambda: task(output_pydantic=Model, response_model=Other), "response_model"),
    ("task with an instance as model", lambda: task(output_pydantic=Model(x=1)), "output_pydantic"),
    ("task with text as context", lambda: task(context=["x"]), "context must be a list of Task"),
    ("task with a guardrail that is none", lambda: task(guardrail=3), "guardrail must be a function.*or a sentence"),
    ("task with an empty guardrail", lambda: task(guardrails=["ok", " "]), "guardrail in words needs a sentence"),
    ("agent with an empty guardrail", lambda: agent(guardrail=""), "guardrail in words needs a sentence"),
    ("task with a role as agent", lambda: task(agent="Pilot"), r"agent.*'Pilot'"),
    ("task with a callback that is none", lambda: task(callback=[]), r"callback.*list"),
    ("task with negative retries", lambda: task(guardrail_max_retries=-1), "guardrail_max_retries"),
    ("task with a path upwards", lambda: task(output_file="../x"), r"output_file.*\.\."),
    ("task with a home path", lambda: task(output_file="~/x"), "output_file"),
    ("task with shell in its path", lambda: task(output_file="x; rm y"), "output_file"),
    ("task with an odd placeholder", lambda: task(output_file="{a-b}.txt"), "placeholder"),
    ("crew without tasks", lambda: Crew(tasks=[]), "at least one task"),
    ("crew with a task without agent", lambda: Crew(tasks=[task(agent=None)]), "has no agent"),
    ("crew with a task twice", lambda: Crew(tasks=[LATER, LATER]), "twice"),
    ("crew with a later context", lambda: Crew(tasks=[task(context=[LATER]), LATER]), "does not come before"),
    ("crew with a process of its own", lambda: crew(process="parallel"), "process"),
    ("crew with a text as task", lambda: Crew(tasks=["x"]), r"tasks\.0.*'x'"),
    ("crew with a role as agent", lambda: crew(agents=["Pilot"]), r"agents\.0.*'Pilot'"),
    ("crew with a class of inputs that is none", lambda: crew(inputs_model=dict), "inputs_model"),
    ("crew with a typo", lambda: crew(agentz=[]), "did you mean 'agents'"),
    ("crew in order with a manager", lambda: crew(manager_llm=ScriptedLLM([])), "manager_llm does nothing.*hierarch"),
    ("crew with no manager", lambda: crew(process=Process.hierarchical), "one of manager_llm and manager_agent"),
    ("crew with a manager at work", lambda: managed(agents=[BOSS]), "manager_agent 'r' is in agents too"),
    ("crew with a manager's task", lambda: managed(tasks=[task(agent=BOSS)]), "the agent of task 1 is the manager"),
    ("crew of a manager alone", lambda: managed(tasks=[task(agent=None)]), "needs an agent that the manager"),
    (
        "crew with a role as manager",
        lambda: crew(process="hierarchical", manager_agent="Boss"),
        "manager_agent.*'Boss'",
    ),
    ("crew with no delegations", lambda: managed(max_delegations=0), "max_delegations"),
    ("crew with sharing", lambda: crew(share_crew=True), "nothing leaves your machine"),
    ("budget of zero", lambda: Budget(max_tokens=0), "max_tokens must be a whole number above 0"),
    ("budget as text", lambda: Budget(max_seconds="1"), "max_seconds must be a number"),  # type: ignore[arg-type]
    ("budget of NaN", lambda: Budget(max_cost_usd=float("nan")), "max_cost_usd"),
    ("tool without docstring", lambda: tool(undocumented), "undocumented.*docstring"),
    ("model of an unknown provider", lambda: LLM("nobody/model").call("x"), "litellm"),
    ("inputs that are a list", lambda: crew().kickoff(["x"]), "inputs must be a dict"),
    ("inputs with a number as name", lambda: crew().kickoff({1: "x"}), "names of inputs must be str"),
    ("an input of another type", lambda: crew().kickoff({"x": object()}), "input 'x' is a object"),
    ("an input that is a date", lambda: crew().kickoff({"d": date(2026, 1, 1)}), "input 'd' is a date; expected str"),
    ("an input that is a model", lambda: crew().kickoff({"m": Model(x=1)}), "input 'm' is a Model"),
    ("an input that holds itself", lambda: crew().kickoff({"x": LOOP}), "input 'x'"),
    (
        "inputs of before_kickoff",
        lambda: crew(before_kickoff_callbacks=[lambda i: 3]).kickoff(),
        "inputs must be a dict",
    ),
    ("an input that is no JSON", lambda: crew().kickoff({"x": [object()]}), "input 'x'"),
    ("a budget that is a dict", lambda: crew().kickoff(budget={"max_tokens": 5}), r"budget must be a Budget.*dict"),
    ("a journal that is a number", lambda: crew().kickoff(journal=3), r"journal must be.*int"),
    ("a subscriber that is none", lambda: crew().kickoff(on_event=[]), r"on_event must be.*list"),
    ("a person that cannot be asked", lambda: crew().kickoff(human="Ada"), r"human must.*ask.*str"),
    ("an answer in words", lambda: crew().kickoff(answers={"p": "yes"}), r"answers must be.*HumanAnswer, got dict"),
    ("a run_id that is a number", lambda: crew().kickoff(run_id=7), r"run_id must be a str.*int"),
    ("a wrong option of start", lambda: crew().start(budget=5).result(5), "budget must be a Budget"),
    ("inputs of a for-each that are one", lambda: crew().kickoff_for_each({"x": 1}), "kickoff_for_each.*list"),
    ("a journal in memory", lambda: crew().kickoff(journal=":memory:"), "memory"),
    ("an agent asked nothing", lambda: agent().kickoff(""), "messages must be"),
    (
        "a custom model with no method",
        lambda: crew(tasks=[task(agent=agent(llm=BaseLLM()))]).kickoff(),
        "implements none",
    ),
]


def _documented(x: int) -> int:
    """Give it back.

    Args:
        x: It.
    """
    return x


@pytest.mark.parametrize(("make", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_bad_input_has_a_clear_error(make: Any, expected: str) -> None:
    """One of our errors, that says what is wrong in words."""
    with pytest.raises(QuarterdeckError, match=f"(?s){expected}") as caught:
        make()
    assert isinstance(caught.value, ConfigError | InputError), type(caught.value)
    assert "validation error" not in str(caught.value).lower()


def test_unknown_options_of_kickoff_are_named() -> None:
    """As Python does for its own arguments, with what there is."""
    with pytest.raises(TypeError, match=r"has no option runid.*run_id"):
        crew().kickoff(runid="x")  # type: ignore[call-arg]


def test_no_secret_in_an_error() -> None:
    """A key that is given wrongly is not shown."""
    with pytest.raises(QuarterdeckError) as caught:
        agent(llm={"model": "gpt-4o", "api_key": "sk-secret"}, tools=[{"api_key": "sk-secret"}])
    assert "sk-secret" not in str(caught.value)


def test_processes() -> None:
    """The names that are there."""
    assert [p.value for p in Process] == ["sequential", "hierarchical"]
