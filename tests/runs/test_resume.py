"""A journaled run that is started again goes on where it was."""

from __future__ import annotations

import asyncio
import datetime
from typing import Any

import pytest
from pydantic import BaseModel, Field

from quarterdeck import Agent, Crew, Task
from quarterdeck.budget import Budget
from quarterdeck.crew import CrewOutput
from quarterdeck.errors import GuardrailError, InputError, JournalMismatchError, ProviderDownError
from quarterdeck.events import Event, LLMFinished, RunStarted, TaskFailed, TaskFinished
from quarterdeck.llm.types import LLMRequest, LLMResponse, ToolCall, UsageMetrics
from quarterdeck.runtime.journal import Journal
from quarterdeck.task import TaskOutput
from quarterdeck.testing import ScriptedLLM, after, call
from quarterdeck.tools import tool


def down(_: LLMRequest) -> Any:
    raise ProviderDownError("the provider is down")


def agent(llm: ScriptedLLM, **fields: Any) -> Agent:
    return Agent(**{"role": "Writer", "goal": "Write", "llm": llm, **fields})


def crew(answers: list[Any], tasks: int = 2, description: str = "Write {topic}", **fields: Any) -> Crew:
    """A crew of tasks that need one call each, and its model, which fails for good where the script says so."""
    writer = agent(ScriptedLLM(answers, max_retries=0))
    made = [Task(description=f"{description} {n}", expected_output="Text", agent=writer) for n in range(tasks)]
    return Crew(tasks=made, **fields)


def requests(crew: Crew) -> list[LLMRequest]:
    llm = crew.tasks[0].agent and crew.tasks[0].agent.llm
    assert isinstance(llm, ScriptedLLM)
    return llm.requests


def types(events: list[Event]) -> list[str]:
    return [event.type for event in events]


async def stored(journal: Journal, kind: type[Event], run_id: str = "r") -> list[Any]:
    return [event for event in await journal.events(run_id) if isinstance(event, kind)]


# -- a completed run --------------------------------------------------------------------------------------


async def test_a_completed_run_gives_its_output_and_calls_nobody(journal: Journal) -> None:
    first = await crew(["one", "two"]).akickoff({"topic": "tea"}, journal=journal, run_id="r")
    before = await journal.events("r")
    told: list[Any] = []
    again = crew([], task_callback=told.append, after_kickoff_callbacks=[told.append])
    output = await again.akickoff({"topic": "tea"}, journal=journal, run_id="r")
    assert (output.raw, output.status, output.run_id) == ("two", "completed", "r")
    assert [item.raw for item in output.tasks_output] == ["one", "two"]
    assert output.token_usage == first.token_usage
    assert output.token_usage.successful_requests == 2
    assert not told
    assert await journal.events("r") == before


async def test_a_completed_run_gives_the_output_of_after_kickoff(journal: Journal) -> None:
    def shout(output: CrewOutput) -> CrewOutput:
        return output.model_copy(update={"raw": output.raw.upper()})

    await crew(["one", "two"], after_kickoff_callbacks=[shout]).akickoff({"topic": "t"}, journal=journal, run_id="r")
    assert (await crew([]).akickoff({"topic": "t"}, journal=journal, run_id="r")).raw == "TWO"


async def test_runs_keep_apart(journal: Journal) -> None:
    await crew(["one", "two"]).akickoff({"topic": "tea"}, journal=journal, run_id="r")
    output = await crew(["eins", "zwei"]).akickoff({"topic": "Tee"}, journal=journal, run_id="r2")
    assert output.raw == "zwei"


# -- another crew, other inputs ---------------------------------------------------------------------------


@pytest.fixture
async def ended(journal: Journal) -> Journal:
    """A journal with a completed run ``r`` on ``{"topic": "tea", "n": 1}``."""
    await crew(["one", "two"]).akickoff({"topic": "tea", "n": 1}, journal=journal, run_id="r")
    return journal


async def test_other_inputs_are_refused(ended: Journal) -> None:
    with pytest.raises(JournalMismatchError) as caught:
        await crew([]).akickoff({"topic": "coffee", "n": 1}, journal=ended, run_id="r")
    message = str(caught.value)
    for part in ("'r'", '"topic": "tea"', '"topic": "coffee"', "another run_id"):
        assert part in message


