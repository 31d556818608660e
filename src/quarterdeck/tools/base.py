"""BaseTool, Tool and CrewStructuredTool: what an agent can be given to call.

A tool is a definition: it holds no state of a run, so one object serves many runs at once.
"""

# The functions beside the class use its private parts, so that all other names stay free for users' fields:
# pyright: reportPrivateUsage=false
from __future__ import annotations

import inspect
import json
import threading
import weakref
from collections.abc import Callable
from typing import Any, Generic, Literal, ParamSpec, Self, TypeVar, cast

import pydantic_core
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, ValidationInfo, field_validator

from quarterdeck.concurrency import call, is_async, run_sync
from quarterdeck.errors import ConfigError, ToolUsageLimitError
from quarterdeck.llm.types import ToolSpec
from quarterdeck.tools.arguments import ArgumentPlan, nearest, parse_arguments
from quarterdeck.tools.docstring import split_docstring
from quarterdeck.tools.failure import FailurePolicy, ToolFailure
from quarterdeck.tools.infer import arguments_model
from quarterdeck.tools.names import sanitize_tool_name

P = ParamSpec("P")
R = TypeVar("R", covariant=True)

MAX_RESULT_CHARS = 8_000
"""Characters of a result that a model is shown, where the tool sets no other number."""
MIN_RESULT_CHARS = 200


class EnvVar(BaseModel):
    """An environment variable that a tool reads (CrewAI: ``EnvVar``). It is a description, and never the value."""

    name: str
    description: str
    required: bool = True
    default: str | None = None


class Inferred(BaseModel):
    """Stands for "from the signature" until the tool is made."""


def always_cache(_arguments: Any = None, _result: Any = None) -> bool:
    """The default ``cache_function``: every result may be used again within the run."""
    return True


def never_cache(_arguments: Any = None, _result: Any = None) -> bool:
    """A ``cache_function`` for tools whose answer to the same call may change during a run."""
    return False


