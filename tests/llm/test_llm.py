"""Which model a name means, where it is called, what it can do, and how ``call`` answers."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
import subprocess
import sys
import warnings
from typing import Any

import pytest
from pydantic import BaseModel

from quarterdeck.errors import ConfigError, MalformedResponseError
from quarterdeck.llm import LLM, BaseLLM, LLMRequest, LLMResponse, UsageMetrics, create_llm, http
from quarterdeck.llm.providers import PROVIDERS, resolve
from quarterdeck.llm.send import send
from quarterdeck.testing import LoopbackServer, call

VARIABLES = ["QUARTERDECK_MODEL", "OPENAI_MODEL_NAME", "MODEL", "AZURE_API_VERSION", "OPENAI_API_VERSION"]


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for provider in PROVIDERS.values():
        for name in (*provider.key_variables, *provider.url_variables):
            monkeypatch.delenv(name, raising=False)
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("name", "provider", "model"),
    [
        ("gpt-4o", "openai", "gpt-4o"),
        ("openai/gpt-4o", "openai", "gpt-4o"),
        ("claude-sonnet-4-5", "anthropic", "claude-sonnet-4-5"),
        ("anthropic/claude-sonnet-4-5", "anthropic", "claude-sonnet-4-5"),
        ("claude/claude-sonnet-4-5", "anthropic", "claude-sonnet-4-5"),
        ("gemini-2.5-flash", "gemini", "gemini-2.5-flash"),
        ("google/gemini-2.5-flash", "gemini", "gemini-2.5-flash"),
        ("azure_openai/my-deployment", "azure", "my-deployment"),
        ("mistral-large-latest", "mistral", "mistral-large-latest"),
        ("deepseek-chat", "deepseek", "deepseek-chat"),
        ("grok-4", "xai", "grok-4"),
        ("groq/llama-3.3-70b-versatile", "groq", "llama-3.3-70b-versatile"),
        ("openrouter/deepseek/deepseek-chat", "openrouter", "deepseek/deepseek-chat"),
        ("together/meta-llama/Llama-3.3-70B", "together_ai", "meta-llama/Llama-3.3-70B"),
        ("ollama_chat/llama3.2:3b", "ollama", "llama3.2:3b"),
        ("vllm/Qwen/Qwen3-8B", "hosted_vllm", "Qwen/Qwen3-8B"),
        ("my-own-model", "openai", "my-own-model"),
        ("bedrock/anthropic.claude", "bedrock", "anthropic.claude"),
    ],
)
def test_names(name: str, provider: str, model: str) -> None:
    assert resolve(name) == (provider, model)


def test_a_named_provider_wins_over_the_prefix() -> None:
    assert resolve("meta/llama", "openrouter") == ("openrouter", "meta/llama")
    assert resolve("openrouter/meta/llama", "openrouter") == ("openrouter", "meta/llama")
    assert resolve("google/gemini-2.5-pro", "gemini") == ("gemini", "gemini-2.5-pro")
    assert resolve("anthropic/claude-x", custom_openai=True) == ("openai", "anthropic/claude-x")


@pytest.mark.parametrize("name", ["", "  ", "openai/"])
def test_a_name_that_is_none(name: str) -> None:
    with pytest.raises(ConfigError, match="names no model"):
        resolve(name)


def test_no_model_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert repr(LLM()) == "LLM('openai/gpt-4o-mini')"
    for variable, name in (("MODEL", "c"), ("OPENAI_MODEL_NAME", "b"), ("QUARTERDECK_MODEL", "groq/a")):
        monkeypatch.setenv(variable, name)
        assert LLM().model == name.removeprefix("groq/")
    assert LLM().provider == "groq"


@pytest.mark.parametrize("name", sorted(set(PROVIDERS) - {"anthropic", "claude", "azure", "azure_openai"}))
async def test_every_openai_provider(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = PROVIDERS[name]
    with LoopbackServer(["ok"]) as server:
        if provider.url_variables:
            monkeypatch.setenv(provider.url_variables[-1], server.base_url + "/")
            llm = LLM(f"{name}/some-model")
        else:
            llm = LLM(f"{name}/some-model", base_url=server.base_url)
        monkeypatch.setenv(provider.key_variables[-1], "key-of-" + name)
        assert await llm.acall("hi") == "ok"
    [received] = server.requests
    assert received.path == "/v1/chat/completions"
    assert received.headers["authorization"] == f"Bearer key-of-{name}"
    assert received.body["model"] == "some-model"
    for variable in provider.url_variables:
        monkeypatch.delenv(variable, raising=False)
    assert LLM(f"{name}/m").base().startswith(("https://", "http://localhost"))


async def test_anthropic(monkeypatch: pytest.MonkeyPatch) -> None:
    with LoopbackServer(["ok", "ok"]) as server:
        monkeypatch.setenv("ANTHROPIC_API_KEY", "ant")
        for base in (server.base_url, server.base_url.removesuffix("/v1")):
            monkeypatch.setenv("ANTHROPIC_BASE_URL", base)
            assert await LLM("claude-sonnet-4-5").acall("hi") == "ok"
    for received in server.requests:
        assert received.path == "/v1/messages"
        assert (received.headers["x-api-key"], received.headers["anthropic-version"]) == ("ant", "2023-06-01")


async def test_azure(monkeypatch: pytest.MonkeyPatch) -> None:
    with LoopbackServer(["ok"] * 4) as server:
        endpoint = server.base_url.removesuffix("/v1")
        monkeypatch.setenv("AZURE_API_KEY", "az")
        await LLM("azure/mine", base_url=endpoint).acall("hi")
        await LLM("azure/mine", base_url=endpoint + "/openai/deployments/other", api_version="v9").acall("hi")
        monkeypatch.setenv("AZURE_ENDPOINT", endpoint + "/openai/v1/")
        monkeypatch.setenv("AZURE_API_VERSION", "v8")
        await LLM("azure/mine").acall("hi")
        await LLM("azure/mine", api_base=endpoint).acall("hi")
    assert [received.path for received in server.requests] == [
        "/openai/deployments/mine/chat/completions?api-version=2024-10-21",
        "/openai/deployments/other/chat/completions?api-version=v9",
        "/openai/v1/chat/completions",
        "/openai/deployments/mine/chat/completions?api-version=v8",
    ]
    assert all(received.headers["api-key"] == "az" for received in server.requests)
    monkeypatch.delenv("AZURE_ENDPOINT")
    with pytest.raises(ConfigError, match="AZURE_ENDPOINT"):
        await LLM("azure/mine").acall("hi")


async def test_a_server_of_ones_own_needs_no_key() -> None:
    with LoopbackServer(["ok", "ok"]) as server:
        assert await LLM("org/model", custom_openai=True, base_url=server.base_url).acall("hi") == "ok"
        assert await LLM("ollama/x", base_url=server.base_url, default_headers={"X-Team": "blue"}).acall("hi") == "ok"
    own, ollama = server.requests
    assert own.body["model"] == "org/model"
    assert "authorization" not in own.headers
    assert ollama.headers["x-team"] == "blue"


def test_what_models_can_do() -> None:
    assert LLM("gpt-4o").supports_function_calling()
    assert not LLM("o1-mini").supports_function_calling()
    assert LLM("gpt-4o").supports_output_schema()
    for name in ("gpt-4-turbo", "gpt-4", "deepseek/deepseek-chat", "groq/llama-3.3-70b-versatile"):
        assert not LLM(name).supports_output_schema(), name
    assert LLM("groq/openai/gpt-oss-20b").supports_output_schema()
    assert [LLM(name).supports_stop_words() for name in ("gpt-4o", "o3", "gpt-5-mini", "claude-3-haiku")] == [
        True,
        False,
        False,
        True,
    ]
    sees = [
        "gpt-4o",
        "gpt-5",
        "claude-sonnet-4-5",
        "gemini/gemini-2.5-pro",
        "ollama/llava",
        "openrouter/x/qwen2.5-vl-7b",
    ]
    assert all(LLM(name).supports_multimodal() for name in sees)
    assert not any(LLM(name).supports_multimodal() for name in ("gpt-3.5-turbo", "o3-mini", "ollama/llama3.2"))
    assert LLM("gpt-4o").get_context_window_size() == 128_000
    assert LLM("ollama/nobody-knows").get_context_window_size() == 0


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (None, "openai/gpt-4o-mini"),
        ("claude-sonnet-4-5", "anthropic/claude-sonnet-4-5"),
        ({"model": "groq/llama", "temperature": 0.1}, "groq/llama"),
        ({"model_name": "gpt-4o"}, "openai/gpt-4o"),
        ({"deployment_name": "gpt-4o"}, "openai/gpt-4o"),
    ],
)
def test_create_llm(value: Any, name: str) -> None:
    llm = create_llm(value)
    assert isinstance(llm, LLM)
    assert f"{llm.provider}/{llm.model}" == name
    assert create_llm(llm) is llm


def test_create_llm_from_anything_else() -> None:
    with pytest.raises(ConfigError, match="got int"):
        create_llm(7)  # type: ignore[arg-type]


def test_limits_below_one_are_refused() -> None:
    assert LLM(max_tokens=10.0).max_tokens == 10  # type: ignore[arg-type]
    for name in ("max_tokens", "max_completion_tokens"):
        with pytest.raises(ConfigError, match=f"{name} must be at least 1, got 0"):
            LLM(**{name: 0})


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies(copied: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    llm = LLM("groq/llama", temperature=0.3, stop=["x"], custom_setting=1)
    monkeypatch.setenv("QUARTERDECK_MODEL", "local/smollm2")
    again = copied(llm)
    assert type(again) is LLM
    assert vars(again) == vars(llm)


def test_the_key_is_not_shown() -> None:
    assert "secret" not in repr(LLM("gpt-4o", api_key="secret"))


def test_local_models_have_their_own_class() -> None:
    llm = LLM("local/smollm2", temperature=0.2)
    assert type(llm).__name__ == "LocalLLM"
    assert (llm.temperature, isinstance(llm, BaseLLM)) == (0.2, True)


def test_nothing_heavy_is_loaded_before_the_first_call() -> None:
    code = (
        "import sys, quarterdeck.llm, quarterdeck.testing as t; quarterdeck.llm.LLM('gpt-4o'); t.ScriptedLLM;"
        "heavy = {'aiohttp', 'genai_prices', 'litellm', 'openai', 'rich', 'xllamacpp'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_sessions_end_with_their_loops() -> None:
    """No ResourceWarning, for loops that end and for the background one that does not."""
    code = """