@pytest.mark.parametrize("inputs", [None, {}, {"n": 1, "topic": "tea"}])
async def test_the_same_inputs_or_none_are_taken(ended: Journal, inputs: dict[str, Any] | None) -> None:
    assert (await crew([]).akickoff(inputs, journal=ended, run_id="r")).raw == "two"


@pytest.mark.parametrize(
    "other",
    [
        crew([], description="Paint {topic}"),
        crew([], tasks=3),
        Crew(tasks=[Task(description="Write {topic} 0", expected_output="Text", agent=agent(ScriptedLLM([])))]),
    ],
)
async def test_another_definition_is_refused(ended: Journal, other: Crew) -> None:
    before = await ended.events("r")
    with pytest.raises(JournalMismatchError, match=r"run 'r' was started by another definition of crew 'crew'.*run_id"):
        await other.akickoff({"topic": "tea", "n": 1}, journal=ended, run_id="r")
    assert await ended.events("r") == before


async def test_a_missing_input_writes_nothing(journal: Journal) -> None:
    with pytest.raises(InputError, match="topic"):
        await crew(["one", "two"]).akickoff({}, journal=journal, run_id="r")
    assert await journal.events("r") == []
    assert (await crew(["one", "two"]).akickoff({"topic": "t"}, journal=journal, run_id="r")).raw == "two"


async def test_inputs_of_a_wrong_form_do_not_take_a_run_over(journal: Journal) -> None:
    opened = await journal.open_run("r")
    with pytest.raises(InputError, match="inputs must be a dict"):
        await crew([]).akickoff(["topic"], journal=journal, run_id="r")  # pyright: ignore[reportArgumentType]
    await opened.append(RunStarted(crew="c").stamped("r", 1))  # still its owner


# -- failed, limited, cancelled ---------------------------------------------------------------------------


async def test_a_failed_run_goes_on_when_the_fault_is_gone(journal: Journal) -> None:
    with pytest.raises(ProviderDownError):
        await crew(["one", down]).akickoff({"topic": "tea"}, journal=journal, run_id="r")
    failed = await journal.events("r")
    assert types(failed) == ["run.started", "llm.finished", "task.finished", "task.failed", "run.finished"]
    assert failed[-1].status == "failed"  # pyright: ignore[reportAttributeAccessIssue]
    assert "the provider is down" in failed[-1].error  # pyright: ignore[reportAttributeAccessIssue]

    again = crew(["two"])
    output = await again.akickoff({"topic": "tea"}, journal=journal, run_id="r")
    assert [item.raw for item in output.tasks_output] == ["one", "two"]
    assert output.status == "completed"
    assert len(requests(again)) == 1
    events = await journal.events("r")
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert [event.segment for event in events if isinstance(event, RunStarted)] == [1, 2]
    assert types(events).count("run.finished") == 2
    assert output.token_usage.successful_requests == 2


async def test_a_limited_run_goes_on_with_a_bigger_budget(journal: Journal) -> None:
    limited = await crew(["one"]).akickoff(
        {"topic": "tea"}, journal=journal, run_id="r", budget=Budget(max_llm_calls=1)
    )
    assert (limited.status, limited.ended_by, limited.raw) == ("limited", "max_llm_calls", "one")

    same = crew([])  # the budget holds for the run, not for its segment
    output = await same.akickoff({"topic": "tea"}, journal=journal, run_id="r", budget=Budget(max_llm_calls=1))
    assert (output.status, output.raw, requests(same)) == ("limited", "one", [])

    output = await crew(["two"]).akickoff({"topic": "tea"}, journal=journal, run_id="r", budget=Budget(max_llm_calls=2))
    assert (output.status, output.ended_by, output.raw) == ("completed", "", "two")


async def test_a_cancelled_coroutine_leaves_the_run_to_be_gone_on_with(journal: Journal) -> None:
    work = asyncio.create_task(crew(["one", after(30, "never")]).akickoff({"topic": "t"}, journal=journal, run_id="r"))
    while not await stored(journal, TaskFinished):  # noqa: ASYNC110 - the journal is what is waited for
        await asyncio.sleep(0.01)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert (await journal.runs())[0].status == "running"
    assert types(await journal.events("r"))[-1] == "task.finished"
    again = crew(["two"])
    assert (await again.akickoff({"topic": "t"}, journal=journal, run_id="r")).raw == "two"
    assert len(requests(again)) == 1


