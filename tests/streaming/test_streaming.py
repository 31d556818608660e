"""Streaming: chunks in order, the output after them; closing ends the run, a reader that stops does not hold it up."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from pydantic import BaseModel

from quarterdeck import Agent, BaseLLM, Crew, CrewOutput, Task
from quarterdeck.concurrency import call_in_thread
from quarterdeck.errors import ConfigError, InputError, ProviderDownError
from quarterdeck.llm.types import LLMRequest, LLMResponse, OnDelta, UsageMetrics
from quarterdeck.streaming import CrewStreamingOutput, StreamChunkType, StreamSession
from quarterdeck.testing import ScriptedLLM, call
from quarterdeck.tools import tool


class Words(BaseLLM):
    """Gives a text word by word; ``gate`` holds it up before the last one."""

    def __init__(self, text: str = "one two three", gate: threading.Event | None = None) -> None:
        super().__init__("words")
        self.text, self.gate = text, gate
        self.cancelled = False

    async def complete(self, request: LLMRequest, on_delta: OnDelta | None = None) -> LLMResponse:
        try:
            return await self._write(on_delta)
        except asyncio.CancelledError:
            self.cancelled = True
            raise

    async def _write(self, on_delta: OnDelta | None) -> LLMResponse:
        words = self.text.split(" ")
        for n, word in enumerate(words):
            if self.gate and n == len(words) - 1:
                await call_in_thread(self.gate.wait, 30)
            if on_delta:
                on_delta(word if n == 0 else f" {word}")
            await asyncio.sleep(0)
        return LLMResponse(text=self.text, model=self.model, usage=UsageMetrics(successful_requests=1))


def crew_of(*llms: BaseLLM, **fields: Any) -> Crew:
    tasks = [
        Task(
            description="Do {what}.",
            expected_output="It",
            name=f"t{n}",
            agent=Agent(role=f"Agent {n}", goal="Go", llm=llm, tools=fields.pop("tools", [])),
        )
        for n, llm in enumerate(llms)
    ]
    return Crew(tasks=tasks, **{"stream": True, **fields})


def started(crew: Crew) -> CrewStreamingOutput[CrewOutput]:
    """The stream, which ``kickoff`` is not typed to give."""
    stream: Any = crew.kickoff({"what": "it"})
    assert isinstance(stream, CrewStreamingOutput)
    return stream


def test_chunks_say_where_they_come_from() -> None:
    """Task, agent and text, in order; then the output."""
    crew = crew_of(Words("a b"), Words("c"))
    stream = started(crew)
    with pytest.raises(RuntimeError, match="has not ended"):
        _ = stream.result
    seen = [(c.content, c.task_index, c.task_name, c.agent_role) for c in stream]
    assert seen == [("a", 0, "t0", "Agent 0"), (" b", 0, "t0", "Agent 0"), ("c", 1, "t1", "Agent 1")]
    assert stream.get_full_text() == "a bc"
    assert stream.result.raw == "c"
    assert stream.results == [stream.result]
    assert stream.is_completed
    assert [c.task_id for c in stream.chunks] == [crew.tasks[0].id] * 2 + [crew.tasks[1].id]
    assert stream.chunks[0].agent_id == crew.tasks[0].agent.id  # type: ignore[union-attr]
    assert [str(c) for c in stream] == ["a", " b", "c"]  # again, from the first


def test_tool_calls_are_chunks() -> None:
    @tool
    def add(a: int) -> str:
        """Add."""
        return str(a)

    stream = started(crew_of(ScriptedLLM([[call("add", a=1), call("add", a=2)], "done"]), tools=[add]))
    chunks = [c for c in stream if c.chunk_type is StreamChunkType.TOOL_CALL]
    assert [(c.tool_call.tool_name, c.tool_call.arguments, c.tool_call.index) for c in chunks if c.tool_call] == [
        ("add", '{"a": 1}', 0),
        ("add", '{"a": 2}', 1),
    ]
    assert stream.result.raw == "done"
    assert stream.get_full_text() == "done"


async def test_async() -> None:
    """On the reader's own loop."""
    loops: list[asyncio.AbstractEventLoop] = []

    class Where(Words):
        async def complete(self, request: LLMRequest, on_delta: OnDelta | None = None) -> LLMResponse:
            loops.append(asyncio.get_running_loop())
            return await super().complete(request, on_delta)

    stream: Any = await crew_of(Where("a b")).akickoff({"what": "it"})
    assert [c.content async for c in stream] == ["a", " b"]
    assert stream.result.raw == "a b"
    assert loops == [asyncio.get_running_loop()]


