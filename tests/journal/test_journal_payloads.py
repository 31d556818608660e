"""What an event becomes in the database, and that it comes back exactly."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quarterdeck.errors import JournalError
from quarterdeck.events import Event, LLMFinished, RunStarted, TaskFinished, ToolFinished
from quarterdeck.runtime.journal import Journal
from quarterdeck.runtime.journal.payloads import Packer

Query = Callable[[str], list[tuple[Any, ...]]]

LONG = "a long text, " * 40
LONE = "half of a pair: \ud83d"
PAIR = "\ud83d\ude00"  # two code points in Python, not one: JSON's escapes would make one of them

long_texts = st.text(max_size=20).map(lambda text: text + "å" * 300) | st.just(LONG)
# Whatever Python's str can hold, unpaired surrogates and NUL too, and what the journal's own marks look like.
texts = st.text(st.characters(), max_size=20) | long_texts | st.sampled_from([LONE, PAIR, "\0", '{"$ref":"00"}'])
keys = st.sampled_from(["$ref", "$base", "$$ref", "$", "keep", "add", "content", ""]) | st.text(max_size=10)
numbers = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False)
values = st.recursive(
    numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=15,
)
objects = st.dictionaries(keys, values, max_size=4)
messages = st.fixed_dictionaries({"role": st.sampled_from(["user", "tool"]), "content": values}, optional={"x": values})


@st.composite
def conversations(draw: st.DrawFn) -> list[Event]:
    """Calls of two interleaved conversations, whose prompts grow, shrink, change and begin anew."""
    events: list[Event] = []
    pool = draw(st.lists(messages, min_size=1, max_size=6))
    for _ in range(draw(st.integers(1, 6))):
        prompt = [dict(message) if draw(st.booleans()) else message for message in pool]
        prompt = prompt[: draw(st.integers(0, len(pool)))]
        path = draw(st.sampled_from(["a/1/llm/1", "a/2/llm/1", "b/1/llm/1", "llm"]))
        events.append(
            LLMFinished(model="m", path=path, messages=prompt, text=draw(texts), tool_calls=draw(st.lists(objects)))
        )
        pool = [*pool, draw(messages)]
    return events


events_of_a_run = st.one_of(
    conversations(),
    st.lists(
        st.builds(RunStarted, crew=texts, inputs=objects)
        | st.builds(ToolFinished, tool=texts, arguments=objects, output=texts, ok=st.booleans(), error=texts)
        | st.builds(TaskFinished, task=texts, output=objects, seconds=st.floats(0, 1e9)),
        max_size=4,
    ),
)


def stamped(events: list[Event], run_id: str) -> list[Event]:
    return [event.stamped(run_id, seq) for seq, event in enumerate(events, 1)]


async def written_and_read(journal: Journal, events: list[Event]) -> None:
    run_id = str(uuid.uuid4())
    run = await journal.open_run(run_id)
    for event in stamped(events, run_id):
        await run.append(event)
    assert await journal.events(run_id) == events
    half = len(events) // 2
    assert await journal.events(run_id, after=half) == events[half:]
    again = await journal.open_run(run_id)
    assert again.events == events
    more = [type(event)(**_fields(event)) for event in events]  # the same once more, in a second segment
    for seq, event in enumerate(more, len(events) + 1):
        await again.append(event.stamped(run_id, seq))
    assert await journal.events(run_id) == events + more


def _fields(event: Event) -> dict[str, Any]:
    return {name: value for name, value in event.to_dict().items() if name not in ("v", "type")}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=events_of_a_run)
def test_every_event_comes_back_exactly(journal: Journal, events: list[Event]) -> None:
    asyncio.run(written_and_read(journal, events))


@pytest.mark.parametrize("text", ["\0", "a\0" * 200, LONE, LONE * 50, PAIR, "\x7f\x85\u2028\ufeff", "😀" * 300])
async def test_texts_that_databases_do_not_like(journal: Journal, text: str) -> None:
    events: list[Event] = [
        RunStarted(crew=text, inputs={"text": text, "list": [text]}),
        LLMFinished(model="m", text=text, messages=[{"role": "user", "content": text}]),
        ToolFinished(tool="t", output=text, ok=False, error=text),
    ]
    await written_and_read(journal, events)


async def test_a_key_that_is_not_unicode_is_refused(journal: Journal) -> None:
    run = await journal.open_run("r1")
    with pytest.raises(JournalError, match=r"event run\.started, field 'inputs' cannot .*: a key is not valid Unicode"):
        await run.append(RunStarted(crew="c", inputs={LONE: 1}).stamped("r1", 1))


# -- how much is stored -----------------------------------------------------------------------------------------


async def test_an_answer_is_stored_once_wherever_it_appears(journal: Journal, query: Query) -> None:
    answer = "the answer, " * 100
    prompt = [{"role": "user", "content": "do it"}]
    said = [*prompt, {"role": "assistant", "content": answer}, {"role": "user", "content": "shorter"}]
    events = [
        LLMFinished(model="m", path="t/1/llm/1", messages=prompt, text=answer),
        LLMFinished(model="m", path="t/1/llm/2", messages=said, text="ok"),
        TaskFinished(task="t", output={"raw": answer, "messages": said}),
        RunStarted(crew="c", inputs={answer[:10]: answer}, segment=2),
    ]
    await written_and_read(journal, [*events])
    ((size, count),) = query("SELECT sum(length(body)), count(*) FROM qd_payloads")
    assert (size, count) == (len(answer), 1)  # in both segments


def test_a_payload_is_sent_to_the_database_once() -> None:
    packer = Packer(stored=())
    sent = [packer.pack(TaskFinished(task="t", output={"raw": LONG}).stamped("r1", seq)).payloads for seq in (1, 2)]
    assert [list(payloads.values()) for payloads in sent] == [[LONG.encode()], []]
    after_a_restart = Packer(stored=sent[0])
    assert after_a_restart.pack(TaskFinished(task="t", output={"raw": LONG}).stamped("r1", 3)).payloads == {}


async def test_a_long_conversation_does_not_store_its_history_again(journal: Journal, query: Query) -> None:
    run = await journal.open_run("r1")
    conversation: list[dict[str, Any]] = [{"role": "system", "content": "you are the system " * 50}]
    events: list[Event] = []
    for step in range(1, 51):
        conversation.append({"role": "user", "content": f"a short question, number {step}"})
        answer = f"the answer to question {step}, " * 30
        event = LLMFinished(model="m", path=f"t/1/llm/{step}", messages=[*conversation], text=answer)
        await run.append(event.stamped("r1", step))
        events.append(event)
        conversation.append({"role": "assistant", "content": answer})
    ((bodies,),) = query("SELECT sum(length(body)) FROM qd_events")
    ((payloads,),) = query("SELECT sum(length(body)) FROM qd_payloads")
    content = sum(len(message["content"]) for message in conversation)
    assert payloads < content
    assert bodies < 50 * 500
    assert sum(len(event.to_json()) for event in events) > 10 * (bodies + payloads)
    assert await journal.events("r1", after=49) == events[49:]  # built on the 49 before it
    assert (await journal.open_run("r1")).events == events


async def test_a_conversation_goes_on_from_its_base_after_a_restart(journal: Journal, query: Query) -> None:
    prompt = [{"role": "user", "content": f"question {n} " * 15} for n in range(30)]
    first = await journal.open_run("r1")
    await first.append(LLMFinished(model="m", path="t/1/llm/1", messages=prompt).stamped("r1", 1))
    second = await journal.open_run("r1")
    copied = [dict(message) for message in prompt]
    event = LLMFinished(model="m", path="t/1/llm/2", messages=[*copied, {"role": "user", "content": "more"}])
    await second.append(event.stamped("r1", 2))
    ((one,), (two,)) = query("SELECT length(body) FROM qd_events ORDER BY seq")
    assert two < 400 < 4000 < one
    assert (await journal.events("r1"))[1] == event


async def test_a_message_changed_in_place_is_stored_as_it_was_sent(journal: Journal) -> None:
    message: dict[str, Any] = {"role": "user", "content": "before"}
    run = await journal.open_run("r1")
    await run.append(LLMFinished(model="m", path="t/1/llm/1", messages=[message]).stamped("r1", 1))
    message["content"] = "after"
    await run.append(LLMFinished(model="m", path="t/1/llm/2", messages=[message]).stamped("r1", 2))
    sent = [event.messages[0]["content"] for event in await journal.events("r1") if isinstance(event, LLMFinished)]
    assert sent == ["before", "after"]


async def test_a_payload_that_is_gone_is_an_error(journal: Journal, query: Query) -> None:
    run = await journal.open_run("r1")
    await run.append(LLMFinished(model="m", text=LONG).stamped("r1", 1))
    query("DELETE FROM qd_payloads")
    with pytest.raises(JournalError, match="event 1 of run 'r1' is damaged"):
        await journal.events("r1")
    with pytest.raises(JournalError, match="event 1 of run 'r1' is damaged"):
        await journal.open_run("r1")