import asyncio, gc
from quarterdeck.testing import LoopbackServer
with LoopbackServer(by=lambda request: "ok") as server:
    llm = server.llm()
    for _ in range(2):
        asyncio.run(llm.acall("hi"))
    gc.collect()
    assert llm.call("hi") == "ok"
"""
    done = subprocess.run([sys.executable, "-X", "dev", "-W", "error", "-c", code], capture_output=True, text=True)
    noise = [line for line in done.stderr.splitlines() if "Warning" in line or "Error" in line or "Unclosed" in line]
    assert (done.returncode, noise) == (0, [])


def test_a_loop_that_was_closed_too_early_does_no_harm() -> None:
    with LoopbackServer(by=lambda request: "ok") as server:
        for _ in range(3):
            loop = asyncio.new_event_loop()
            loop.run_until_complete(server.llm().acall("hi"))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)  # asyncio's, for its sockets
                loop.close()  # without shutdown_asyncgens()
                del loop
                http._forget_closed_loops()  # pyright: ignore[reportPrivateUsage]
                gc.collect()
        assert asyncio.run(server.llm().acall("hi")) == "ok"
    assert not [loop for loop in http._sessions if loop.is_closed()]  # pyright: ignore[reportPrivateUsage]


def test_ollamas_host() -> None:
    for given in ("127.0.0.1:11434", "http://127.0.0.1:11434/", "http://127.0.0.1:11434/v1"):
        assert LLM("ollama/llama3.2", base_url=given).base() == "http://127.0.0.1:11434/v1"


# -- call() ----------------------------------------------------------------------------------------------------


class Point(BaseModel):
    x: int


TOOL = {"type": "function", "function": {"name": "double", "description": "2x", "parameters": {"type": "object"}}}


def test_call_returns_text_calls_results_and_models() -> None:
    wish = call("double", x=21)
    with LoopbackServer(["hello", wish, wish, '{"x": 5}']) as server:
        llm = server.llm()
        assert llm.call("hi") == "hello"
        assert llm.call([{"role": "user", "content": "hi"}], tools=[TOOL]) == [wish.to_message_part()]
        assert llm.call("hi", tools=[TOOL], available_functions={"double": lambda x: 2 * x}) == 42
        assert llm.call("hi", response_model=Point) == Point(x=5)
    assert server.requests[3].request.output_schema is not None


class Plain(BaseLLM):
    """As CrewAI's users write it."""

    def __init__(self) -> None:
        super().__init__(model="plain", temperature=0.5)

    def call(self, messages: Any, tools: Any = None, **kwargs: Any) -> str:  # type: ignore[override]
        return f"{messages[-1]['content']} with {len(tools or [])} tools"


