"""BaseLLM: what every model is, and what a user subclasses for a model of their own."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Sequence
from typing import Any, cast

from pydantic import BaseModel

from quarterdeck.concurrency import call_in_thread, run_sync
from quarterdeck.errors import ConfigError, MalformedResponseError
from quarterdeck.llm.send import own_caller, send
from quarterdeck.llm.structured import output_schema, parse
from quarterdeck.llm.types import (
    LLMRequest,
    LLMResponse,
    Message,
    OnDelta,
    ToolCall,
    ToolSpec,
    UsageMetrics,
)
from quarterdeck.streaming import Feed, Framer, StreamFrame, StreamSession


class BaseLLM:
    """A model that agents can use (CrewAI: ``crewai.BaseLLM``).

    For a model of your own, subclass it and implement one of:

    * ``call(messages, tools=None, ...) -> str``, sync, as CrewAI's users do; it runs in a thread;
    * ``async acall(...)``, the same on the event loop;
    * ``async complete(request, on_delta=None) -> LLMResponse``, the structured form.

    All get retries, usage and events. Raise one of the ``LLMError`` types to say what went wrong.

    Args:
        model: The model's name, for events, traces and prices.
        temperature: Sampling temperature; None leaves the provider's default.
        stop: Texts that end an answer.
        max_tokens: Upper limit of an answer in tokens.
        api_key: The provider's key.
        base_url: Where the provider is.
        provider: The provider's name.
        timeout: Time limit of one whole call in seconds.
        max_retries: How often a failed call that may succeed later is sent again.
        price: USD per million input and output tokens, where the price list does not know the model.
        additional_params: Kept, for subclasses.
    """

    model: str = "custom"
    provider: str = ""
    temperature: float | None = None
    stop: list[str] = []  # noqa: RUF012 - the default of subclasses that do not call __init__; never changed
    max_tokens: int | None = None
    api_key: str | None = None
    base_url: str | None = None
    timeout: float | None = 600.0
    max_retries: int = 4
    price: tuple[float, float] | None = None
    additional_params: dict[str, Any] = {}  # noqa: RUF012 - as above

    def __init__(
        self,
        model: str = "custom",
        temperature: float | None = None,
        *,
        stop: str | Sequence[str] | None = None,
        max_tokens: int | None = None,
        api_key: str | None = None,
        base_url: str | None = None,
        provider: str | None = None,
        timeout: float | None = 600.0,
        max_retries: int = 4,
        price: tuple[float, float] | None = None,
        **additional_params: Any,
    ) -> None:
        self.model = model
        self.temperature = temperature
        self.stop = [stop] if isinstance(stop, str) else list(stop or ())
        self.max_tokens = max_tokens
        self.api_key = api_key
        self.base_url = base_url
        self.provider = provider or ""
        self.timeout = timeout
        self.max_retries = max_retries
        self.price = price
        self.additional_params = additional_params

    # -- what a model can do ------------------------------------------------------------------------------

    def supports_function_calling(self) -> bool:
        """Whether the model takes ``tools``; if not, the agent describes them in the prompt."""
        return False

    def supports_output_schema(self) -> bool:
        """Whether the model can be held to a JSON schema (``LLMRequest.output_schema``)."""
        return False

    def supports_schema_with_tools(self) -> bool:
        """Whether it can be held to a JSON schema in a call that offers tools; else the schema is told in words."""
        return self.supports_output_schema()

    def supports_stop_words(self) -> bool:
        """Whether the model takes stop texts."""
        return True

    def supports_multimodal(self) -> bool:
        """Whether the model takes images."""
        return False

    def get_context_window_size(self) -> int:
        """The context window in tokens; 0 where it is not known."""
        return 0

    # -- one call -----------------------------------------------------------------------------------------

    async def complete(self, request: LLMRequest, on_delta: OnDelta | None = None) -> LLMResponse:
        """Makes one call, with no retry; raises an ``LLMError`` where it fails.

        The default calls the subclass's ``acall`` or ``call``.
        """
        own_acall = type(self).acall is not BaseLLM.acall
        if not own_acall and type(self).call is BaseLLM.call:
            raise ConfigError(
                f"{type(self).__name__} implements none of call(), acall() and complete(); "
                "implement one of them, e.g. def call(self, messages, tools=None, **kwargs) -> str"
            )
        function = self.acall if own_acall else self.call
        kwargs: dict[str, Any] = {"tools": [spec_to_openai(t) for t in request.tools] or None}
        accepted = _accepted(type(self).acall if own_acall else type(self).call, kwargs)
        messages = [dict(message) for message in request.messages]
        if own_acall:
            answer = await self.acall(messages, **accepted)
        else:
            answer = await call_in_thread(function, messages, **accepted)
        response = response_from(answer, self.model)
        if on_delta is not None and response.text:
            on_delta(response.text)
        return response

    def call(
        self,
        messages: str | list[Message],
        tools: list[dict[str, Any]] | None = None,
        callbacks: list[Any] | None = None,
        available_functions: dict[str, Callable[..., Any]] | None = None,
        from_task: Any = None,
        from_agent: Any = None,
        response_model: type[BaseModel] | None = None,
    ) -> Any:
        """Calls the model from sync code (CrewAI's signature).

        Args:
            messages: A question, or a conversation in OpenAI's form.
            tools: Tools in OpenAI's form.
            callbacks: Taken for compatibility; subscribe to events instead.
            available_functions: Functions by tool name; the one that the model calls is called, and its
                result is returned.
            from_task: Taken for compatibility.
            from_agent: Taken for compatibility.
            response_model: The answer is parsed into this model.

        Returns:
            The text; the tool calls, where the model made some and there are no ``available_functions``; an
            instance of ``response_model``, where one is given.
        """
        return run_sync(self.acall(messages, tools, callbacks, available_functions, None, None, response_model))

    async def acall(
        self,
        messages: str | list[Message],
        tools: list[dict[str, Any]] | None = None,
        callbacks: list[Any] | None = None,
        available_functions: dict[str, Callable[..., Any]] | None = None,
        from_task: Any = None,
        from_agent: Any = None,
        response_model: type[BaseModel] | None = None,
    ) -> Any:
        """The async form of ``call``."""
        return await self._answer(messages, tools, available_functions, response_model, None)

    async def _answer(
        self,
        messages: str | list[Message],
        tools: list[dict[str, Any]] | None,
        functions: dict[str, Callable[..., Any]] | None,
        response_model: type[BaseModel] | None,
        frame: Framer | None,
    ) -> Any:
        conversation = [{"role": "user", "content": messages}] if isinstance(messages, str) else messages
        schema = None
        if response_model is not None:
            schema = output_schema(response_model)
        specs = tuple(spec_from_openai(tool) for tool in tools or ())
        request = LLMRequest(messages=conversation, tools=specs, output_schema=schema)
        make = own_caller.get() or send
        response = await (_framed(self, request, frame) if frame else make(self, request))
        if response.tool_calls and not functions:
            return [call.to_message_part() for call in response.tool_calls]
        if response.tool_calls and functions:
            return await _call_function(response.tool_calls[0], functions)
        return parse(response.text, response_model) if response_model else response.text

    def stream_events(
        self,
        messages: str | list[Message],
        tools: list[dict[str, Any]] | None = None,
        callbacks: list[Any] | None = None,
        available_functions: dict[str, Callable[..., Any]] | None = None,
        from_task: Any = None,
        from_agent: Any = None,
        response_model: type[BaseModel] | None = None,
    ) -> StreamSession[Any]:
        """Calls the model and gives its answer piece by piece (CrewAI: ``stream_events``).

        The call is sent when the stream is first read, with ``for`` or ``async for``.

        Args:
            messages: As for ``call``, as all arguments are.
            tools: Tools in OpenAI's form.
            callbacks: Taken for compatibility.
            available_functions: Functions by tool name.
            from_task: Taken for compatibility.
            from_agent: Taken for compatibility.
            response_model: The answer is parsed into this model.

        Returns:
            Frames ``llm_call_started``, ``llm_stream_chunk`` (``frame.content`` is the text; a tool call is one frame,
            whole), ``llm_call_completed`` or ``llm_call_failed``; ``.result`` is what ``call`` returns.
        """

        async def work(feed: Feed[StreamFrame]) -> Any:
            return await self._answer(messages, tools, available_functions, response_model, Framer(feed))

        return StreamSession(work)

    # -- money --------------------------------------------------------------------------------------------

    def cost(self, usage: UsageMetrics) -> float | None:
        """The price of a call in USD; None where the price is not known."""
        if self.price is None:
            return None
        into, out = self.price
        return (usage.prompt_tokens * into + usage.completion_tokens * out) / 1e6


async def _framed(llm: BaseLLM, request: LLMRequest, frame: Framer) -> LLMResponse:
    """A call, with a frame for each thing that happens."""
    frame("llm_call_started", "llm", {"model": llm.model, "messages": list(request.messages)})
    try:
        response = await send(llm, request, lambda text: frame("llm_stream_chunk", "llm", {"chunk": text}))
    except Exception as error:
        frame("llm_call_failed", "llm", {"model": llm.model, "error": str(error)})
        raise
    for call in response.tool_calls:
        frame("llm_stream_chunk", "llm", {"chunk": "", "tool_call": call.to_message_part()})
    done = {"response": response.text, "finish_reason": response.finish_reason, "usage": response.usage.model_dump()}
    frame("llm_call_completed", "llm", {"model": llm.model, "response_id": response.response_id, **done})
    return response


def spec_to_openai(spec: ToolSpec) -> dict[str, Any]:
    """A tool in OpenAI's form."""
    function = {"name": spec.name, "description": spec.description, "parameters": spec.parameters}
    return {"type": "function", "function": function}


def spec_from_openai(tool: dict[str, Any]) -> ToolSpec:
    """A tool from OpenAI's form.

    Raises:
        ConfigError: The dict has no function with a name.
    """
    function = tool.get("function", tool)
    if not isinstance(function.get("name"), str):
        raise ConfigError(f"a tool needs the form {{'function': {{'name': …, 'parameters': …}}}}, got {tool!r}")
    empty: dict[str, Any] = {"type": "object", "properties": {}}
    return ToolSpec(function["name"], function.get("description", ""), function.get("parameters") or empty)


@functools.lru_cache(maxsize=256)
def _parameters(function: Callable[..., Any]) -> tuple[frozenset[str], bool]:
    parameters = inspect.signature(function).parameters
    names = frozenset(parameters)
    return names, any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())


