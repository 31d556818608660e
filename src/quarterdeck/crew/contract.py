"""A crew's contract: the inputs that it needs, checked before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from quarterdeck.agent.interpolation import as_text
from quarterdeck.errors import InputError, InputProblem

TRIGGER = "crewai_trigger_payload"
"""The input that what started the run comes with (CrewAI's name): every crew takes it, and none needs to declare it."""


@dataclass(frozen=True, slots=True)
class Contract:
    """Which inputs a crew or flow takes.

    Args:
        required: Names that must be given, sorted.
        schema: The JSON Schema of all inputs.
        model: The pydantic model, where the inputs are declared by one.
        complete: Whether all of the required inputs must be given. Not where a function may add some before the run:
            then what is missing is found when the run begins.
    """

    required: tuple[str, ...]
    schema: dict[str, Any]
    model: type[BaseModel] | None = None
    complete: bool = True

    @classmethod
    def of_names(cls, names: Iterable[str], *, complete: bool = True) -> Contract:
        """The contract of placeholders: each name is required, and takes any value that can be written as text."""
        required = tuple(sorted(names))
        value = {"type": ["string", "number", "boolean", "object", "array", "null"]}
        properties = {name: dict(value) for name in required}
        schema = {"type": "object", "properties": properties, "required": list(required) if complete else []}
        return cls(required, schema, None, complete)

    @classmethod
    def of_model(cls, model: type[BaseModel]) -> Contract:
        """The contract that a pydantic model declares."""
        schema = model.model_json_schema()
        return cls(tuple(sorted(schema.get("required", []))), schema, model)

    def check(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The inputs as the crew gets them: checked, with the model's defaults put in.

        Raises:
            InputError: One problem for each input that is missing or does not fit.
        """
        for name, value in inputs.items():
            as_text(name, value)
        if self.model is not None:
            return self._by_model(self.model, inputs)
        problems = [InputProblem(name, "is required", "") for name in self.required if name not in inputs]
        if problems and self.complete:
            raise _error(problems, [p.field for p in problems], inputs)
        return dict(inputs)

    def _by_model(self, model: type[BaseModel], inputs: Mapping[str, Any]) -> dict[str, Any]:
        apart = {} if TRIGGER in model.model_fields else {k: v for k, v in inputs.items() if k == TRIGGER}
        try:
            values = {name: value for name, value in inputs.items() if name not in apart}
            return model.model_validate(values).model_dump(mode="json") | apart
        except ValidationError as error:
            problems: list[InputProblem] = []
            missing: list[str] = []
            for item in error.errors(include_url=False):
                field = ".".join(str(part) for part in item["loc"]) or "inputs"
                if item["type"] == "missing":
                    missing.append(field)
                    problems.append(InputProblem(field, "is required", ""))
                else:
                    problems.append(InputProblem(field, item["msg"], repr(item["input"])[:100]))
            raise _error(problems, missing, inputs) from None


def _error(problems: list[InputProblem], missing: list[str], inputs: Mapping[str, Any]) -> InputError:
    said = "; ".join(f"{p.field}: {p.message}" + (f" (got {p.got})" if p.got else "") for p in problems)
    got = ", ".join(sorted(inputs)) or "none"
    return InputError(f"the inputs do not fit: {said}; got {got}", tuple(missing), tuple(problems))