async def test_parallel_tasks_that_were_finished_are_kept(journal: Journal) -> None:
    def build(answers: dict[str, Any]) -> Crew:
        writer = agent(ScriptedLLM(by=lambda request: answers[request.messages[-1]["content"][:1]], max_retries=0))
        side = [Task(description=d, expected_output="T", agent=writer, async_execution=True) for d in "ABC"]
        return Crew(tasks=[*side, Task(description="D", expected_output="T", agent=writer)])

    with pytest.raises(ProviderDownError):
        await build({"A": "a", "B": after(0.1, down), "C": after(0.2, "c")}).akickoff(journal=journal, run_id="r")
    done = {event.task for event in await stored(journal, TaskFinished)}
    assert done == {"task_1", "task_3"}  # what was under way when B failed is finished first
    output = await build({"B": "b", "D": "d"}).akickoff(journal=journal, run_id="r")
    assert [item.raw for item in output.tasks_output] == ["a", "b", "c", "d"]


# -- callbacks --------------------------------------------------------------------------------------------


async def test_before_kickoff_runs_once_and_its_inputs_are_kept(journal: Journal) -> None:
    called: list[dict[str, Any]] = []

    def prepare(inputs: dict[str, Any]) -> dict[str, Any]:
        called.append(dict(inputs))
        inputs["seen"] = True  # in place, too
        return {**inputs, "topic": inputs["topic"].upper()}

    def build(answers: list[Any]) -> Crew:
        return crew(answers, before_kickoff_callbacks=[prepare])

    with pytest.raises(ProviderDownError):
        await build(["one", down]).akickoff({"topic": "tea"}, journal=journal, run_id="r")
    (started,) = await stored(journal, RunStarted)
    assert started.inputs == {"topic": "TEA", "seen": True}

    for inputs in ({"topic": "tea"}, None):
        again = build(["two"])
        assert (await again.akickoff(inputs, journal=journal, run_id="r")).raw == "two"
    assert called == [{"topic": "tea"}]

    with pytest.raises(JournalMismatchError, match=r'started with inputs \{"topic": "tea"\}, now got'):
        await build([]).akickoff({"topic": "coffee"}, journal=journal, run_id="r")


async def test_the_prompt_has_the_inputs_of_before_kickoff_after_resuming(journal: Journal) -> None:
    def build(answers: list[Any]) -> Crew:
        return crew(answers, before_kickoff_callbacks=[lambda inputs: {"topic": "TEA"}])

    with pytest.raises(ProviderDownError):
        await build([down]).akickoff({"topic": "tea"}, journal=journal, run_id="r")
    again = build(["one", "two"])
    await again.akickoff({"topic": "tea"}, journal=journal, run_id="r")
    assert "Write TEA" in requests(again)[0].messages[-1]["content"]


async def test_a_task_counts_as_finished_after_its_callbacks(journal: Journal) -> None:
    told: list[str] = []

    def tell(output: TaskOutput) -> None:
        told.append(output.raw)
        if told == ["one", "two"]:
            raise OSError("the listener is away")

    with pytest.raises(OSError, match="the listener is away"):
        await crew(["one", "two"], task_callback=tell).akickoff({"topic": "t"}, journal=journal, run_id="r")
    assert len(await stored(journal, TaskFailed)) == 1
    output = await crew([], task_callback=tell).akickoff({"topic": "t"}, journal=journal, run_id="r")
    assert output.raw == "two"
    assert told == ["one", "two", "two"]  # the first task's callback is not called again


async def test_after_kickoff_is_called_again_where_the_run_did_not_end(journal: Journal) -> None:
    told: list[str] = []

    def tell(output: CrewOutput) -> None:
        told.append(output.raw)
        if len(told) == 1:
            raise OSError("no")

    for answers in (["one", "two"], []):
        made = crew(answers, after_kickoff_callbacks=[tell])
        if answers:
            with pytest.raises(OSError, match="no"):
                await made.akickoff({"topic": "t"}, journal=journal, run_id="r")
        else:
            assert (await made.akickoff({"topic": "t"}, journal=journal, run_id="r")).raw == "two"
    assert told == ["two", "two"]