def test_chunks_come_before_the_end() -> None:
    """The first ones are there while the model still writes."""
    gate = threading.Event()
    stream = started(crew_of(Words("a b c", gate)))
    reader = iter(stream)
    assert [next(reader).content, next(reader).content] == ["a", " b"]
    assert not stream.is_exhausted
    gate.set()
    assert [c.content for c in reader] == [" c"]
    assert stream.result.raw == "a b c"


def test_closing_cancels() -> None:
    """The call under way is interrupted; the output is partial, what was there can be read."""
    llm = Words("a b c", threading.Event())
    with started(crew_of(llm)) as stream:
        for chunk in stream:
            if chunk.content == " b":
                break
    assert llm.cancelled
    assert stream.is_cancelled
    assert not stream.is_completed
    assert (stream.result.status, stream.result.reason) == ("cancelled", "the stream was closed")
    assert [c.content for c in stream] == ["a", " b"]
    stream.close()  # again: nothing


async def test_aclose_cancels() -> None:
    llm = Words("a b c", threading.Event())
    stream: Any = await crew_of(llm).akickoff({"what": "it"})
    async with stream:
        async for _ in stream:
            break
        with pytest.raises(RuntimeError, match="aclose"):
            stream.close()
        with pytest.raises(RuntimeError, match="async for"):
            next(iter(stream))
    assert llm.cancelled
    assert stream.result.status == "cancelled"


async def test_closing_at_once() -> None:
    """Also before the work has had its first turn."""
    for turns in range(4):
        stream: Any = await crew_of(Words("a b c", threading.Event())).akickoff({"what": "it"})
        reader = asyncio.ensure_future(anext(aiter(stream)))
        for _ in range(turns):
            await asyncio.sleep(0)
        await stream.aclose()
        assert stream.is_exhausted
        reader.cancel()
        await asyncio.wait([reader])


def test_a_stream_that_is_not_read_does_nothing() -> None:
    """It begins when it is read; closed before that, it never does."""
    llm = Words("a")
    stream = started(crew_of(llm))
    stream.close()
    assert list(stream) == []
    with pytest.raises(RuntimeError, match="closed before it began"):
        _ = stream.result


def test_a_reader_that_stops_does_not_hold_up_the_run() -> None:
    """The run goes on to its end; the pieces wait."""
    done = threading.Event()
    stream = started(crew_of(Words(" ".join("x" * 500)), task_callback=lambda output: done.set()))
    next(iter(stream))
    assert done.wait(30)
    assert len(list(stream)) == 500


def test_an_error_comes_at_the_end() -> None:
    """The chunks first, then what the run raised; ``result`` raises it too."""
    stream = started(crew_of(Words("a"), ScriptedLLM([ProviderDownError("gone")], max_retries=0)))
    seen: list[str] = []
    with pytest.raises(ProviderDownError, match="gone"):
        seen.extend(c.content for c in stream)
    with pytest.raises(ProviderDownError):
        _ = stream.result
    assert [c.content for c in stream.chunks] == ["a"]
    with pytest.raises(InputError):
        crew_of(Words()).kickoff({1: "x"})  # type: ignore[dict-item]


