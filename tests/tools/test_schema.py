"""The schema and the names that a model is given."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any, Literal, Optional

from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from quarterdeck.tools import BaseTool, tool
from quarterdeck.tools.base import tool_spec
from quarterdeck.tools.names import MAX_NAME, name_tools, sanitize_tool_name
from quarterdeck.tools.schema import parameters_schema


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Node(BaseModel):
    title: str
    children: list[Node] = []


class Form(BaseModel):
    """Input of a form."""

    z: Annotated[str, Field(description="last letter, first field")]
    colour: Colour = Colour.RED
    title: str | None = None
    node: Optional[Node] = Field(default=None, description="a tree")  # noqa: UP045
    either: int | str | None = None
    mode: Literal["a", "b"] = "a"


def test_the_schema_is_short_ordered_and_its_references_hold():
    assert parameters_schema(Form) == {
        "$defs": {
            "Colour": {"enum": ["red", "blue"], "type": "string"},
            "Node": {
                "properties": {
                    "title": {"type": "string"},
                    "children": {"default": [], "items": {"$ref": "#/$defs/Node"}, "type": "array"},
                },
                "required": ["title"],
                "type": "object",
            },
        },
        "properties": {
            "z": {"description": "last letter, first field", "type": "string"},
            "colour": {"$ref": "#/$defs/Colour", "default": "red"},
            "title": {"type": "string"},
            "node": {"$ref": "#/$defs/Node", "description": "a tree"},
            "either": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
            "mode": {"default": "a", "enum": ["a", "b"], "type": "string"},
        },
        "required": ["z"],
        "type": "object",
    }
    assert list(parameters_schema(Form)["properties"]) == ["z", "colour", "title", "node", "either", "mode"]


def test_a_model_that_refers_to_itself_is_an_object_at_its_root():
    schema = parameters_schema(Node)
    assert schema["type"] == "object"
    assert schema["properties"]["children"]["items"] == {"$ref": "#/$defs/Node"}
    assert "Node" in schema["$defs"]


def test_none_that_must_be_given_stays_in_the_schema():
    class Needed(BaseModel):
        value: int | None

    assert parameters_schema(Needed)["properties"]["value"] == {"anyOf": [{"type": "integer"}, {"type": "null"}]}


def test_data_in_a_schema_is_left_alone():
    class Data(BaseModel):
        model_config = ConfigDict(extra="forbid")
        value: dict[str, Any] = Field(default={"title": "kept", "default": None}, examples=[{"title": "kept"}])

    schema = parameters_schema(Data)
    assert schema["properties"]["value"]["default"] == {"title": "kept", "default": None}
    assert schema["properties"]["value"]["examples"] == [{"title": "kept"}]
    assert "additionalProperties" not in schema


def test_no_arguments():
    @tool
    def now() -> str:
        """Tells the time."""
        return "12:00"

    assert tool_spec(now).parameters == {"properties": {}, "type": "object"}


def test_the_spec_is_kept_until_something_changes():
    class Weather(BaseTool):
        name: str = "Weather"
        description: str = "Tells the weather."

        def _run(self, city: str) -> str:
            return city

    weather = Weather()
    first = tool_spec(weather)
    assert tool_spec(weather) is first
    assert tool_spec(weather, "weather_2").name == "weather_2"
    weather.description = "Tells more."
    assert tool_spec(weather).description == "Tells more."
    assert tool_spec(Weather()).parameters == first.parameters


class TestNames:
    def test_examples(self):
        for name, expected in {
            "Web Search": "web_search",
            "webSearch": "web_search",
            "HTTPServer": "http_server",
            "Café Finder!": "cafe_finder",
            "  Ask question to coworker ": "ask_question_to_coworker",
            "get_2_items": "get_2_items",
            "a-b.c": "a_b_c",
        }.items():
            assert sanitize_tool_name(name) == expected

    def test_names_with_nothing_left_and_long_names_stay_apart(self):
        assert sanitize_tool_name("搜索") != sanitize_tool_name("查找")
        long, longer = sanitize_tool_name("x" * 70), sanitize_tool_name("x" * 71)
        assert long != longer
        assert len(long) == len(longer) == MAX_NAME

    @given(st.text())
    def test_every_text_gives_a_name_that_is_its_own_name(self, text: str):
        name = sanitize_tool_name(text)
        assert 1 <= len(name) <= MAX_NAME
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_")
        assert sanitize_tool_name(name) == name

    @given(st.lists(st.sampled_from(["a", "A", "a_2", "a 2", "x" * 64, "x" * 65, "b"])))
    def test_tools_with_equal_names_get_numbers(self, names: list[str]):
        class Named(BaseTool):
            description: str = "d"

            def _run(self) -> str:
                return ""

        tools = [Named(name=name) for name in names]
        named = name_tools([*tools, *tools])
        assert len(named) == len(tools)
        assert {id(made) for made in named.values()} == {id(made) for made in tools}
        assert all(len(name) <= MAX_NAME for name in named)

    def test_the_second_gets_2(self):
        @tool("Search")
        def one() -> str:
            """One."""
            return "1"

        @tool("search")
        def two() -> str:
            """Two."""
            return "2"

        assert name_tools([one, two]) == {"search": one, "search_2": two}
