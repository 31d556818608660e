"""JSON Schemas in the strict form that providers take."""

from __future__ import annotations

import datetime
import enum
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from quarterdeck.llm.schema import NUMBER_LIMITS, is_recursive, strict


class Colour(enum.Enum):
    RED = "red"


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: Annotated[int, Field(ge=1, le=9)] = 9


class Dog(BaseModel):
    kind: Literal["dog"]
    name: Annotated[str, Field(min_length=2, description="Its name.")]


class House(BaseModel):
    pets: list[Annotated[Cat | Dog, Field(discriminator="kind")]]
    colour: Colour = Field(Colour.RED, description="Of the door.")
    built: datetime.date | None = None
    page: Annotated[str, Field(json_schema_extra={"format": "uri"})] = ""


class Node(BaseModel):
    value: int
    children: list[Node] = []


def walk(node: Any) -> Any:
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from walk(value)
    elif isinstance(node, list):
        for item in node:
            yield from walk(item)


@pytest.mark.parametrize("model", [House, Node, Cat, Dog])
def test_models_become_strict(model: type[BaseModel]) -> None:
    schema = strict(model.model_json_schema())
    assert schema is not None
    assert schema["type"] == "object"
    for node in walk(schema):
        if node.get("type") == "object":
            assert node["additionalProperties"] is False
            assert node["required"] == list(node["properties"])
        if "$ref" in node:
            assert list(node) == ["$ref"]
        assert not {"oneOf", "allOf", "discriminator", "minLength"} & set(node)
        assert not isinstance(node.get("default"), (str, int, list))


def test_what_is_lost_is_told_in_the_description() -> None:
    schema = strict(House.model_json_schema())
    assert schema is not None
    assert schema["$defs"]["Dog"]["properties"]["name"]["description"] == "Its name. minLength: 2"
    assert schema["$defs"]["Cat"]["properties"]["lives"] == {"type": "integer", "minimum": 1, "maximum": 9}
    assert schema["properties"]["page"] == {"type": "string"}
    fewer = strict(House.model_json_schema(), NUMBER_LIMITS)
    assert fewer is not None
    assert fewer["$defs"]["Cat"]["properties"]["lives"] == {"type": "integer", "description": "minimum: 1 maximum: 9"}


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    x: int


class Tuple(BaseModel):
    pair: tuple[int, str]


class Free(BaseModel):
    data: dict[str, int]


class Whatever(BaseModel):
    data: Any


class Nothing(BaseModel):
    pass


@pytest.mark.parametrize("model", [Open, Tuple, Free, Whatever, Nothing])
def test_models_that_cannot_be_strict(model: type[BaseModel]) -> None:
    assert strict(model.model_json_schema()) is None


@pytest.mark.parametrize("schema", [{}, {"type": "array", "items": {"type": "string"}}, {"$ref": "#/$defs/X"}])
def test_roots_that_are_no_object(schema: dict[str, Any]) -> None:
    assert strict(schema) is None


def test_the_original_is_not_changed_and_the_result_is_kept() -> None:
    schema = House.model_json_schema()
    first = strict(schema)
    assert schema == House.model_json_schema()
    assert strict(schema) is first
    assert strict(schema, NUMBER_LIMITS) != first


def test_recursion() -> None:
    assert is_recursive(Node.model_json_schema())
    assert not is_recursive(House.model_json_schema())


@given(st.from_type(House), st.builds(Node, value=st.integers(), children=st.just([])))
def test_what_fits_the_model_fits_the_strict_schema(house: House, node: Node) -> None:
    """The strict form is met by every instance of the model: nothing that is right is ruled out."""
    jsonschema = TypeAdapter(dict[str, Any])
    for value in (house, node):
        schema = strict(type(value).model_json_schema())
        assert schema is not None
        data = jsonschema.validate_json(value.model_dump_json())
        assert sorted(data) == sorted(schema["required"])