def test_for_each() -> None:
    """One stream for each inputs, each begun when it is read."""
    streams: Any = crew_of(Words("a b")).kickoff_for_each([{"what": "x"}, {"what": "y"}])
    assert [[c.content for c in stream] for stream in streams] == [["a", " b"]] * 2
    assert [stream.result.raw for stream in streams] == ["a b"] * 2


async def test_for_each_at_once() -> None:
    """One stream of all runs; their outputs in the order of the inputs."""
    stream: Any = await crew_of(ScriptedLLM(by=lambda r: r.messages[1]["content"].split(".")[0])).akickoff_for_each(
        [{"what": "x"}, {"what": "y"}], run_id="r"
    )
    assert {(c.content, c.run_id) async for c in stream} == {("Do x", "r/1"), ("Do y", "r/2")}
    assert [output.raw for output in stream.results] == ["Do x", "Do y"]
    with pytest.raises(RuntimeError, match="2 outputs"):
        _ = stream.result


def test_the_option_wins() -> None:
    """``stream=False`` gives the output; ``start`` does too; a crew without ``stream`` gives it anyway."""
    crew = crew_of(Words("a"))
    assert crew.kickoff({"what": "it"}, stream=False).raw == "a"
    assert crew.start({"what": "it"}).result(30).raw == "a"
    assert crew_of(Words("a"), stream=False).kickoff({"what": "it"}, stream=True).raw == "a"


async def test_many_readers_of_one_stream() -> None:
    """Each sees all of it, in order."""
    stream: Any = await crew_of(Words(" ".join(map(str, range(50))))).akickoff({"what": "it"})

    async def read() -> str:
        return "".join([c.content async for c in stream])

    texts = await asyncio.gather(*(read() for _ in range(5)))
    assert texts == [stream.result.raw] * 5


# -- models on their own --------------------------------------------------------------------------------------


def test_a_model_s_frames() -> None:
    """Start, pieces, end, numbered and linked; then what ``call`` would have given."""
    with Words("a b").stream_events("Say.") as stream:
        frames = list(stream.events)
    assert [f.type for f in frames] == [
        "llm_call_started",
        "llm_stream_chunk",
        "llm_stream_chunk",
        "llm_call_completed",
    ]
    assert [f.seq for f in frames] == [1, 2, 3, 4]
    assert [f.previous_id for f in frames] == [None, *(f.id for f in frames[:-1])]
    assert "".join(f.content for f in stream.llm) == "a b"
    assert frames[-1].event["response"] == "a b"
    assert stream.result == "a b"
    assert list(stream.tools) == []
    with pytest.raises(ConfigError, match="no channel 'x'"):
        stream.interleave(["x"])


class Depth(BaseModel):
    fathoms: int


async def test_a_model_s_frames_async() -> None:
    """Tool calls are frames; a response model is made."""
    stream: StreamSession[Any] = ScriptedLLM([[call("add", a=1)]]).stream_events("Say.")
    calls = [f.data["tool_call"]["function"]["name"] async for f in stream.llm if "tool_call" in f.data]
    assert calls == ["add"]
    assert stream.result[0]["function"]["name"] == "add"
    other = ScriptedLLM(['{"fathoms": 3}']).stream_events("Say.", response_model=Depth)
    assert [f.content async for f in other.llm if f.content] == ['{"fathoms": 3}']
    assert other.result == Depth(fathoms=3)


def test_a_model_that_fails() -> None:
    """The failure is the last frame, and raised."""
    stream = ScriptedLLM([ProviderDownError("gone")], max_retries=0).stream_events("Say.")
    with pytest.raises(ProviderDownError):
        list(stream)
    assert [f.type for f in stream.chunks] == ["llm_call_started", "llm_call_failed"]


def test_closing_a_model_s_stream() -> None:
    """The call is interrupted; there is no result."""
    llm = Words("a b c", threading.Event())
    with llm.stream_events("Say.") as stream:
        next(iter(stream.llm))
    assert llm.cancelled
    with pytest.raises(RuntimeError, match="closed before it had a result"):
        _ = stream.result