class Narrow(BaseLLM):
    def call(self, messages: Any) -> str:  # type: ignore[override]
        return "narrow"


class Asynchronous(BaseLLM):
    async def acall(self, messages: Any, tools: Any = None, **kwargs: Any) -> Any:  # type: ignore[override]
        return [{"function": {"name": "f", "arguments": {"a": 1}}}]


class Structured(BaseLLM):
    async def complete(self, request: LLMRequest, on_delta: Any = None) -> LLMResponse:
        return LLMResponse("structured", usage=UsageMetrics(prompt_tokens=3))


class Wrong(BaseLLM):
    def call(self, messages: Any) -> Any:  # type: ignore[override]
        return 7


class Empty(BaseLLM):
    pass


async def test_models_of_ones_own() -> None:
    request = LLMRequest([{"role": "user", "content": "hi"}])
    pieces: list[str] = []
    plain = await send(Plain(), request, pieces.append)
    assert (plain.text, plain.usage.successful_requests, pieces) == ("hi with 0 tools", 1, ["hi with 0 tools"])
    assert (await send(Narrow(), request)).text == "narrow"
    [wish] = (await send(Asynchronous(), request)).tool_calls
    assert (wish.name, wish.arguments) == ("f", '{"a": 1}')
    assert (await send(Structured(), request)).text == "structured"
    assert await Structured().acall("hi") == "structured"
    with pytest.raises(MalformedResponseError, match=r"call\(\) of 'custom' returned int"):
        await send(Wrong(), request)
    with pytest.raises(ConfigError, match=r"none of call\(\), acall\(\) and complete\(\)"):
        await send(Empty(), request)
