"""Agents, tasks and crews from mappings of names and texts: ``llm: fast`` becomes what the project calls ``fast``."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any, Literal, TypeVar, cast

from quarterdeck.agent.fields import Definition
from quarterdeck.agent.interpolation import placeholders
from quarterdeck.concurrency import call
from quarterdeck.crew.contract import TRIGGER
from quarterdeck.project.imports import import_file
from quarterdeck.project.jsonc import Keys
from quarterdeck.project.source import Source

Kind = Literal["agent", "task", "llm", "tool", "callback", "guardrail", "model", "cache_handler"]

Resolve = Callable[[Kind, str, Mapping[str, Any]], Any]
"""Gives what a name stands for, made with options (of a tool); raises LookupError where there is none."""

D = TypeVar("D", bound=Definition)

AGENT_FIELDS: Mapping[str, Kind] = {
    "llm": "llm",
    "function_calling_llm": "llm",
    "tools": "tool",
    "step_callback": "callback",
    "callbacks": "callback",
    "guardrail": "guardrail",
    "cache_handler": "cache_handler",
}

TASK_FIELDS: Mapping[str, Kind] = {
    "agent": "agent",
    "context": "task",
    "tools": "tool",
    "callback": "callback",
    "callbacks": "callback",
    "guardrail": "guardrail",
    "guardrails": "guardrail",
    "output_json": "model",
    "output_pydantic": "model",
    "response_model": "model",
    "condition": "callback",
}

CREW_FIELDS: Mapping[str, Kind] = {
    "manager_agent": "agent",
    "manager_llm": "llm",
    "function_calling_llm": "llm",
    "planning_llm": "llm",
    "chat_llm": "llm",
    "step_callback": "callback",
    "task_callback": "callback",
    "before_kickoff_callbacks": "callback",
    "after_kickoff_callbacks": "callback",
    "inputs_model": "model",
}

_TEXTS = ("role", "goal", "backstory", "description", "expected_output")
_SPACED = re.compile(r"(?<!\{)\{(?:\s+([A-Za-z_][\w-]*)\s*|([A-Za-z_][\w-]*)\s+)\}(?!\})")


class Fields(dict[str, Any]):
    """The arguments of one definition, for its ``config``; it knows where they stand.

    Args:
        source: The file.
        keys: The keys that lead to it.
        values: The arguments.
    """

    def __init__(self, source: Source, keys: Keys, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.source = source
        self.keys_to_it = keys

    def where(self, field: str = "") -> str:
        """Where an argument stands in its file."""
        return self.source.where(*self.keys_to_it, field) if field in self else self.source.where(*self.keys_to_it)


def read_fields(source: Source, keys: Keys, fields: Mapping[str, Kind], resolve: Resolve) -> Fields:
    """One definition of a file, with every name replaced by what it stands for.

    Raises:
        ConfigError: It is no mapping, a name is not known, or a placeholder is written wrongly.
    """
    raw: Any = source.data
    for key in keys:
        raw = raw[key]
    if not isinstance(raw, dict):
        raise source.error(keys, f"must be a mapping of fields to values, got {type(raw).__name__} {str(raw)[:40]!r}")
    values: dict[str, Any] = {}
    for name, value in cast("dict[str, Any]", raw).items():
        here = (*keys, name)
        if name in _TEXTS and isinstance(value, str):
            values[name] = _text(source, here, value)
        elif name in fields:
            values[name] = _resolved(source, here, value, fields[name], resolve)
        else:
            values[name] = imported(source, here, value)
    return Fields(source, keys, _with_callbacks(values) if fields is TASK_FIELDS else values)


def placeholders_in(source: Source, keys: Keys) -> Iterator[tuple[Keys, str]]:
    """The inputs that a definition's texts need, each with where it stands; but not what a trigger brings."""
    fields: Any = source.data
    for key in keys:
        fields = fields[key]
    for field, value in cast("dict[str, Any]", fields).items():
        if field in (*_TEXTS, "output_file") and isinstance(value, str):
            for name in sorted(placeholders(value) - {TRIGGER}):
                yield (*keys, field), name


def build(kind: type[D], fields: Fields) -> D:
    """A definition of these arguments."""
    return kind(config=fields)


def _text(source: Source, keys: Keys, text: str) -> str:
    """A text without the line end that YAML's ``>`` leaves; ``{ name }`` would stay as it is, and is an error."""
    if match := _SPACED.search(text):
        raise source.error(keys, f"{match[0]!r} is no placeholder: write {{{match[1] or match[2]}}}, without spaces")
    return text.strip()


def _resolved(source: Source, keys: Keys, value: Any, kind: Kind, resolve: Resolve) -> Any:
    if isinstance(value, list):
        items = cast("list[Any]", value)
        return [_resolved(source, (*keys, n), item, kind, resolve) for n, item in enumerate(items)]
    options: dict[str, Any] = {}
    if kind == "tool" and isinstance(value, dict):
        items = cast("dict[str, Any]", value)
        if len(items) == 1 and isinstance(given := next(iter(items.values())), dict):  # {ReadFile: {root: data}}
            value, options = next(iter(items)), cast("dict[str, Any]", given)
    if not isinstance(value, str):
        return imported(source, keys, value)
    try:
        return resolve(kind, value, options)
    except LookupError as error:
        raise source.error(keys, str(error.args[0])) from None


def imported(source: Source, keys: Keys, value: Any) -> Any:
    """A value with every ``{"python": "module.name"}`` in it replaced by what it names.

    Modules of the file's own folder are found first.

    Raises:
        ConfigError: There is no such module or name, or its import failed.
    """
    if isinstance(value, list):
        return [imported(source, (*keys, n), item) for n, item in enumerate(cast("list[Any]", value))]
    if not isinstance(value, dict):
        return value
    values = cast("dict[str, Any]", value)
    if values.keys() == {"python"}:
        return python_ref(source, (*keys, "python"), values["python"])
    return {name: imported(source, (*keys, name), item) for name, item in values.items()}


def python_ref(source: Source, keys: Keys, ref: Any) -> Any:
    """What a dotted path names: in a file beside the source or in the folder above it, else in an installed module.

    Raises:
        ConfigError: It is no text, there is no such module or name, or its import failed.
    """
    if not isinstance(ref, str) or not re.fullmatch(r"[\w.]+(:[\w.]+)?", ref):
        raise source.error(keys, f"must be a dotted path such as 'my_module.my_function', got {str(ref)[:60]!r}")
    module, _, attribute = ref.partition(":") if ":" in ref else ref.rpartition(".")
    try:
        value: Any = _module(source, module)
        for part in attribute.split("."):
            value = getattr(value, part)
    except Exception as error:
        raise source.error(keys, f"{ref!r} cannot be imported: {type(error).__name__}: {error}") from error
    return value


def _module(source: Source, name: str) -> ModuleType:
    """A module; two crews may each have a file of the same name."""
    folder = source.file.resolve().parent if source.file else None
    for place in (folder, folder.parent) if folder else ():
        file = place.joinpath(*name.split(".")).with_suffix(".py")
        if file.is_file():
            return import_file(file)
    return importlib.import_module(name)


def _with_callbacks(values: dict[str, Any]) -> dict[str, Any]:
    """``callbacks`` of a task, put together into its one ``callback``."""
    given: Any = values.pop("callbacks", None) or []
    functions = [*([values["callback"]] if values.get("callback") else []), *given]
    if len(functions) > 1:

        async def each(output: Any) -> None:
            for function in functions:
                await call(function, output)

        values["callback"] = each
    elif functions:
        values["callback"] = functions[0]
    return values