class BaseTool(BaseModel):
    """A tool (CrewAI: ``crewai.tools.BaseTool``). Subclass it and implement ``_run``, ``async _arun``, or both.

    Args:
        name: What it is called; models see it sanitised (``Web Search`` becomes ``web_search``).
        description: Tells the model when and how to use it.
        args_schema: The arguments as a pydantic model; by default made from the signature of ``_run``.
        result_schema: A type that results must fit: a pydantic model, or anything pydantic understands.
        cache_function: Called with ``(arguments, result)``; says whether the result may be used again in this run.
        result_as_answer: The result is the task's answer; the agent adds no words of its own.
        max_usage_count: How often it may be called in one run; None: no limit.
        env_vars: The environment variables that it reads.
        tool_failure_policy: What a failed call does to the task: ``warn`` (the default) notes it in the output,
            ``ignore`` does not, ``raise`` ends the task. None takes the task's, the agent's, the crew's.
        timeout: Time limit of one call in seconds; None: no limit.
        retry: ``safe``: a call that a crash interrupted is made again, with the same ``step_key()``.
            ``never``: it is not; the run stops and asks. Results of such a tool are never taken from the cache.
        max_result_chars: A longer result is cut for the model, who can read the rest; None: no limit.
        current_usage_count: Calls made by your own code through ``run`` and ``arun``. Calls of agents are counted
            per run, in the run.

    Raises:
        ConfigError: An argument is unknown or does not fit, or neither ``_run`` nor ``_arun`` is implemented.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    name: str
    description: str
    args_schema: type[BaseModel] = Inferred
    result_schema: Any = None
    cache_function: Callable[..., bool] = always_cache
    result_as_answer: bool = False
    max_usage_count: int | None = None
    env_vars: list[EnvVar] = Field(default_factory=list[EnvVar])
    tool_failure_policy: FailurePolicy | None = None
    timeout: float | None = None
    retry: Literal["safe", "never"] = "safe"
    max_result_chars: int | None = MAX_RESULT_CHARS
    current_usage_count: int = 0

    _plan: ArgumentPlan | None = PrivateAttr(default=None)
    _spec: ToolSpec | None = PrivateAttr(default=None)

    def __init__(self, /, **data: Any) -> None:
        try:
            super().__init__(**data)
        except ValidationError as error:
            raise ConfigError(_wrong_field(type(self), error)) from None  # the cause would show keys among the values
        _check_limits(self)
        if self.args_schema is Inferred:
            self.args_schema = _inferred_schema(self)
        plan_of(self)  # a schema that the function cannot take is found now, not in a run

    @field_validator("args_schema", "cache_function", mode="before")
    @classmethod
    def _none_is_default(cls, value: Any, info: ValidationInfo) -> Any:
        return (Inferred if info.field_name == "args_schema" else always_cache) if value is None else value

    # -- what a subclass implements -------------------------------------------------------------------------

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        """The work, in a thread."""
        raise NotImplementedError

    async def _arun(self, *args: Any, **kwargs: Any) -> Any:
        """The work, on the event loop."""
        raise NotImplementedError

    # -- calls from your own code ---------------------------------------------------------------------------

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the tool, from code that is no agent, and returns the result as it is.

        Raises:
            ToolArgumentsError: The arguments do not fit.
            ToolUsageLimitError: It has been called ``max_usage_count`` times; see ``reset_usage_count``.
        """
        function = _sync_function(self)
        values = self._checked(args, kwargs)
        if is_async(function):
            return run_sync(function(**values))
        result = function(**values)
        return run_sync(call(lambda: result)) if inspect.isawaitable(result) else result

    async def arun(self, *args: Any, **kwargs: Any) -> Any:
        """The async form of ``run``; a tool with ``_run`` alone runs in a thread."""
        return await call(run_function(self), **self._checked(args, kwargs))

    def reset_usage_count(self) -> None:
        """Sets ``current_usage_count`` to 0."""
        self.current_usage_count = 0

    def _checked(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        plan = plan_of(self)
        values = plan.values(plan.bind(args, kwargs))
        with _count_lock:
            if self.max_usage_count is not None and self.current_usage_count >= self.max_usage_count:
                raise ToolUsageLimitError(f"{self.name!r} has been called max_usage_count={self.max_usage_count} times")
            self.current_usage_count += 1
        return values

    # -- what a model is told -------------------------------------------------------------------------------

    @property
    def formatted_description(self) -> str:
        """Name, arguments and description as one text, for models that take no tools."""
        spec = tool_spec(self)
        arguments = json.dumps(spec.parameters["properties"], ensure_ascii=False)
        return f"Tool Name: {spec.name}\nTool Arguments: {arguments}\nTool Description: {spec.description}"

    def format_output_for_agent(self, raw: Any) -> str:
        """A result as the model reads it: text as it is, anything else as JSON. Override it to say it otherwise."""
        if isinstance(raw, str):
            return raw
        if raw is None:
            return "Done. There is no result to show."
        if isinstance(raw, ToolFailure):
            return raw.as_agent_message()
        try:
            return pydantic_core.to_json(raw, fallback=str).decode()
        except ValueError:  # bytes that are no text, or an object that holds itself
            return str(raw)

    # -- other forms ----------------------------------------------------------------------------------------

    def to_structured_tool(self) -> CrewStructuredTool:
        """This tool as a ``CrewStructuredTool``."""
        shared = {name: getattr(self, name) for name in BaseTool.model_fields}
        return CrewStructuredTool(**shared, func=run_function(self))

    @classmethod
    def from_langchain(cls, tool: Any) -> BaseTool:
        """A tool from an object with ``name``, ``description`` and one of ``func``, ``_run`` and ``invoke``.

        LangChain's tools are such objects; ``args_schema`` is used where they have one.

        Raises:
            ConfigError: The object is no such thing.
        """
        schema = getattr(tool, "args_schema", None)
        fields: dict[str, Any] = {}
        if isinstance(schema, type) and issubclass(schema, BaseModel):
            fields["args_schema"] = schema
        found = {name: getattr(tool, name, None) for name in ("func", "coroutine", "invoke", "_run")}
        if "args_schema" in fields:
            found["invoke"] = _by_dict(found["invoke"]) if callable(found["invoke"]) else None
        else:
            del found["invoke"]  # it takes one dict, so its signature tells no arguments
        function = next((f for f in found.values() if callable(f)), None)
        name = getattr(tool, "name", None)
        if function is None or not isinstance(name, str):
            raise ConfigError(
                f"{type(tool).__name__} cannot be made a tool: it needs a name and one of func, _run, and invoke "
                "together with args_schema (a pydantic model)"
            )
        fields.update(function_fields(function, name, getattr(tool, "description", None)))
        return Tool(**fields)


class Tool(BaseTool, Generic[P, R]):
    """A function as a tool; what ``@tool`` makes (CrewAI: ``Tool``). It can be called like the function."""

    func: Callable[P, R]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Calls the function itself: nothing is checked, counted or kept."""
        return self.func(*args, **kwargs)


class CrewStructuredTool(Tool[..., Any]):
    """A function with an explicit schema (CrewAI: ``CrewStructuredTool``)."""

    @classmethod
    def from_function(
        cls,
        func: Callable[..., Any],
        name: str | None = None,
        description: str | None = None,
        return_direct: bool = False,
        args_schema: type[BaseModel] | None = None,
        infer_schema: bool = True,
        result_schema: Any = None,
        **fields: Any,
    ) -> Self:
        """A tool from a function.

        Args:
            func: The function, sync or async.
            name: The tool's name; the function's by default.
            description: What it does; the docstring by default.
            return_direct: The result is the task's answer (``result_as_answer``).
            args_schema: The arguments' model; by default made from the signature.
            infer_schema: False makes a missing ``args_schema`` an error.
            result_schema: A type that results must fit.
            fields: Other fields of ``BaseTool``.

        Raises:
            ConfigError: There is neither a docstring nor a description, or no schema.
        """
        if args_schema is None and not infer_schema:
            raise ConfigError("infer_schema=False needs an args_schema")
        fields = {"result_as_answer": return_direct, "result_schema": result_schema, **fields}
        return cls(**function_fields(func, name, description), args_schema=args_schema or Inferred, **fields)

    def invoke(self, input: str | dict[str, Any], config: dict[str, Any] | None = None, **kwargs: Any) -> Any:
        """Calls the tool with a dict or a JSON text of its arguments (``config`` is taken for compatibility)."""
        return self.run(**parse_arguments(input), **kwargs)

    async def ainvoke(self, input: str | dict[str, Any], config: dict[str, Any] | None = None, **kwargs: Any) -> Any:
        """The async form of ``invoke``."""
        return await self.arun(**parse_arguments(input), **kwargs)


_count_lock = threading.Lock()
_inferred: weakref.WeakKeyDictionary[type[BaseTool], type[BaseModel]] = weakref.WeakKeyDictionary()


def run_function(tool: BaseTool) -> Callable[..., Any]:
    """What a run calls: ``_arun`` where the tool has one, else ``_run``, or the function of ``@tool``."""
    if isinstance(tool, Tool):
        return cast("Tool[..., Any]", tool).func
    return tool._arun if _implements(tool, "_arun") else tool._run


def plan_of(tool: BaseTool) -> ArgumentPlan:
    """How the tool's arguments are checked; made again where ``args_schema`` was replaced."""
    plan = tool._plan
    if plan is None or plan.schema is not tool.args_schema:
        plan = ArgumentPlan(tool.args_schema, _sync_function(tool), tool.name)
        tool._plan = plan
    return plan


def tool_spec(tool: BaseTool, name: str | None = None) -> ToolSpec:
    """The tool as a model sees it; kept with the tool until its name, description or schema change.

    Args:
        tool: The tool.
        name: The name for the model, where ``name_tools`` gave one; by default the sanitised name.

    Raises:
        ConfigError: An argument's type has no JSON Schema.
    """
    wanted = name or sanitize_tool_name(tool.name)
    spec, parameters = tool._spec, plan_of(tool).parameters
    if spec is None or (spec.name, spec.description) != (wanted, tool.description) or spec.parameters is not parameters:
        spec = tool._spec = ToolSpec(wanted, tool.description, parameters)
    return spec


def function_fields(function: Callable[..., Any], name: str | None, description: str | None = None) -> dict[str, Any]:
    """The ``func``, ``name`` and ``description`` of a tool that is a function.

    Raises:
        ConfigError: There is no description: the function has no docstring.
    """
    own_name = getattr(function, "__name__", type(function).__name__)
    text = split_docstring(inspect.getdoc(function) or "")[0] if description is None else description
    if not text.strip():
        raise ConfigError(
            f"the function {own_name!r} needs a docstring: it tells the model what the tool does and when"
        )
    return {"func": function, "name": name or own_name, "description": text}


def _implements(tool: BaseTool, method: str) -> bool:
    return getattr(type(tool), method) is not getattr(BaseTool, method)


def _sync_function(tool: BaseTool) -> Callable[..., Any]:
    """``_run`` where the tool has one: it is the form that the schema is made from."""
    return tool._run if _implements(tool, "_run") else run_function(tool)


def _inferred_schema(tool: BaseTool) -> type[BaseModel]:
    kind = type(tool)
    if isinstance(tool, Tool):
        function = cast("Tool[..., Any]", tool).func
        return arguments_model(function, f"{sanitize_tool_name(tool.name)}_arguments")
    if not (_implements(tool, "_run") or _implements(tool, "_arun")):
        raise ConfigError(
            f"{kind.__name__} implements neither _run nor _arun: write def _run(self, ...) with its arguments"
        )
    schema = _inferred.get(kind)
    if schema is None:
        schema = _inferred[kind] = arguments_model(_sync_function(tool), f"{kind.__name__}Arguments")
    return schema


def _wrong_field(kind: type[BaseTool], error: ValidationError) -> str:
    parts: list[str] = []
    for problem in error.errors(include_url=False, include_context=False):
        name = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            parts.append(f"{name!r} is not an argument, {nearest(name, kind.model_fields)}")
        elif problem["type"] == "missing":
            parts.append(f"{name!r} is missing")
        else:
            own = name in BaseTool.model_fields  # a subclass's field may hold a key
            value = f" {str(problem['input'])[:60]!r}" if own else ""
            parts.append(f"{name!r}: {problem['msg']}, got {type(problem['input']).__name__}{value}")
    return f"{kind.__name__}: {'; '.join(parts)}"


def _check_limits(tool: BaseTool) -> None:
    """Checks what a subclass may have set too, where pydantic checks no default."""
    least = {"max_usage_count": 1, "timeout": 0.001, "max_result_chars": MIN_RESULT_CHARS}
    for name, limit in least.items():
        value = getattr(tool, name)
        if value is not None and value < limit:
            raise ConfigError(f"{type(tool).__name__}: {name!r} must be at least {limit}, or None, got {value}")
    if not tool.name.strip():
        raise ConfigError(f"{type(tool).__name__}: 'name' must not be empty")


def _by_dict(invoke: Callable[..., Any]) -> Callable[..., Any]:
    def call_invoke(**arguments: Any) -> Any:
        return invoke(arguments)

    return call_invoke