# -- structured output and guardrails ---------------------------------------------------------------------


class Trip(BaseModel):
    start: str = Field(alias="from")
    day: datetime.date
    price: float | None = None


TRIP = '{"from": "Kiel", "day": "2026-08-01"}'


@pytest.mark.parametrize("kind", ["output_pydantic", "output_json", "response_model"])
async def test_structured_output_comes_back_from_the_journal(journal: Journal, kind: str) -> None:
    def build(answers: list[Any]) -> Crew:
        writer = agent(ScriptedLLM(answers, max_retries=0))
        options: dict[str, Any] = {kind: Trip}
        first = Task(description="Plan", expected_output="JSON", agent=writer, **options)
        last = Task(description="Book", expected_output="JSON", agent=writer, **options)
        return Crew(tasks=[first, last])

    with pytest.raises(ProviderDownError):
        await build([TRIP, down]).akickoff(journal=journal, run_id="r")
    outputs = [await build(answers).akickoff(journal=journal, run_id="r") for answers in ([TRIP], [])]
    fresh = await build([TRIP, TRIP]).akickoff()
    for output in outputs:
        assert (output.pydantic, output.json_dict) == (fresh.pydantic, fresh.json_dict)
        for task, expected in zip(output.tasks_output, fresh.tasks_output, strict=True):
            assert task.model_copy(update={"messages": []}) == expected.model_copy(update={"messages": []})
    if kind == "output_json":
        assert outputs[0].json_dict == fresh.json_dict != {}
    else:
        assert isinstance(outputs[0].pydantic, Trip)
        assert outputs[0].pydantic.day == datetime.date(2026, 8, 1)


async def test_verdicts_of_guardrails_are_not_asked_for_again(journal: Journal) -> None:
    asked: list[str] = []

    def polite(output: TaskOutput) -> tuple[bool, Any]:
        asked.append(output.raw)
        return (True, f"{output.raw}, please") if "tea" in output.raw else (False, "say tea")

    def build(answers: list[Any]) -> Crew:
        writer = agent(ScriptedLLM(answers, max_retries=0))
        first = Task(description="Ask", expected_output="T", agent=writer, guardrail=polite, callback=broken)
        return Crew(tasks=[first])

    calls: list[str] = []

    def broken(output: TaskOutput) -> None:
        calls.append(output.raw)
        if len(calls) == 1:
            raise OSError("no")

    with pytest.raises(OSError, match="no"):
        await build(["coffee", "tea"]).akickoff(journal=journal, run_id="r")
    output = await build([]).akickoff(journal=journal, run_id="r")
    assert output.raw == "tea, please"
    assert asked == ["coffee", "tea"]
    assert calls == ["tea, please"] * 2


async def test_a_task_that_its_guardrail_refused_is_refused_again_at_no_cost(journal: Journal) -> None:
    def build(answers: list[Any]) -> Crew:
        writer = agent(ScriptedLLM(answers))
        refuse = lambda output: (False, "never")  # noqa: E731
        return Crew(
            tasks=[Task(description="D", expected_output="T", agent=writer, guardrail=refuse, guardrail_max_retries=1)]
        )

    for answers in (["a", "b"], []):
        with pytest.raises(GuardrailError, match="refused the output after 1 retries: never"):
            await build(answers).akickoff(journal=journal, run_id="r")


# -- tools ------------------------------------------------------------------------------------------------


async def test_finished_tool_calls_count_and_serve_the_cache(journal: Journal) -> None:
    made: list[str] = []

    @tool(max_usage_count=2)
    def look_up(word: str) -> str:
        """Looks a word up."""
        made.append(word)
        return f"{word} is known"

    def build(answers: list[Any]) -> Crew:
        writer = agent(ScriptedLLM(answers, max_retries=0), tools=[look_up])
        return Crew(tasks=[Task(description="D", expected_output="T", agent=writer)], cache=True)

    with pytest.raises(ProviderDownError):
        await build([call("look_up", word="sea"), down]).akickoff(journal=journal, run_id="r")
    words = ["sea", "tide", "moon"]
    again = build([*(call("look_up", word=word) for word in words), "done"])
    assert (await again.akickoff(journal=journal, run_id="r")).raw == "done"
    assert made == ["sea", "tide"]  # "sea" from the cache, "moon" is the third real call
    results = [m["content"] for m in requests(again)[-1].messages if m["role"] == "tool"]
    assert results[:3] == ["sea is known", "sea is known", "tide is known"]
    assert "may be called 2 times" in results[3]