def _accepted(function: Callable[..., Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments that a user's ``call`` takes; CrewAI's users leave out those that they do not need."""
    names, takes_all = _parameters(function)
    return kwargs if takes_all else {name: value for name, value in kwargs.items() if name in names}


def response_from(answer: Any, model: str) -> LLMResponse:
    """What a user's ``call`` returned, as a response.

    Raises:
        MalformedResponseError: The answer is of no type that ``call`` may return.
    """
    if isinstance(answer, LLMResponse):
        return answer
    if isinstance(answer, str):
        return LLMResponse(text=answer, model=model, usage=UsageMetrics(successful_requests=1))
    if isinstance(answer, BaseModel):
        return response_from(answer.model_dump_json(), model)
    kind = type(answer).__name__
    answers = cast("list[Any]", answer) if isinstance(answer, list) else []
    if answers:
        parts = [_tool_call(part, n, model) for n, part in enumerate(answers)]
        usage = UsageMetrics(successful_requests=1)
        return LLMResponse(tool_calls=tuple(parts), finish_reason="tool_calls", model=model, usage=usage)
    raise MalformedResponseError(
        f"call() of {model!r} returned {kind}; expected str, a list of tool calls, a pydantic model or an LLMResponse",
        model=model,
    )


def _tool_call(part: Any, number: int, model: str) -> ToolCall:
    def get(value: Any, key: str) -> Any:
        return cast("dict[str, Any]", value).get(key) if isinstance(value, dict) else getattr(value, key, None)

    if isinstance(part, ToolCall):
        return part
    function = get(part, "function") or part
    name, arguments = get(function, "name"), get(function, "arguments")
    if not isinstance(name, str):
        raise MalformedResponseError(f"call() of {model!r} returned a list with no tool call: {part!r}", model=model)
    text = arguments if isinstance(arguments, str) else json.dumps(arguments or {})
    return ToolCall(id=str(get(part, "id") or f"call_{number}"), name=name, arguments=text)


async def _call_function(call: ToolCall, functions: dict[str, Callable[..., Any]]) -> Any:
    if call.name not in functions:
        raise MalformedResponseError(f"the model called {call.name!r}; available: {sorted(functions)}")
    return await call_in_thread(functions[call.name], **json.loads(call.arguments or "{}"))