async def test_a_long_result_can_be_read_on_after_resuming(journal: Journal) -> None:
    long = "\n".join(f"line {n} of the log" for n in range(2000))

    @tool
    def read_log() -> str:
        """Reads the log."""
        return long

    def build(answers: list[Any]) -> Crew:
        writer = agent(ScriptedLLM(answers, max_retries=0), tools=[read_log])
        return Crew(tasks=[Task(description="D", expected_output="T", agent=writer)])

    first = build([call("read_log"), down])
    with pytest.raises(ProviderDownError):
        await first.akickoff(journal=journal, run_id="r")
    again = build(["done"])
    await again.akickoff(journal=journal, run_id="r")
    assert requests(again)[0] == requests(first)[1]  # the same prompt, with the same tools
    names = [spec.name for spec in requests(again)[0].tools]
    assert "read_result" in names


async def test_what_a_provider_wants_back_with_a_tool_call_is_restored(journal: Journal) -> None:
    @tool
    def look_up(word: str) -> str:
        """Looks a word up."""
        return word

    def build(answers: list[Any]) -> Crew:
        writer = agent(ScriptedLLM(answers, max_retries=0), tools=[look_up])
        return Crew(tasks=[Task(description="D", expected_output="T", agent=writer)])

    extra = {"thinking": [{"type": "thinking", "thinking": "hm", "signature": "c2ln"}]}
    wish = ToolCall("call_1", "look_up", '{"word": "sea"}', extra)
    first = build([LLMResponse(tool_calls=(wish,), usage=UsageMetrics(), finish_reason="tool_calls"), down])
    with pytest.raises(ProviderDownError):
        await first.akickoff(journal=journal, run_id="r")
    again = build(["done"])
    await again.akickoff(journal=journal, run_id="r")
    assert requests(again)[0].messages == requests(first)[1].messages
    assert requests(again)[0].messages[2]["tool_calls"][0]["extra_content"] == extra


# -- many runs, and agents alone --------------------------------------------------------------------------


async def test_for_each_goes_on_run_by_run(journal: Journal) -> None:
    inputs = [{"topic": topic} for topic in ("tea", "milk", "rum")]

    def build(broken: str) -> Crew:
        def answer(request: LLMRequest) -> Any:
            text = request.messages[-1]["content"]
            return down(request) if broken and broken in text else text.splitlines()[0]

        writer = agent(ScriptedLLM(by=answer, max_retries=0))
        return Crew(tasks=[Task(description="Write {topic}", expected_output="T", agent=writer)])

    with pytest.raises(ProviderDownError):
        await build("milk").akickoff_for_each(inputs, journal=journal, run_id="batch")
    assert sorted(row.status for row in await journal.runs()) == ["completed", "completed", "failed"]
    again = build("")
    outputs = await again.akickoff_for_each(inputs, journal=journal, run_id="batch")
    assert [output.raw for output in outputs] == ["Write tea", "Write milk", "Write rum"]
    assert [output.run_id for output in outputs] == ["batch/1", "batch/2", "batch/3"]
    assert [request.messages[-1]["content"][:10] for request in requests(again)] == ["Write milk"]


async def test_an_agent_alone_goes_on(journal: Journal) -> None:
    @tool
    def look_up(word: str) -> str:
        """Looks a word up."""
        return f"{word}!"

    def build(answers: list[Any]) -> Agent:
        return agent(ScriptedLLM(answers, max_retries=0), tools=[look_up])

    with pytest.raises(ProviderDownError):
        await build([call("look_up", word="sea"), down]).akickoff("Q", journal=journal, run_id="r")
    assert (await build(["sea!"]).akickoff("Q", journal=journal, run_id="r")).raw == "sea!"
    output = await build([]).akickoff("Q", journal=journal, run_id="r")
    assert output.raw == "sea!"
    assert output.token_usage.successful_requests == 2
    assert len(await stored(journal, LLMFinished)) == 2
    with pytest.raises(JournalMismatchError, match="was started with inputs"):
        await build([]).akickoff("Another question", journal=journal, run_id="r")
